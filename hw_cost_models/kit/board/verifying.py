"""Measures a finished network on the board, as its latency file was measured, for whoever judges it.

Three fresh processes for each workload, with the reference networks of the kit in each. A process in which
these took clearly longer or shorter than before, or that others kept from a core, is followed by one more, at
most three in all: which of them decide is left to the desk, which goes by these signs alone.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_cost_models.errors import DamagedFileError, MeasurementError
from hw_cost_models.files import digest, read_json, write_json
from hw_cost_models.kit.board.manifest import read_manifest
from hw_cost_models.kit.board.measuring import FORMAT as LATENCY_FORMAT
from hw_cost_models.kit.board.measuring import LATENCY, Conditions, kept_waiting, riding
from hw_cost_models.kit.board.processes import memory_of, time_networks
from hw_cost_models.kit.board.winners import winners
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


def verify(root: Path, path: Path, progress: Progress) -> Path:
    """Write `verification.json` into the kit's folder `root`; `path` is an ONNX file or a packed winner.

    Raises DamagedFileError for a kit, a latency file or a packed winner that is not whole, MeasurementError
    where there is no latency file, where it was measured under other conditions, and for a network that does
    not run.
    """
    manifest, latency = read_manifest(root), _latency(root)
    runtime = OnnxRuntime(latency["provider"], latency["threads"])
    _compare(root / LATENCY, latency, Conditions.here(root, runtime))
    with tempfile.TemporaryDirectory(prefix="kit-") as folder:
        answers = {
            kind: _answer(root, manifest, kind, network, latency, progress)
            for kind, network in winners(root, manifest, path, Path(folder)).items()
        }
    value = {"format": FORMAT, "latency_sha256": digest((root / LATENCY).read_bytes())}
    facts = {name: latency[name] for name in ("rounds", "clock")}
    write_json(root / VERIFICATION, {**value, **facts, "answers": answers})
    return root / VERIFICATION


def _answer(
    root: Path,
    manifest: Manifest,
    kind: str,
    winner: tuple[Path, Path],
    latency: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """What is measured under one workload."""
    before, rounds, threads = latency["reference"][kind], latency["rounds"], latency["threads"]
    networks = {_WINNER: winner, **riding(root, manifest, kind)}
    processes: list[dict[str, Any]] = []
    while _wanted(processes, before, latency["clock"]):
        seed = len(processes)
        progress.start(f"{kind}, process {seed + 1}", rounds)
        told = time_networks(
            networks, latency["provider"], threads, rounds, seed, lambda _: progress.advance()
        )
        reference = {name: told["timings"][name] for name in before}
        process = {"timing": told["timings"][_WINNER], "reference": reference, "waited": told["waited"]}
        processes.append({**process, **memory_of(*winner, threads)})
    return {"onnx_sha256": digest(winner[0].read_bytes()), "reference": before, "processes": processes}


def _wanted(processes: list[dict[str, Any]], before: Mapping[str, Mapping[str, float]], clock: str) -> bool:
    """Whether one more process is."""
    steady = sum(
        _steady(process["reference"], before) and not kept_waiting(clock, process["waited"])
        for process in processes
    )
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
