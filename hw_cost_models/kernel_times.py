"""The microbenchmarks timed on this machine: once, and kept as data."""

from __future__ import annotations

import platform
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hw_cost_models.errors import DamagedFileError, MeasurementError
from hw_cost_models.files import digest, read_json, write_json
from hw_cost_models.kernels import Kernels, kernels_of
from hw_cost_models.latency_table import cache_folder
from hw_cost_models.machine import processor
from hw_cost_models.measure import Timing, measure
from hw_cost_models.microbenchmarks import microbenchmarks
from hw_cost_models.runtimes import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hw_cost_models.device import Device
    from hw_cost_models.measure import Progress

_FORMAT = 1
_ROUNDS = 12
"""About half a minute on an idle core; two measurements with 9 and with 25 rounds agreed within 4 % for nine
networks of ten."""


@dataclass(frozen=True)
class KernelTimes:
    """Networks of few kernels, and how long each took."""

    networks: Mapping[str, Kernels]
    timings: Mapping[str, Timing]
    anchors: Mapping[str, Timing]
    """As of when the networks were timed; see `hw_cost_models.measure.drift`."""


def kernel_times(device: Device, cache: Path | None = None, progress: Progress | None = None) -> KernelTimes:
    """Of the device, which has to be this machine; measured at the first call, in about a minute.

    Kept in the folder `cache`, by default the user's cache folder or $DNAS_CACHE_DIR, for each processor,
    runtime, version, provider and number of threads; a kept file that is damaged is measured again. Raises
    MeasurementError for a device that is not here, or whose runtime is not ONNX Runtime on the CPU.
    """
    if not device.here or (device.runtime, device.provider) != ("onnxruntime", "CPUExecutionProvider"):
        raise MeasurementError(
            f"device {device.name!r}: kernels are timed on this machine, in ONNX Runtime on the CPU, not in "
            f"{device.runtime} on {device.provider}; measure whole networks there, and adapt to them"
        )
    path = (cache or cache_folder()) / _file_name(device)
    kept = _kept(path)
    if kept is None:
        kept = _measured(device, progress)
        _keep(path, kept)
    return kept


def _measured(device: Device, progress: Progress | None) -> KernelTimes:
    made = microbenchmarks()
    with tempfile.TemporaryDirectory(prefix="dnas-microbenchmarks-") as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in made}
        for name, path in files.items():
            path.write_bytes(made[name].model.SerializeToString())
        networks = {name: kernels_of(path, made[name].dimensions) for name, path in files.items()}
        feeds = {name: benchmark.inputs for name, benchmark in made.items()}
        bare = device.model_copy(update={"roofline": None})  # `measure` takes no device with figures
        measurement = measure(files, feeds, bare, rounds=_ROUNDS, seed=0, progress=progress)
    return KernelTimes(networks, measurement.timings, measurement.anchors)


def _file_name(device: Device) -> str:
    """One file for everything that makes times incomparable."""
    version = RUNTIMES[device.runtime].version()
    identity = (device.runtime, device.provider, device.threads, version, platform.machine(), processor())
    readable = re.sub(r"[^\w.-]", "_", f"{device.threads}-{device.runtime}-{version}")
    return f"kernels-{readable}-{digest(repr(identity).encode())[:8]}.json"


def _kept(path: Path) -> KernelTimes | None:
    try:
        value = read_json(path)
        if value["format"] != _FORMAT:
            return None
        return KernelTimes(
            {name: Kernels.from_dict(network) for name, network in value["networks"].items()},
            {name: Timing(**timing) for name, timing in value["timings"].items()},
            {name: Timing(**timing) for name, timing in value["anchors"].items()},
        )
    except (OSError, DamagedFileError, KeyError, TypeError):
        return None  # as good as none: a minute makes it again


def _keep(path: Path, times: KernelTimes) -> None:
    value = {
        "format": _FORMAT,
        "networks": {name: network.to_dict() for name, network in times.networks.items()},
        "timings": {name: asdict(timing) for name, timing in times.timings.items()},
        "anchors": {name: asdict(timing) for name, timing in times.anchors.items()},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, value)
    except OSError:
        pass  # what was measured holds all the same; only the next process has to measure again
