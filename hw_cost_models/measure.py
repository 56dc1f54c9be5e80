"""Measured latency and memory of ONNX files: interleaved rounds in fresh processes, with anchors."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_cost_models.anchors import write_anchors
from hw_cost_models.errors import MeasurementError
from hw_cost_models.files import read_json, write_json

if TYPE_CHECKING:
    from hw_cost_models.cost import Statistic
    from hw_cost_models.device import Device

Feed = Mapping[str, np.ndarray[Any, Any]]
Progress = Callable[[int, int], None]
"""Called with the rounds done and the rounds in all."""

_PACKAGES = Path(__file__).parent.parent
_EXTENDED = re.compile(r"Extended allocation by (\d+) bytes")


@dataclass(frozen=True)
class Timing:
    """Percentiles of single runs, in milliseconds, over that many rounds.

    The 10th is the quiet machine's figure and the most repeatable: fresh processes agree within about 0.4 %,
    against 2 to 5 % for the median. It is what tables are built from, but nine runs of ten take longer: a
    verdict uses the 50th, or the 95th for real-time use.
    """

    p10_ms: float
    p50_ms: float
    p95_ms: float
    rounds: int
    trend: float = 1.0
    """The median of the later half of the rounds over that of the earlier half: 1 on a steady machine, and in
    files that do not have it."""

    @property
    def spread(self) -> float:
        """How far the median lies above the quiet machine's figure, as a fraction of it."""
        return self.p50_ms / self.p10_ms - 1

    def at(self, statistic: Statistic) -> float:
        """That percentile, in milliseconds."""
        return {"p10": self.p10_ms, "p50": self.p50_ms, "p95": self.p95_ms}[statistic]

    def scaled(self, factor: float) -> Timing:
        """The timing of a machine that is slower by that factor."""
        return replace(
            self, p10_ms=self.p10_ms * factor, p50_ms=self.p50_ms * factor, p95_ms=self.p95_ms * factor
        )


@dataclass(frozen=True)
class Measurement:
    """What one process measured, by the names of the networks."""

    timings: dict[str, Timing]
    anchors: dict[str, Timing]
    runtime: dict[str, str | int]
    """Name, version, provider and threads."""
    weight_bytes: dict[str, int] = field(default_factory=dict)
    """Initialisers of the file."""
    arena_bytes: dict[str, int] = field(default_factory=dict)
    """What the runtime's arena grew to beside the weights, when grown as requested; empty if not asked for.

    The caller's own input arrays are not in it.
    """
    resident_bytes: dict[str, int] = field(default_factory=dict)
    """Peak resident size of a fresh process, the runtime and Python themselves included."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Measurement:
        timings, anchors = (
            {name: Timing(**timing) for name, timing in value[group].items()}
            for group in ("timings", "anchors")
        )
        return cls(**{**value, "timings": timings, "anchors": anchors})


def measure(
    models: Mapping[str, Path],
    inputs: Mapping[str, Feed],
    device: Device,
    *,
    rounds: int,
    seed: int,
    memory: Collection[str] = (),
    progress: Progress | None = None,
) -> Measurement:
    """Time the files against each other, and the anchors with them, in one fresh process.

    `inputs[name]` are the arrays of the file `models[name]`, by input name. Each file named in `memory` also
    runs in a fresh process of its own that reports its memory. Raises MeasurementError when the device is not
    this machine, when a file does not run, or when the process dies.
    """
    if device.roofline is not None:
        raise MeasurementError(
            f"device {device.name!r} is known by its figures alone and cannot be measured here; "
            "use device 'local' on that machine, or price with the roofline"
        )
    if rounds < 1:
        raise MeasurementError(f"a measurement needs at least one round, got {rounds}")
    with tempfile.TemporaryDirectory(prefix="dnas-measure-") as name:
        folder = Path(name)
        anchors = write_anchors(folder)
        networks = [*anchors.values(), *((path, inputs[model]) for model, path in models.items())]
        files = _store(networks, folder)
        timings, runtime = _time(files, folder, device, rounds, seed, progress)
        mine = dict(zip(models, files[len(anchors) :], strict=True))
        usage = {model: _memory(*mine[model], device.threads) for model in memory}
    return Measurement(
        timings=dict(zip(models, timings[len(anchors) :], strict=True)),
        anchors=dict(zip(anchors, timings, strict=False)),
        runtime={**runtime, "provider": device.provider, "threads": device.threads},
        weight_bytes={model: _weight_bytes(path) for model, path in models.items()},
        arena_bytes={model: arena for model, (arena, _) in usage.items()},
        resident_bytes={model: resident for model, (_, resident) in usage.items()},
    )


def drift(reference: Mapping[str, Timing], now: Mapping[str, Timing], statistic: Statistic = "p10") -> float:
    """How much slower the machine is now: the geometric mean over the anchors of now / reference.

    Raises MeasurementError when the two have no anchor in common.
    """
    common = reference.keys() & now.keys()
    if not common:
        raise MeasurementError(
            "two measurements without a common anchor cannot be compared; measure both again"
        )
    logs = [math.log(now[name].at(statistic) / reference[name].at(statistic)) for name in sorted(common)]
    return math.exp(sum(logs) / len(logs))


def _store(networks: list[tuple[Path, Feed]], folder: Path) -> list[tuple[str, str]]:
    files = []
    for number, (path, feed) in enumerate(networks):
        arrays = folder / f"{number}.npz"
        np.savez(arrays, **feed)  # type: ignore[arg-type]  # numpy's own flag stands among these keywords
        files.append((str(Path(path).resolve()), str(arrays)))
    return files


def _time(
    files: list[tuple[str, str]],
    folder: Path,
    device: Device,
    rounds: int,
    seed: int,
    progress: Progress | None,
) -> tuple[list[Timing], dict[str, str | int]]:
    spec, result = folder / "spec.json", folder / "result.json"
    order = {"networks": files, "rounds": rounds, "seed": seed, "result": str(result)}
    write_json(spec, {**order, "threads": device.threads, "provider": device.provider})
    with (
        (folder / "stderr").open("w+b") as errors,
        _start("onnxruntime_worker", [str(spec)], errors) as worker,
    ):
        assert worker.stdout is not None
        try:
            for line in worker.stdout:
                if progress is not None:
                    progress(int(line), rounds)
        except BaseException:
            worker.kill()
            raise
        if worker.wait() != 0:
            errors.seek(0)
            raise MeasurementError(
                f"the measuring process died: {_last_line(errors.read(), worker.returncode)}"
            )
    answer = read_json(result)
    return [Timing(**timing) for timing in answer["timings"]], answer["runtime"]


def _memory(model: str, arrays: str, threads: int) -> tuple[int, int]:
    """Arena and resident bytes of one file, in a process that does nothing else."""
    with _start("onnxruntime_memory", [model, arrays, str(threads)], subprocess.PIPE) as worker:
        output, log = worker.communicate()
    if worker.returncode != 0:
        raise MeasurementError(f"{model}: its memory cannot be read: {_last_line(log, worker.returncode)}")
    return sum(int(size) for size in _EXTENDED.findall(log.decode(errors="replace"))), int(output)


def _start(module: str, arguments: list[str], errors: Any) -> subprocess.Popen[bytes]:
    """A fresh Python that finds this package where this process found it."""
    path = os.pathsep.join(filter(None, [str(_PACKAGES), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", f"hw_cost_models.runtimes.{module}", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": path},
    )


def _last_line(log: bytes, code: int) -> str:
    lines = log.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"no word, exit code {code}"


def _weight_bytes(path: Path) -> int:
    import onnx
    from onnx import numpy_helper

    return sum(numpy_helper.to_array(t).nbytes for t in onnx.load(str(path)).graph.initializer)
