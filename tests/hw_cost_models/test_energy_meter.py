"""Counters that are made of files, and a library of NVIDIA's that is made up."""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from hw_cost_models.energy_meter import EnergyMeter, gpu_counters, processor_counters
from hw_cost_models.errors import MeasurementError

if TYPE_CHECKING:
    from pathlib import Path

RANGE_UJ = 262_143_328_850


def _zone(powercap: Path, folder: str, name: str, energy_uj: int) -> Path:
    made = powercap / folder
    made.mkdir(parents=True)
    (made / "name").write_text(f"{name}\n")
    (made / "energy_uj").write_text(f"{energy_uj}\n")
    (made / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return made / "energy_uj"


@pytest.fixture
def server(tmp_path: Path) -> dict[str, Path]:
    """Two packages, one with cores and memory counted apart, and a platform that holds everything."""
    zones = {
        "intel-rapl:0": ("package-0", 5_000_000),
        "intel-rapl:0:0": ("core", 3_000_000),
        "intel-rapl:0:1": ("dram", 1_000_000),
        "intel-rapl:1": ("package-1", 7_000_000),
        "intel-rapl:2": ("psys", 99_000_000),
        "intel-rapl-mmio:0": ("package-0", 5_000_000),  # the same counter by another way
    }
    return {folder: _zone(tmp_path, folder, *zone) for folder, zone in zones.items()}


def test_packages_and_memory_are_counted_once(server: dict[str, Path], tmp_path: Path) -> None:
    with EnergyMeter(processor_counters(tmp_path)) as meter:
        for folder in server:
            server[folder].write_text(str(int(server[folder].read_text()) + 2_500_000))
    assert meter.by_counter == pytest.approx(
        {"intel-rapl:0 package-0": 2.5, "intel-rapl:0:1 dram": 2.5, "intel-rapl:1 package-1": 2.5}
    )
    assert meter.joules == pytest.approx(7.5)


@pytest.mark.parametrize(("before", "after", "spent"), [(RANGE_UJ - 400_000, 600_000, 1.0), (10, 10, 0.0)])
def test_a_counter_that_runs_over(tmp_path: Path, before: int, after: int, spent: float) -> None:
    counter = _zone(tmp_path, "intel-rapl:0", "package-0", before)
    with EnergyMeter(processor_counters(tmp_path)) as meter:
        counter.write_text(str(after))
    assert meter.joules == pytest.approx(spent, abs=1e-9)


def test_the_meter_can_be_used_again(tmp_path: Path) -> None:
    counter = _zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = EnergyMeter(processor_counters(tmp_path))
    for reading in (1_000_000, 1_500_000):
        before = int(counter.read_text())
        with meter:
            counter.write_text(str(reading))
        assert meter.joules == pytest.approx((reading - before) * 1e-6)


def test_energy_of_one_run(tmp_path: Path) -> None:
    counter, runs = _zone(tmp_path, "intel-rapl:0", "package-0", 0), 0

    def run() -> None:
        nonlocal runs
        runs += 1
        counter.write_text(str(3_000 * runs))

    assert EnergyMeter(processor_counters(tmp_path)).per_run_mj(run, seconds=0.01) == pytest.approx(3.0)
    assert runs >= 1
    assert EnergyMeter(processor_counters(tmp_path)).per_run_mj(run, seconds=0) == pytest.approx(3.0)


def test_not_available_here(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"no energy counter here: .*no intel-rapl.*device profile"):
        processor_counters(tmp_path / "absent")
    with pytest.raises(MeasurementError, match="needs a counter"):
        EnergyMeter([])


def test_a_counter_that_must_not_be_read(tmp_path: Path) -> None:
    counter = _zone(tmp_path, "intel-rapl:0", "package-0", 0)
    counter.unlink()
    counter.mkdir()  # root may read any file, but no folder as one
    with pytest.raises(MeasurementError, match=r"energy_uj cannot be read \(.*\): run as root, or allow it"):
        processor_counters(tmp_path)


class _Nvml(ModuleType):
    """What the meter uses of pynvml, for one GPU that has spent `millijoules`."""

    millijoules = 1000

    def nvmlInit(self) -> None:  # noqa: N802  # the library's name
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index != 0:
            raise RuntimeError("Invalid Argument")
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        return self.millijoules


def test_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = _Nvml("pynvml")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    counters = gpu_counters(0)
    assert counters[0].range_joules == math.inf
    with EnergyMeter(counters) as meter:
        nvml.millijoules += 250
    assert meter.by_counter == {"gpu 0": pytest.approx(0.25)}
    with pytest.raises(MeasurementError, match="gpu 1 has no energy counter here: Invalid Argument"):
        gpu_counters(0, 1)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(MeasurementError, match=r'not installed: pip install "dnas\[energy\]"'):
        gpu_counters(0)
