"""Predictions on a machine that is made up: every kernel takes three times its roofline there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from hw_cost_models.device import Figure, Roofline, load_device
from hw_cost_models.errors import HardwareCostError
from hw_cost_models.export import export_many
from hw_cost_models.kernel_regression import Samples
from hw_cost_models.kernel_times import KernelTimes
from hw_cost_models.kernels import kernels_of
from hw_cost_models.measure import Timing
from hw_cost_models.microbenchmarks import convolutions, others, products
from hw_cost_models.microbenchmarks.network import Network
from hw_cost_models.predictor import LatencyPredictor

if TYPE_CHECKING:
    from pathlib import Path

_START_MS, _FACTOR = 0.01, 3.0


def _figure(value: float) -> Figure:
    return Figure(value=value, source="made up")


_ROOFLINE = Roofline(peak_gflops={"float32": _figure(20)}, bandwidth_gb_s=_figure(5), overhead_us=_figure(1))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> LatencyPredictor:
    folder, rng = tmp_path_factory.mktemp("networks"), np.random.default_rng(0)
    networks, timings = {}, {}
    for draw in (products.linear, convolutions.convolution, others.function, others.tiny):
        for number in range(12):
            network = Network(np.random.default_rng(number))
            draw(network, network.rng)
            name, path = f"{draw.__name__}.{number}", folder / "network.onnx"
            path.write_bytes(network.finished().model.SerializeToString())
            networks[name] = kernels_of(path)
            samples = Samples.of([networks[name]], _ROOFLINE)
            ms = _START_MS + _FACTOR * float(samples.totals(samples.expected_ms)[0])
            ms *= float(np.exp(rng.normal(0, 0.03)))
            timings[name] = Timing(p10_ms=ms, p50_ms=2 * ms, p95_ms=4 * ms, rounds=1)
    made = LatencyPredictor(load_device("local"), dynamic={0: "batch"})
    made.times, made.roofline = KernelTimes(networks, timings, {}), _ROOFLINE
    return made


class Layers(nn.Module):
    """Two layers with a function between that is not fused into the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 256), nn.Linear(256, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(torch.erf(self.first(x)))
        return y


@pytest.fixture(scope="module")
def layers() -> Layers:
    return Layers()


def _law(path: Path, dimensions: dict[str, int]) -> float:
    samples = Samples.of([kernels_of(path, dimensions)], _ROOFLINE)
    return _START_MS + _FACTOR * float(samples.totals(samples.expected_ms)[0])


def test_a_file_takes_what_its_kernels_take(
    predictor: LatencyPredictor, layers: Layers, tmp_path: Path
) -> None:
    path = export_many({"layers": (layers, (torch.ones(8, 64),))}, tmp_path, {0: "batch"})["layers"]
    predicted = predictor.predict(path, {"batch": 300})
    assert predicted.latency_ms == pytest.approx(_law(path, {"batch": 300}), rel=0.15)
    assert predicted.low_ms < predicted.latency_ms < predicted.high_ms
    assert predicted.low_ms < _law(path, {"batch": 300}) < predicted.high_ms
    assert set(predicted.operators_ms) == {"Gemm", "Erf"}
    assert list(predicted.operators_ms.values()) == sorted(predicted.operators_ms.values(), reverse=True)
    assert sum(predicted.operators_ms.values()) < predicted.latency_ms
    assert predicted.unseen == ()
    assert predictor.predict(path, {"batch": 1}).latency_ms < predicted.latency_ms


def test_modules_are_priced_like_their_files(predictor: LatencyPredictor, layers: Layers) -> None:
    item = (layers, (torch.ones(40, 64),))
    cost = predictor.price({"layers": item})["layers"]
    assert cost.flops == 2 * 40 * 64 * 256 * 2 + 40 * 256  # both layers, and the function between
    assert cost.latency_ms == predictor.latency_ms({"layers": item}, "p10")["layers"]
    assert predictor.latency_ms({"layers": item}, "p50")["layers"] == pytest.approx(
        2 * cost.latency_ms, rel=0.05
    )
    assert predictor.peak_bytes({"layers": item})["layers"] >= 40 * 256 * 4


def test_operators_that_were_never_timed_are_named_and_widen_the_interval(
    predictor: LatencyPredictor, tmp_path: Path
) -> None:
    class Sorted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.topk(torch.tanh(x), 32).values

    path = export_many({"sorted": (Sorted(), (torch.ones(4, 64),))}, tmp_path, {})["sorted"]
    predicted = predictor.predict(path)
    assert "TopK" in predicted.unseen
    assert predicted.high_ms / predicted.latency_ms > 1.5


def test_bad_input_is_named(predictor: LatencyPredictor, layers: Layers, tmp_path: Path) -> None:
    path = export_many({"layers": (layers, (torch.ones(8, 64),))}, tmp_path, {0: "batch"})["layers"]
    with pytest.raises(HardwareCostError, match="batch"):
        predictor.predict(path)
