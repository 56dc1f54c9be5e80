"""Measures a finished network on the board, as its latency file was measured, for whoever judges it.

Three fresh processes, with the reference networks of the kit in each. A process in which these took clearly
longer or shorter than before is followed by one more, at most three in all: which of them decide is left to
the desk, which goes by the reference networks alone.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_cost_models.errors import DamagedFileError, MeasurementError
from hw_cost_models.files import digest, read_json, write_json
from hw_cost_models.kit.board.manifest import read_manifest
from hw_cost_models.kit.board.measuring import FORMAT as LATENCY_FORMAT
from hw_cost_models.kit.board.measuring import LATENCY, Conditions, paths, riding
from hw_cost_models.kit.board.processes import memory_of, timings_of
from hw_cost_models.runtimes.onnxruntime import OnnxRuntime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hw_cost_models.kit.board.manifest import Manifest
    from hw_cost_models.kit.board.progress import Progress

VERIFICATION = "verification.json"
FORMAT = "verification 1"
PROCESSES = 3
REPEATS = 3
STEADY = 0.09
"""A process surely counts when no percentile of a reference network moved by more than this fraction: then no
mean of them did."""
_WINNER = "the network to verify"


def verify(root: Path, model: Path, progress: Progress) -> Path:
    """Write `verification.json` into the kit's folder `root`.

    Raises DamagedFileError for a kit or a latency file that is not whole, MeasurementError where there is no
    latency file, where it was measured under other conditions, and for a network that does not run.
    """
    manifest = read_manifest(root)
    latency = _latency(root)
    data = _bytes(model)
    provider, threads, rounds = latency["provider"], latency["threads"], latency["rounds"]
    OnnxRuntime(provider, threads)  # raises where it is no longer there
    _compare(root / LATENCY, latency, Conditions.here(root, provider, threads))
    processes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="kit-") as name:
        inputs = _inputs(root, manifest, model, Path(name) / "inputs.npz")
        networks = {_WINNER: (model, inputs), **riding(root, manifest)}
        while _wanted(processes, latency["reference"]):
            seed = len(processes)
            progress.start(f"process {seed + 1}", rounds)
            timings = timings_of(networks, provider, threads, rounds, seed, lambda _: progress.advance())
            reference = {reference: timings[reference] for reference in manifest.reference}
            usage = memory_of(model, inputs, threads)
            processes.append({"timing": timings[_WINNER], "reference": reference, **usage})
    facts = {"latency_sha256": digest((root / LATENCY).read_bytes()), "onnx_sha256": digest(data)}
    value = {"format": FORMAT, **facts, "rounds": rounds, "reference": latency["reference"]}
    write_json(root / VERIFICATION, {**value, "processes": processes})
    return root / VERIFICATION


def _wanted(processes: list[dict[str, Any]], before: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether one more process is."""
    steady = sum(_steady(process["reference"], before) for process in processes)
    return steady < PROCESSES and len(processes) < PROCESSES + REPEATS


def _steady(now: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]) -> bool:
    return all(
        abs(now[name][percentile] / timing[percentile] - 1) <= STEADY
        for name, timing in before.items()
        for percentile in ("p50_ms", "p95_ms")
    )


def _latency(root: Path) -> dict[str, Any]:
    path = root / LATENCY
    try:
        value = read_json(path)
    except FileNotFoundError:
        raise MeasurementError(f"{path} is not there: run `python measure.py` first") from None
    except DamagedFileError:
        raise DamagedFileError(f"{path} is damaged: `python measure.py` writes it again") from None
    if value.get("format") != LATENCY_FORMAT:
        raise DamagedFileError(f"{path} is no latency file: `python measure.py` writes it again")
    return value


def _compare(path: Path, latency: Mapping[str, Any], now: Conditions) -> None:
    changed = [name for name, value in asdict(now).items() if latency[name] != value]
    if changed:
        what = ", ".join(f"{name} {latency[name]}, now {getattr(now, name)}" for name in changed)
        raise MeasurementError(
            f"{path} was measured under other conditions ({what}): verify under the same, or delete it and "
            "measured/, and measure and search anew"
        )


def _bytes(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise MeasurementError(f"{model} cannot be read: {error.strerror}") from None


def _inputs(root: Path, manifest: Manifest, model: Path, path: Path) -> Path:
    """The kit's inputs of whole networks, in order, under the names that this file gives them."""
    import onnxruntime

    first = next(iter(manifest.reference.values()))
    with np.load(paths(root, manifest.networks[first])[1], allow_pickle=False) as arrays:
        values = list(arrays.values())
    try:
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    except Exception as error:  # it has an exception for each of its status codes, without a root
        raise MeasurementError(f"{model} cannot be opened: {' '.join(str(error).split())}") from None
    names = [value.name for value in session.get_inputs()]
    if len(names) != len(values):
        raise MeasurementError(
            f"{model} takes {len(names)} inputs, the networks of this kit {len(values)}: it is the winner of "
            "another search space"
        )
    np.savez(path, **dict(zip(names, values)))
    return path
