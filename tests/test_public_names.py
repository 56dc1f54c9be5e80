"""What users may import. A change here is a change for them: it belongs in the changelog."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import hw_cost_models
import nas
import search_spaces

NAMES = {
    "nas": """
        BadInputError Budget CONTROLLERS Constraint Controller CostTable DivergedError Effort
        InfeasibleBudgetError NasError PRESETS Problem Progress Result Scores Silent Supernet
        VerificationError price resume search
    """,
    "search_spaces": """
        Architecture Augmentation ByteText Choice CountsErrors DataError DatasetTask Decoder Elastic
        Examples LabelledImages LabelledSequences LabelledText MeasuresOutputs Mixture ModuleAdapter
        Prefill SearchSpace SearchSpaceError Slice State Stateful SyntheticTask Task UnboundChoiceError
        bind capture_inputs check choices digits encoder fashion_mnist finalised from_nni hybrid_lm
        mobile_vision parents select substitute twins with_precisions
    """,
    "hw_cost_models": """
        Adapted Adapter Cost CostModel DamagedFileError Device DeviceError Energy EnergyMeter Figure
        GroupCost HardwareCostError Item LatencyPredictor LatencyTable Marked Measurement
        MeasurementError MemoryProfile Operator PredictedLatency Roofline RooflineModel RuntimeMemory
        Share Statistic Storage Timing TrainingMemory UnknownOperatorError Workload assemble
        device_names digest drift eager_memory energy_mj export_many export_onnx feeds gpu_counters
        load_device onnxruntime_memory peak_bytes peak_memory processor_counters read_json read_onnx
        self_calibrated static_cost structure_key summarise write_atomic write_json
    """,
}


@pytest.mark.parametrize("package", NAMES)
def test_public_names(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(NAMES[package].split())
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is getattr(module, name)
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018  # reading it is the test


def test_names_that_load_late_are_where_they_are_said_to_be() -> None:
    assert sorted(nas._HOME) == sorted(nas.__all__)
    for name, home in nas._HOME.items():
        assert hasattr(importlib.import_module(f"nas.{home}"), name)
    homes = {name for names in hw_cost_models._HOMES.values() for name in names}
    assert sorted(homes) == sorted(hw_cost_models.__all__)
    assert search_spaces.Choice.__module__ == "search_spaces.choice"


def test_a_name_stays_what_it_is_after_its_module_is_loaded() -> None:
    """On import, Python puts a module of the same name into the package."""
    for package in (nas, search_spaces, hw_cost_models):
        for name in package.__all__:
            getattr(package, name)
            assert not isinstance(getattr(package, name), type(sys)), f"{package.__name__}.{name}"


@pytest.mark.parametrize("package", ["nas", "hw_cost_models"])
def test_importing_is_instant(package: str) -> None:
    code = (
        f"import sys, {package}; print(*{{'torch', 'scipy', 'onnx', 'numpy', 'pydantic'}} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
