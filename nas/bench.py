"""The bench: networks as ONNX files, timed on the device at hand, the machine's drift taken out."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hw_cost_models.export import feeds
from hw_cost_models.files import write_atomic
from hw_cost_models.measure import Measurement, Timing, drift, measure
from search_spaces import Architecture, finalised, select

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from torch import nn

    from hw_cost_models.device import Device
    from nas.assembly import Assembly
    from nas.budget import Statistic


@dataclass(frozen=True)
class Bench:
    """Figures are stated as of the moment the cost table was made: `anchors` are its anchor timings."""

    assembly: Assembly
    device: Device
    statistic: Statistic
    anchors: Mapping[str, Timing]
    rounds: int

    def architectures(self, architectures: Sequence[Architecture], seed: int) -> list[dict[str, float]]:
        """Every metric of each architecture, untrained, in the same rounds."""
        networks = {a.name: finalised(select(self.assembly.network, a)) for a in architectures}
        with tempfile.TemporaryDirectory(prefix="dnas-bench-") as folder:
            files = {a.name: Path(folder) / f"{a.name}.onnx" for a in architectures}
            for architecture in architectures:
                model = self.assembly.model(architecture)
                write_atomic(files[architecture.name], model.SerializeToString())
            measurement = self.files(files, seed)
        return [
            {
                "latency_ms": self.latency(measurement, name),
                "memory_mb": memory_mb(measurement, name),
                "params_m": nonzero_parameters(network) / 1e6,
            }
            for name, network in networks.items()
        ]

    def files(self, files: Mapping[str, Path], seed: int, memory: bool = True) -> Measurement:
        """One fresh process that times these files beside the anchors."""
        inputs = self.assembly.inputs
        arrays: dict[str, Mapping[str, np.ndarray]] = {
            name: feeds(path, inputs) for name, path in files.items()
        }
        return measure(files, arrays, self.device, rounds=self.rounds, seed=seed, memory=memory)

    def drift(self, measurement: Measurement) -> float:
        """How much slower the machine is than when the cost table was made."""
        return drift(self.anchors, measurement.anchors, self.statistic)

    def latency(self, measurement: Measurement, name: str) -> float:
        """Milliseconds in the statistic of the limit, drift taken out."""
        return measurement.timings[name].at(self.statistic) / self.drift(measurement)


def memory_mb(measurement: Measurement, name: str) -> float:
    """Weights plus the runtime's peak arena of activations."""
    return (measurement.weight_bytes[name] + measurement.arena_bytes[name]) / 1e6


def nonzero_parameters(network: nn.Module) -> int:
    return sum(int((parameter != 0).sum()) for parameter in network.parameters())
