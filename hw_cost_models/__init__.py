"""What a module costs on a device: latency, FLOPs, bytes and memory, by tracing and by measuring.

Names are imported when they are first used, so that a measuring process, which needs the runtime alone,
starts in a fraction of a second. `measure`, `trace` and `training_memory` are called like their modules, and
so are imported from there: `from hw_cost_models.measure import measure`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hw_cost_models.adaptation import Adapted, Adapter
    from hw_cost_models.assembly import Marked, assemble
    from hw_cost_models.cost import Cost, CostModel, Item, Statistic, Workload
    from hw_cost_models.device import Device, Energy, Figure, Roofline, device_names, load_device
    from hw_cost_models.eager_peak import eager_memory
    from hw_cost_models.energy import energy_mj
    from hw_cost_models.energy_meter import EnergyMeter, gpu_counters, processor_counters
    from hw_cost_models.errors import (
        DamagedFileError,
        DeviceError,
        HardwareCostError,
        MeasurementError,
        UnknownOperatorError,
    )
    from hw_cost_models.export import export_many, export_onnx, feeds
    from hw_cost_models.files import digest, read_json, write_atomic, write_json
    from hw_cost_models.graph import Operator, Share, Storage, peak_bytes, summarise
    from hw_cost_models.latency_table import LatencyTable
    from hw_cost_models.measure import Measurement, Timing, drift
    from hw_cost_models.memory import MemoryProfile, peak_memory
    from hw_cost_models.onnx_graph import read_onnx
    from hw_cost_models.onnxruntime_peak import RuntimeMemory, onnxruntime_memory
    from hw_cost_models.predictor import LatencyPredictor, PredictedLatency
    from hw_cost_models.roofline import GroupCost, RooflineModel
    from hw_cost_models.self_calibration import self_calibrated
    from hw_cost_models.structure import structure_key
    from hw_cost_models.trace import static_cost
    from hw_cost_models.training_memory import TrainingMemory

__all__ = [
    "Adapted",
    "Adapter",
    "Cost",
    "CostModel",
    "DamagedFileError",
    "Device",
    "DeviceError",
    "Energy",
    "EnergyMeter",
    "Figure",
    "GroupCost",
    "HardwareCostError",
    "Item",
    "LatencyPredictor",
    "LatencyTable",
    "Marked",
    "Measurement",
    "MeasurementError",
    "MemoryProfile",
    "Operator",
    "PredictedLatency",
    "Roofline",
    "RooflineModel",
    "RuntimeMemory",
    "Share",
    "Statistic",
    "Storage",
    "Timing",
    "TrainingMemory",
    "UnknownOperatorError",
    "Workload",
    "assemble",
    "device_names",
    "digest",
    "drift",
    "eager_memory",
    "energy_mj",
    "export_many",
    "export_onnx",
    "feeds",
    "gpu_counters",
    "load_device",
    "onnxruntime_memory",
    "peak_bytes",
    "peak_memory",
    "processor_counters",
    "read_json",
    "read_onnx",
    "self_calibrated",
    "static_cost",
    "structure_key",
    "summarise",
    "write_atomic",
    "write_json",
]

_HOMES = {
    "adaptation": ("Adapted", "Adapter"),
    "assembly": ("Marked", "assemble"),
    "cost": ("Cost", "CostModel", "Item", "Statistic", "Workload"),
    "device": ("Device", "Energy", "Figure", "Roofline", "device_names", "load_device"),
    "eager_peak": ("eager_memory",),
    "energy": ("energy_mj",),
    "energy_meter": ("EnergyMeter", "gpu_counters", "processor_counters"),
    "errors": (
        "DamagedFileError",
        "DeviceError",
        "HardwareCostError",
        "MeasurementError",
        "UnknownOperatorError",
    ),
    "export": ("export_many", "export_onnx", "feeds"),
    "files": ("digest", "read_json", "write_atomic", "write_json"),
    "graph": ("Operator", "Share", "Storage", "peak_bytes", "summarise"),
    "latency_table": ("LatencyTable",),
    "measure": ("Measurement", "Timing", "drift"),
    "memory": ("MemoryProfile", "peak_memory"),
    "onnx_graph": ("read_onnx",),
    "onnxruntime_peak": ("RuntimeMemory", "onnxruntime_memory"),
    "predictor": ("LatencyPredictor", "PredictedLatency"),
    "roofline": ("GroupCost", "RooflineModel"),
    "self_calibration": ("self_calibrated",),
    "structure": ("structure_key",),
    "trace": ("static_cost",),
    "training_memory": ("TrainingMemory",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
