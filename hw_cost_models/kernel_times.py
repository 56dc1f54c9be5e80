"""The microbenchmarks timed on this machine: once, and kept as data."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_cost_models.cache import cache_path, keep
from hw_cost_models.errors import DamagedFileError, MeasurementError
from hw_cost_models.files import read_json
from hw_cost_models.kernels import Kernels, kernels_of
from hw_cost_models.measure import Timing, measure
from hw_cost_models.microbenchmarks import microbenchmarks

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

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "networks": {name: network.to_dict() for name, network in self.networks.items()},
            "timings": {name: asdict(timing) for name, timing in self.timings.items()},
            "anchors": {name: asdict(timing) for name, timing in self.anchors.items()},
        }


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
    path = cache_path("kernels", device, cache)
    kept = _kept(path)
    if kept is None:
        kept = _measured(device, progress)
        keep(path, kept.to_dict())
    return kept


def _measured(device: Device, progress: Progress | None) -> KernelTimes:
    made = microbenchmarks()
    with tempfile.TemporaryDirectory(prefix="dnas-microbenchmarks-") as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in made}
        for name, path in files.items():
            path.write_bytes(made[name].model.SerializeToString())
        networks = {name: kernels_of(path, made[name].dimensions) for name, path in files.items()}
        feeds = {name: benchmark.inputs for name, benchmark in made.items()}
        measurement = measure(files, feeds, device, rounds=_ROUNDS, seed=0, progress=progress)
    return KernelTimes(networks, measurement.timings, measurement.anchors)


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
