"""Real measurements against a naive run of the runtime, and what is refused."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from hw_cost_models.anchors import ANCHORS, write_anchors
from hw_cost_models.device import Device, load_device
from hw_cost_models.errors import MeasurementError
from hw_cost_models.measure import Measurement, Timing, drift, measure

if TYPE_CHECKING:
    from pathlib import Path

    from hw_cost_models.runtimes.runtime import Feed

_LOCAL = load_device("local")
_Told = tuple[Measurement, list[int]]
"""What was measured, and what progress was told."""


def _save(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, Any], shape: list[int]) -> Path:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    w = np.ones((512, 512), dtype=np.float32)
    return {
        "sigmoid": _save(folder / "a.onnx", [helper.make_node("Sigmoid", ["x"], ["y"])], {}, [64, 512]),
        "product": _save(
            folder / "b.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": w}, [64, 512]
        ),
    }


@pytest.fixture(scope="module")
def feed() -> Feed:
    return {"x": np.random.default_rng(0).standard_normal((64, 512), dtype=np.float32)}


@pytest.fixture(scope="module")
def measurement(files: dict[str, Path], feed: Feed) -> _Told:
    seen: list[int] = []
    inputs = dict.fromkeys(files, feed)
    measured = measure(
        files, inputs, _LOCAL, rounds=8, seed=1, memory=files, progress=lambda done, _: seen.append(done)
    )
    return measured, seen


def test_times_are_those_of_a_naive_run(measurement: _Told, files: dict[str, Path], feed: Feed) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    for name, timing in measurement[0].timings.items():
        session = ort.InferenceSession(files[name], options, providers=["CPUExecutionProvider"])
        times = []
        for _ in range(50):
            start = time.perf_counter()
            session.run(None, feed)
            times.append((time.perf_counter() - start) * 1e3)
        assert min(times) / 3 < timing.p10_ms < min(times) * 3
        assert 0 < timing.p10_ms <= timing.p50_ms <= timing.p95_ms
        assert timing.rounds == 8


def test_anchors_ride_along_and_progress_is_told(measurement: _Told) -> None:
    measured, seen = measurement
    assert tuple(measured.anchors) == ANCHORS
    assert all(math.isfinite(t.p95_ms) and t.p10_ms > 0 for t in measured.anchors.values())
    assert seen == list(range(1, 9))
    assert measured.runtime == {
        "name": "onnxruntime",
        "version": ort.__version__,
        "provider": "CPUExecutionProvider",
        "threads": 1,
    }


def test_memory_is_exact(measurement: _Told) -> None:
    measured, _ = measurement
    output = 64 * 512 * 4
    assert measured.weight_bytes == {"sigmoid": 0, "product": 512 * 512 * 4}
    assert measured.arena_bytes == {"sigmoid": output, "product": output}
    assert all(10e6 < size < 300e6 for size in measured.resident_bytes.values())


def test_a_measurement_survives_json(measurement: _Told) -> None:
    assert Measurement.from_dict(measurement[0].to_dict()) == measurement[0]


def test_anchors_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    once, again = tmp_path / "a", tmp_path / "b"
    for folder in (once, again):
        folder.mkdir()
        for path, inputs in write_anchors(folder).values():
            onnx.checker.check_model(str(path), full_check=True)
            assert list(inputs) == ["input"]
    for name in ANCHORS:
        assert (once / f"{name}.onnx").read_bytes() == (again / f"{name}.onnx").read_bytes()


@pytest.mark.parametrize(
    ("timing", "steady"),
    [
        (Timing(4, 4.9, 9, 25), True),
        (Timing(4, 5.1, 9, 25), False),
        (Timing(4, 4.1, 9, 25, trend=1.24), True),
        (Timing(4, 4.1, 9, 25, trend=1.26), False),
        (Timing(4, 4.1, 9, 25, trend=1 / 1.26), False),
    ],
)
def test_what_is_steady(timing: Timing, steady: bool) -> None:
    assert timing.steady == steady
    assert timing.scaled(3) == Timing(12, 3 * timing.p50_ms, 27, 25, timing.trend)
    assert timing.scaled(3).steady == steady


def test_a_busy_machine_and_operators_elsewhere_are_told() -> None:
    timings = {"a": Timing(1, 1.1, 2, 25), "b": Timing(1, 3, 9, 25), "c": Timing(1, 1.1, 2, 25, trend=2)}
    runtime: dict[str, str | int] = {"provider": "CUDAExecutionProvider"}
    found = Measurement(timings, {"x": Timing(1, 9, 9, 25)}, runtime, elsewhere={"a": 0.25})
    assert found.unsteady == ("b", "c")
    elsewhere, busy = found.warnings
    assert elsewhere == "a: CUDAExecutionProvider leaves 25% of its operators to the CPU"
    assert "the medians of 2 of 3 networks lie up to 200% over" in busy
    assert Measurement({"a": timings["a"]}, {}, runtime).warnings == ()


def test_waiting_for_a_core_spoils_the_wall_clock_alone() -> None:
    timings = {"a": Timing(1, 1.1, 2, 25)}
    runtime: dict[str, str | int] = {"provider": "CPU"}
    assert not Measurement(timings, {}, runtime, clock="core", waited=0.8).unsteady
    assert not Measurement(timings, {}, runtime, waited=0.04).unsteady
    spoilt = Measurement(timings, {}, runtime, waited=0.8)
    assert spoilt.unsteady == ("a",)
    (warning,) = spoilt.warnings
    assert "waited for a core 80% of the time" in warning


def test_measurements_from_before_load() -> None:
    """Those on disk have neither trends nor operators elsewhere."""
    timing = {"p10_ms": 1.0, "p50_ms": 2.0, "p95_ms": 3.0, "rounds": 25}
    old = {"timings": {"a": timing}, "anchors": {"x": timing}, "runtime": {"name": "onnxruntime"}}
    found = Measurement.from_dict(old)
    assert found.timings["a"] == Timing(1, 2, 3, 25)
    assert found.timings["a"].trend == 1
    assert (found.clock, found.waited) == ("wall", None)


def test_drift_is_a_geometric_mean() -> None:
    def at(ms: float) -> Timing:
        return Timing(ms, 2 * ms, 3 * ms, 25)

    assert drift({"a": at(1), "b": at(2)}, {"a": at(2), "b": at(1), "c": at(9)}) == pytest.approx(1)
    assert drift({"a": at(1)}, {"a": at(1.1)}, "p50") == pytest.approx(1.1)
    with pytest.raises(MeasurementError, match="without a common anchor"):
        drift({"a": at(1)}, {"b": at(1)})


def test_a_worker_that_dies_says_why(tmp_path: Path, files: dict[str, Path]) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(MeasurementError, match=r"process died: .*broken\.onnx"):
        measure({"a": broken}, {"a": {}}, _LOCAL, rounds=1, seed=0)
    wrong = {"x": np.zeros((1, 2), dtype=np.float32)}
    with pytest.raises(MeasurementError, match=r"a\.onnx does not run: .*invalid dimensions"):
        measure({"a": files["sigmoid"]}, {"a": wrong}, _LOCAL, rounds=1, seed=0)


def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    device = Device(name="x", description="x", runtime="onnxruntime", provider="Cuda", threads=1)
    with pytest.raises(MeasurementError, match=r"no Cuda; it has .*CPUExecutionProvider"):
        measure({}, {}, device, rounds=1, seed=0)


def test_what_cannot_be_measured_here() -> None:
    with pytest.raises(MeasurementError, match="'nvidia-l4' is known by its figures alone"):
        measure({}, {}, load_device("nvidia-l4"), rounds=1, seed=0)
    with pytest.raises(MeasurementError, match="at least one round, got 0"):
        measure({}, {}, _LOCAL, rounds=0, seed=0)


def test_a_callback_that_raises_stops_the_worker(files: dict[str, Path]) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure({}, {}, _LOCAL, rounds=1000, seed=0, progress=stop)
