"""Rates from made-up times by hand; then this machine, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

import hw_cost_models.self_calibration as subject
from hw_cost_models.device import Device, load_device
from hw_cost_models.errors import DeviceError, MeasurementError
from hw_cost_models.probes import probes
from hw_cost_models.roofline import RooflineModel
from hw_cost_models.self_calibration import roofline_of, self_calibrated

if TYPE_CHECKING:
    from pathlib import Path

PROBES = probes()

GFLOPS = {"float32": 40.0, "float16": 20.0, "int8": 80.0, "convolution": 50.0, "attention": 25.0} | {
    "scan": 8.0,
    "elementwise": 5.0,
    "normalisation": 10.0,
    "reduction": 12.5,
}
GB_S = {"memory": 10.0, "cache": 30.0, "movement": 15.0}
OVERHEAD_MS = 0.001


def _times() -> dict[str, float]:
    """What a machine takes that has exactly these rates and that overhead."""
    work = {name: PROBES[name].flops / rate / 1e6 for name, rate in GFLOPS.items()}
    moves = {name: PROBES[name].bytes / rate / 1e6 for name, rate in GB_S.items()}
    ms = work | moves | {"few": 0.0, "many": 0.0}
    return {name: value + PROBES[name].operators * OVERHEAD_MS for name, value in ms.items()}


def test_the_rates_of_a_machine_come_back() -> None:
    roofline = roofline_of(PROBES, _times(), 8_000_000)
    assert roofline.flops_per_ms("float32", "matmul") == pytest.approx(40e6)
    assert roofline.flops_per_ms("float16", "matmul") == pytest.approx(20e6)
    assert roofline.flops_per_ms("int8", "matmul") == pytest.approx(80e6)
    for kind in ("convolution", "attention", "scan", "elementwise", "normalisation", "reduction"):
        assert roofline.flops_per_ms("float32", kind) == pytest.approx(GFLOPS[kind] * 1e6)
    assert roofline.peak_gflops["float32"].value == pytest.approx(50)  # the best of them
    assert roofline.bytes_per_ms(False, "matmul") == pytest.approx(10e6)
    assert roofline.bytes_per_ms(True, "matmul") == pytest.approx(30e6)
    assert roofline.bytes_per_ms(True, "movement") == pytest.approx(15e6)
    assert roofline.overhead_us.value == pytest.approx(1)
    assert roofline.cache_mb is not None
    assert roofline.cache_mb.value == 8


def test_a_machine_that_does_not_tell_its_caches() -> None:
    roofline = roofline_of(PROBES, _times(), None)
    assert roofline.cache_mb is None
    assert roofline.bytes_per_ms(True, "matmul") == pytest.approx(10e6)
    assert roofline.bytes_per_ms(True, "movement") == pytest.approx(10e6)  # not above the memory's


def test_times_that_make_no_sense_give_figures_all_the_same() -> None:
    """On a machine that was disturbed: few operators slower than many."""
    roofline = roofline_of(PROBES, _times() | {"few": 9.0, "many": 1.0}, 8_000_000)
    assert 0 < roofline.overhead_us.value < 0.1
    assert roofline.flops_per_ms("float32", "matmul") > 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calibration")


@pytest.fixture(scope="module")
def calibrated(folder: Path) -> Device:
    rounds: list[tuple[int, int]] = []
    device = self_calibrated(load_device("local"), folder, lambda *done: rounds.append(done))
    assert rounds[-1][0] == rounds[-1][1] == len(rounds)
    return device


@pytest.mark.measured
def test_this_machine(calibrated: Device) -> None:
    """Still here, with figures that any machine of this century has, and good for the roofline."""
    assert calibrated.here
    roofline = calibrated.roofline
    assert roofline is not None
    assert 0.5 < roofline.peak_gflops["float32"].value < 1e5
    assert 0.1 < roofline.bandwidth_gb_s.value < 1e4
    assert "onnxruntime" in roofline.bandwidth_gb_s.source
    x = torch.randn(64, 64)
    items = {"a": (nn.Linear(64, 64), (x,)), "b": (nn.Linear(64, 4096), (x,))}
    cost = RooflineModel(calibrated).price(items)
    assert 0 < cost["a"].latency_ms < cost["b"].latency_ms


@pytest.mark.measured
def test_once_is_enough(calibrated: Device, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("it was measured again")

    monkeypatch.setattr(subject, "_measured", refuse)
    assert self_calibrated(load_device("local"), folder) == calibrated
    (kept,) = folder.glob("roofline-local-1-onnxruntime-*.json")
    assert len([*folder.iterdir()]) == 1
    with pytest.raises(AssertionError, match="again"):
        self_calibrated(load_device("local").with_threads(2), folder)
    kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.raises(AssertionError, match="again"):
        self_calibrated(load_device("local"), folder)


def test_a_damaged_file_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = roofline_of(PROBES, _times(), None)
    monkeypatch.setattr(subject, "_measured", lambda device, progress: made)
    first = self_calibrated(load_device("local"), tmp_path)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:100])
    assert self_calibrated(load_device("local"), tmp_path) == first
    assert kept.read_bytes() == whole


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = roofline_of(PROBES, _times(), None)
    monkeypatch.setattr(subject, "_measured", lambda device, progress: made)
    file = tmp_path / "file"
    file.write_text("")
    assert self_calibrated(load_device("local"), file / "below").roofline == made


def test_a_device_elsewhere() -> None:
    with pytest.raises(DeviceError, match="'pixel-6' is not this machine"):
        self_calibrated(load_device("pixel-6"))


def test_a_runtime_of_modules(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="is a file, and pytorch runs modules"):
        self_calibrated(load_device("local").with_runtime("pytorch"), tmp_path)
