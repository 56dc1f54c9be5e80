"""Measures a kit: all its networks in interleaved rounds, the memory of each, and the reference networks."""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hw_cost_models.files import digest, write_json
from hw_cost_models.kit.board.machine import machine
from hw_cost_models.kit.board.manifest import MANIFEST, read_manifest
from hw_cost_models.kit.board.processes import memory_of, time_networks
from hw_cost_models.kit.board.record import Record
from hw_cost_models.kit.board.timing import Waiting, bind_all
from hw_cost_models.runtimes.clocks import NANOSECONDS, WALL
from hw_cost_models.runtimes.interleaved import each_round, summary
from hw_cost_models.runtimes.onnxruntime import OnnxRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hw_cost_models.kit.board.manifest import Manifest, Network
    from hw_cost_models.kit.board.progress import Progress

LATENCY = "latency.json"
FORMAT = "latency file 1"
UNSTEADY = 0.25
"""Spread beyond which a network was disturbed in half of its runs, as in `hw_cost_models.measure`."""
WAITED = 0.05
"""Share of the time without a core beyond which the wall clock tells of others, as there."""
_QUIET = "this machine is busy: end other programs, delete measured/ and measure again"


@dataclass(frozen=True)
class Conditions:
    """All that makes two measurements comparable."""

    kit: str
    """The digest of the kit's manifest."""
    machine: dict[str, str | int]
    onnxruntime: str
    """Its version."""
    provider: str
    threads: int
    clock: str
    """The name of one of `hw_cost_models.runtimes.clocks`."""

    @classmethod
    def here(cls, root: Path, runtime: OnnxRuntime) -> Conditions:
        kit = digest((root / MANIFEST).read_bytes())
        return cls(kit, machine(), runtime.version(), runtime.provider, runtime.threads, runtime.clock)


def measure_kit(root: Path, provider: str, threads: int, rounds: int, progress: Progress) -> Path:
    """Write `latency.json` into the kit's folder `root`; what is measured before that is kept in `measured/`.

    Raises DamagedFileError for a kit that is not whole, MeasurementError for a provider that is not there, a
    network that does not run, or a measurement that was begun under other conditions.
    """
    manifest = read_manifest(root)
    runtime = OnnxRuntime(provider, threads)
    conditions = asdict(Conditions.here(root, runtime))
    record = Record(root / "measured", conditions, progress.say)
    _take_rounds(root, manifest, runtime, record, rounds, progress)
    timings = {name: summary(record.visits(name)) for name in (*manifest.networks, *manifest.anchors)}
    _tell_noise(timings, progress)
    memory = _memory(root, manifest, runtime, record, progress)
    value: dict[str, Any] = {
        "format": FORMAT,
        **{field: getattr(manifest, field) for field in ("space", "workloads", "versions")},
        **conditions,
        "rounds": record.rounds,
        "networks": {key: {"timing": timings[key], **memory[key]} for key in manifest.networks},
        "anchors": {name: timings[name] for name in manifest.anchors},
        "reference": {
            kind: _reference(root, manifest, kind, runtime, record, progress) for kind in manifest.reference
        },
    }
    write_json(root / LATENCY, value)
    return root / LATENCY


def kept_waiting(clock: str, waited: float | None) -> bool:
    """Whether others took so much of the machine that no figure by this clock can be trusted."""
    return clock == WALL and (waited or 0.0) > WAITED


def riding(root: Path, manifest: Manifest, kind: str) -> dict[str, tuple[Path, Path]]:
    """The anchors and a workload's reference networks: what later measurements are compared by, by name."""
    reference = {name: manifest.networks[key] for name, key in manifest.reference[kind].items()}
    return {name: paths(root, network) for name, network in {**manifest.anchors, **reference}.items()}


def paths(root: Path, network: Network) -> tuple[Path, Path]:
    """The files of a network."""
    return root / network.model, root / network.inputs


def _take_rounds(
    root: Path, manifest: Manifest, runtime: OnnxRuntime, record: Record, rounds: int, progress: Progress
) -> None:
    """Rounds until there are that many, each on disk before the next begins."""
    before, left = record.rounds, rounds - record.rounds
    if before:
        progress.say(f"{before} rounds are measured already")
    if left <= 0:
        return
    every = {**manifest.networks, **manifest.anchors}
    bound = bind_all(runtime, {name: paths(root, network) for name, network in every.items()})
    elsewhere = max(network.elsewhere for network in bound.values())
    if elsewhere:
        progress.say(
            f"note: {runtime.provider} leaves operators to the CPU, up to {elsewhere:.0%} of a network's"
        )
    names = list(bound)
    runs: list[Callable[[], object]] = [network.run for network in bound.values()]
    progress.start("rounds", rounds, before)
    waiting = Waiting()
    gc.disable()
    try:
        for visited in each_round(runs, left, before, NANOSECONDS[runtime.clock]):
            record.add_round({names[i]: times for i, times in visited.items()})
            progress.advance()
    finally:
        gc.enable()
    waited = waiting.share() or 0.0
    if kept_waiting(runtime.clock, waited):
        progress.say(f"note: others kept the networks from a core {waited:.0%} of the time; {_QUIET}")


def _tell_noise(timings: Mapping[str, Mapping[str, float]], progress: Progress) -> None:
    """Says so where medians tell of the machine rather than of the networks."""
    spreads = [timing["p50_ms"] / timing["p10_ms"] - 1 for timing in timings.values()]
    unsteady = sum(spread > UNSTEADY for spread in spreads)
    if unsteady:
        progress.say(
            f"note: {unsteady} of {len(spreads)} networks took up to {max(spreads):.0%} longer in half of "
            f"their runs than in the quickest tenth; {_QUIET}"
        )


def _memory(
    root: Path, manifest: Manifest, runtime: OnnxRuntime, record: Record, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Of every network, each in a process of its own."""
    progress.start("memory", len(manifest.networks))
    memory = {}
    for number, (key, network) in enumerate(manifest.networks.items()):
        measure = partial(memory_of, *paths(root, network), runtime.threads)
        memory[key] = record.once(f"memory-{number:04}.json", measure)
        progress.advance()
    return memory


def _reference(
    root: Path, manifest: Manifest, kind: str, runtime: OnnxRuntime, record: Record, progress: Progress
) -> dict[str, Any]:
    """Timings of reference networks in a fresh process, as they will ride in every verification."""
    networks, rounds = riding(root, manifest, kind), record.rounds
    progress.start(f"reference, {kind}", rounds)
    measure = partial(
        time_networks, networks, runtime.provider, runtime.threads, rounds, 0, lambda _: progress.advance()
    )
    timings = record.once(f"reference-{kind}.json", measure)["timings"]
    return {name: timings[name] for name in manifest.reference[kind]}
