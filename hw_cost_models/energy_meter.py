"""Energy meter: what the counters of this machine say was spent, where it has any.

RAPL counts the microjoules of each processor package, and on servers of the memory beside it (Linux kernel,
Documentation/power/powercap/powercap.rst); its counters run over after minutes to hours of load. NVML counts
the millijoules of an NVIDIA GPU from Volta on. Both count all that runs on the machine, not one process.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hw_cost_models.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_POWERCAP = Path("/sys/class/powercap")


class Counter(Protocol):
    """Energy since some time in the past."""

    @property
    def name(self) -> str: ...

    def joules(self) -> float: ...

    @property
    def range_joules(self) -> float:
        """Where it starts again from zero; infinite where it never does."""
        ...


@dataclass(frozen=True)
class RaplZone:
    """One folder of the kernel's power capping: a package, or the memory beside it."""

    folder: Path

    @property
    def name(self) -> str:
        return f"{self.folder.name} {(self.folder / 'name').read_text().strip()}"

    def joules(self) -> float:
        return int((self.folder / "energy_uj").read_text()) * 1e-6

    @property
    def range_joules(self) -> float:
        return int((self.folder / "max_energy_range_uj").read_text()) * 1e-6


@dataclass(frozen=True)
class NvidiaGpu:
    """One GPU, by its number."""

    index: int

    @property
    def name(self) -> str:
        return f"gpu {self.index}"

    def joules(self) -> float:
        nvml = _nvml()
        handle = nvml.nvmlDeviceGetHandleByIndex(self.index)
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * 1e-3

    @property
    def range_joules(self) -> float:
        return float("inf")


class EnergyMeter:
    """Joules spent between entering and leaving it, by counter and in all.

        with EnergyMeter(processor_counters()) as meter:
            session.run(None, feed)
        print(meter.joules)

    One counter may run over once in between. Raises MeasurementError without counters.
    """

    def __init__(self, counters: Sequence[Counter]) -> None:
        if not counters:
            raise MeasurementError(
                "an energy meter needs a counter: processor_counters() or gpu_counters(0) of this machine"
            )
        self.counters = tuple(counters)
        self.by_counter: dict[str, float] = {}
        self._before: list[float] = []

    @property
    def joules(self) -> float:
        """In all, once it is left."""
        return sum(self.by_counter.values())

    def __enter__(self) -> EnergyMeter:
        self._before = [counter.joules() for counter in self.counters]
        return self

    def __exit__(self, *exception: object) -> None:
        for counter, before in zip(self.counters, self._before, strict=True):
            spent = counter.joules() - before
            self.by_counter[counter.name] = spent if spent >= 0 else spent + counter.range_joules

    def per_run_mj(self, run: Callable[[], object], seconds: float = 1.0) -> float:
        """Millijoules of one run, from as many as fill that time: counters move in steps of milliseconds."""
        runs, began = 0, time.monotonic()
        with self:
            while runs == 0 or time.monotonic() - began < seconds:
                run()
                runs += 1
        return self.joules * 1e3 / runs


def processor_counters(powercap: Path = _POWERCAP) -> list[Counter]:
    """Of each processor package, and of the memory where it is counted apart.

    Raises MeasurementError, saying why, where there is none that may be read.
    """
    zones = [
        RaplZone(folder)
        for folder in sorted(powercap.glob("intel-rapl:[0-9]*"))  # of AMD's processors too
        # What else there is, cores and the whole platform, is part of these or holds them.
        if (folder / "name").read_text().startswith(("package", "dram"))
    ]
    if not zones:
        raise MeasurementError(
            f"no energy counter here: {powercap} has no intel-rapl package (virtual machines hide it); "
            "use the figures of a device profile, or a meter at the wall"
        )
    for zone in zones:
        try:
            zone.joules()
        except OSError as error:
            raise MeasurementError(
                f"{zone.folder / 'energy_uj'} cannot be read ({error.strerror}): "
                "run as root, or allow it with chmod o+r"
            ) from None
    return list[Counter](zones)


def gpu_counters(*indices: int) -> list[Counter]:
    """Of NVIDIA GPUs, by number.

    Raises MeasurementError where one does not count, is not there, or nvidia-ml-py is not installed.
    """
    gpus = [NvidiaGpu(index) for index in indices]
    for gpu in gpus:
        try:
            gpu.joules()
        except MeasurementError:
            raise
        except Exception as error:  # NVML has an exception for each of its status codes
            raise MeasurementError(f"{gpu.name} has no energy counter here: {error}") from None
    return list[Counter](gpus)


def _nvml() -> Any:
    try:
        pynvml = importlib.import_module("pynvml")
    except ImportError:
        raise MeasurementError(
            "the energy of a GPU is read through nvidia-ml-py, which is not installed: "
            'pip install "dnas[energy]"'
        ) from None
    pynvml.nvmlInit()  # counts its calls: again is nothing
    return pynvml
