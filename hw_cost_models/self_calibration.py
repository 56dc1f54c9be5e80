"""Self-calibration: this machine measures its own roofline, in a few seconds, once.

The probes are timed in interleaved rounds, in the device's runtime and on its threads. The rates are the
quiet machine's (the 10th percentile of the runs); the peak is the best that any float32 kernel reaches, and
each kind of kernel has its share of it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hw_cost_models.cache import cache_path, keep
from hw_cost_models.device import Figure, Roofline, Share
from hw_cost_models.errors import DamagedFileError, DeviceError
from hw_cost_models.files import read_json
from hw_cost_models.machine import cache_bytes
from hw_cost_models.measure import measure
from hw_cost_models.probes import probes
from hw_cost_models.runtimes import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hw_cost_models.device import Device
    from hw_cost_models.graph import Kind
    from hw_cost_models.measure import Progress
    from hw_cost_models.probes import Probe

_FORMAT = 1
_ROUNDS = 15
_KINDS: tuple[Kind, ...] = ("convolution", "attention", "scan", "elementwise", "normalisation", "reduction")


def self_calibrated(device: Device, cache: Path | None = None, progress: Progress | None = None) -> Device:
    """The device with the roofline that this machine has in its runtime, on its threads.

    Measured once and kept in the folder `cache`, by default the user's cache folder or $DNAS_CACHE_DIR, for
    each processor, runtime, version, provider and number of threads; a kept file that is damaged is measured
    again. Raises DeviceError for a device that is not here, and MeasurementError where its runtime is not
    installed or runs modules alone, as PyTorch does.
    """
    if not device.here:
        raise DeviceError(
            f"device {device.name!r} is not this machine and cannot measure itself here; "
            "use device 'local' on that machine, or the figures of its profile"
        )
    path = cache_path("roofline", device, cache)
    roofline = _kept(path)
    if roofline is None:
        roofline = _measured(device, progress)
        keep(path, {"format": _FORMAT, "roofline": roofline.model_dump(exclude_none=True)})
    return device.model_copy(update={"roofline": roofline})


def _measured(device: Device, progress: Progress | None) -> Roofline:
    made = probes()
    with tempfile.TemporaryDirectory(prefix="dnas-probes-") as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in made}
        for name, path in files.items():
            path.write_bytes(made[name].model.SerializeToString())
        feeds = {name: probe.inputs for name, probe in made.items()}
        timings = measure(files, feeds, device, rounds=_ROUNDS, seed=0, progress=progress).timings
    how = f"Measured here, {device.runtime} {RUNTIMES[device.runtime].version()}, {device.threads} threads: "
    return roofline_of(made, {name: timing.p10_ms for name, timing in timings.items()}, cache_bytes(), how)


def roofline_of(
    made: Mapping[str, Probe], ms: Mapping[str, float], cache: int | None, how: str = "Measured: "
) -> Roofline:
    """What follows from the milliseconds of each probe, and the bytes of the largest cache where it is known.

    `how` begins the source of each figure.
    """
    overhead_ms = max(0.0, (ms["many"] - ms["few"]) / (made["many"].operators - made["few"].operators))
    working = {
        name: max(ms[name] - probe.operators * overhead_ms, ms[name] / 10) for name, probe in made.items()
    }
    gflops = {name: probe.flops / working[name] / 1e6 for name, probe in made.items()}
    gb_s = {name: probe.bytes / working[name] / 1e6 for name, probe in made.items()}
    peak = max(gflops[name] for name in ("float32", *_KINDS))
    share = gflops["float32"] / peak

    def figure(value: float, what: str) -> Figure:
        return Figure(value=value, source=how + what)

    shares = {"matmul": share, **{kind: gflops[kind] / peak for kind in _KINDS}}
    # A machine whose caches are not known is taken to have none that are faster than its memory.
    in_cache = gb_s["memory"] if cache is None else max(gb_s["cache"], gb_s["memory"])
    shares["movement"] = min(1.0, gb_s["movement"] / in_cache)
    return Roofline(
        peak_gflops={
            dtype: figure(gflops[dtype] / share, f"matrix products in {dtype}, of 128 x 512 by 512 x 512")
            for dtype in ("float32", "float16", "int8")
        },
        bandwidth_gb_s=figure(gb_s["memory"], "additions to 64 MB"),
        overhead_us=figure(max(overhead_ms * 1e3, 1e-3), "an addition to 64 numbers"),
        cache_mb=None if cache is None else figure(cache / 1e6, "the largest cache that the system names"),
        cache_gb_s=None if cache is None else figure(in_cache, "additions to 1 MB"),
        share_of_peak={
            kind: Share(value=value, source=how + f"the probe {kind!r}") for kind, value in shares.items()
        },
    )


def _kept(path: Path) -> Roofline | None:
    try:
        value = read_json(path)
        return Roofline.model_validate(value["roofline"]) if value["format"] == _FORMAT else None
    except (OSError, DamagedFileError, KeyError, ValidationError):
        return None  # as good as none: seconds make it again
