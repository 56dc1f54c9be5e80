"""Timing a few microbenchmarks, keeping them, and measuring again what is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hw_cost_models import kernel_times as module
from hw_cost_models.device import load_device
from hw_cost_models.errors import MeasurementError
from hw_cost_models.kernel_times import kernel_times
from hw_cost_models.microbenchmarks import others, products
from hw_cost_models.microbenchmarks.network import Microbenchmark, Network

if TYPE_CHECKING:
    from pathlib import Path


def _few() -> dict[str, Microbenchmark]:
    made = {}
    for draw in (products.linear, others.tiny, others.shapes):
        network = Network(np.random.default_rng(0))
        draw(network, network.rng)
        made[draw.__name__] = network.finished()
    return made


@pytest.mark.measured
def test_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "microbenchmarks", _few)
    monkeypatch.setattr(module, "_ROUNDS", 2)
    measured = kernel_times(load_device("local"), tmp_path)
    assert measured.networks.keys() == measured.timings.keys() == _few().keys()
    assert all(timing.p10_ms > 0 for timing in (*measured.timings.values(), *measured.anchors.values()))
    assert any(kernel.operator == "Gemm" or kernel.operator == "MatMul" for kernel in _kernels(measured))
    monkeypatch.setattr(module, "measure", lambda *_, **__: pytest.fail("measured again"))
    assert kernel_times(load_device("local"), tmp_path) == measured


def _kernels(measured: module.KernelTimes) -> list[module.Kernels]:
    return [kernel for network in measured.networks.values() for kernel in network.kernels]  # type: ignore[misc]


@pytest.mark.measured
def test_a_damaged_file_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "microbenchmarks", _few)
    monkeypatch.setattr(module, "_ROUNDS", 1)
    kernel_times(load_device("local"), tmp_path)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    again = kernel_times(load_device("local"), tmp_path)
    assert again.networks.keys() == _few().keys()
    assert kept.read_bytes() != whole[: len(whole) // 2]


def test_a_cache_that_cannot_be_written_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("in the way")
    known = module.KernelTimes({}, {}, {})
    monkeypatch.setattr(module, "_measured", lambda *_: known)
    assert kernel_times(load_device("local"), nowhere / "cache") is known


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (load_device("raspberry-pi-5"), "raspberry-pi-5"),
        (
            load_device("local").with_runtime("openvino"),
            "not in openvino on CPU; measure whole networks there",
        ),
    ],
)
def test_devices_that_are_not_timed(device: module.Device, said: str, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=said):
        kernel_times(device, tmp_path)
