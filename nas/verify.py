"""Verification: is the exported file within its budget, measured?

The rounds are fixed beforehand, run in three fresh processes, and select nothing: measuring until something
fits would be optional stopping. Anchor networks ride in every process. Where they say that the machine has
drifted far, or other programs kept it busy, that process is repeated, by that word alone; where it stays so,
a process decides only if its figure is on the same side of the limit with the drift and without it, and else
the verdict is *undecided*.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from nas.bench import Bench, Benches, memory_mb
from nas.export import file_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from nas.budget import Budget

Verdict = Literal["within", "over", "undecided", "predicted, not verified"]

PROCESSES = 3
REPEATS = 3
"""Processes that may be repeated, in all, because the machine had drifted."""
DRIFT = 0.10
"""Largest drift, up or down, at which a corrected figure decides by itself."""


@dataclass(frozen=True)
class Process:
    """What one fresh process measured. `latency_ms` has the drift taken out; only a forward has memory."""

    latency_ms: float
    raw_latency_ms: float
    drift: float
    p10_ms: float
    p50_ms: float
    p95_ms: float
    memory_mb: float | None = None
    resident_mb: float | None = None
    busy: bool = False
    """Other programs took so much of the machine that the figure cannot be trusted by itself."""

    @property
    def steady(self) -> bool:
        return abs(self.drift - 1) <= DRIFT and not self.busy

    def decides(self, limit_ms: float) -> bool:
        """Whether drift and neighbours leave no doubt on which side of the limit the latency is."""
        return self.steady or (self.latency_ms <= limit_ms) == (self.raw_latency_ms <= limit_ms)


@dataclass(frozen=True)
class Verification:
    """Of one exported file under one workload."""

    verdict: Verdict
    verdicts: dict[str, Verdict]
    """By metric of the budget."""
    measured: dict[str, float]
    """Medians over the processes."""
    processes: tuple[Process, ...]
    repeated: int
    rounds: int
    file_mb: float
    beside: dict[str, Verification] = field(default_factory=dict)
    """Of workloads of other kinds; their verdicts and figures stand among this one's, too."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verification:
        processes = tuple(Process(**process) for process in data["processes"])
        beside = {kind: cls.from_dict(other) for kind, other in data["beside"].items()}
        return cls(**{**data, "processes": processes, "beside": beside})

    def with_beside(self, others: Mapping[str, Verification]) -> Verification:
        """The verdict on all workloads together."""
        verdicts = {**self.verdicts, **{k: v for other in others.values() for k, v in other.verdicts.items()}}
        measured = {**self.measured, **{k: v for other in others.values() for k, v in other.measured.items()}}
        return replace(
            self, verdict=_together(verdicts), verdicts=verdicts, measured=measured, beside=dict(others)
        )


def verify(
    path: Path,
    inputs: tuple[Tensor, ...],
    counted: Mapping[str, float],
    budget: Budget,
    bench: Bench,
    advance: Callable[[], None] = lambda: None,
) -> Verification:
    """Measures the file on these inputs, against the limits on the bench's workload.

    `counted` are the figures that need no measurement, such as non-zero parameters.
    """
    processes: list[Process] = []
    repeated = 0
    while len(processes) < PROCESSES:
        process = _measure(path, inputs, bench, seed=len(processes) + repeated)
        if not process.steady and repeated < REPEATS:
            repeated += 1
            continue
        processes.append(process)
        advance()
    measured = {bench.clock: median(p.latency_ms for p in processes), **counted}
    arenas = [p.memory_mb for p in processes if p.memory_mb is not None]
    if arenas:
        measured["memory_mb"] = median(arenas)
    verdicts = {
        metric.name: _verdict(metric.name, limit, processes, measured, bench.clock)
        for metric, limit in budget.items()
        if metric.name in measured
    }
    return Verification(
        verdict=_together(verdicts),
        verdicts=verdicts,
        measured=measured,
        processes=tuple(processes),
        repeated=repeated,
        rounds=bench.rounds,
        file_mb=path.stat().st_size / 1e6,
    )


def verify_all(
    network: nn.Module,
    folder: Path,
    budget: Budget,
    benches: Benches,
    advance: Callable[[], None] = lambda: None,
) -> Verification:
    """Measures the exported files in the folder under every workload; `network` is what they hold."""
    found = {}
    for bench in benches.benches:
        item = bench.assembly.running(network)
        path = folder / file_of(bench.kind)
        found[bench.kind] = verify(path, item[1], bench.counted(item), budget, bench, advance)
    first, *others = found
    return found[first].with_beside({kind: found[kind] for kind in others})


def _measure(path: Path, inputs: tuple[Tensor, ...], bench: Bench, seed: int) -> Process:
    measurement = bench.measure({"winner": (path, inputs)}, seed)
    timing = measurement.timings["winner"]
    resident = measurement.resident_bytes.get("winner")
    return Process(
        latency_ms=bench.latency(measurement, "winner"),
        raw_latency_ms=timing.at(bench.statistic),
        drift=bench.drift(measurement, "winner"),
        p10_ms=timing.p10_ms,
        p50_ms=timing.p50_ms,
        p95_ms=timing.p95_ms,
        memory_mb=None if resident is None else memory_mb(measurement, "winner"),
        resident_mb=None if resident is None else resident / 1e6,
        busy=measurement.busy,
    )


def _verdict(
    name: str, limit: float, processes: list[Process], measured: Mapping[str, float], clock: str
) -> Verdict:
    if name == clock:
        if not all(p.decides(limit) for p in processes):
            return "undecided"
        return "within" if all(p.latency_ms <= limit for p in processes) else "over"
    if name == "memory_mb":
        return "within" if all(p.memory_mb is None or p.memory_mb <= limit for p in processes) else "over"
    return "within" if measured[name] <= limit else "over"


def _together(verdicts: Mapping[str, Verdict]) -> Verdict:
    for verdict in ("over", "undecided"):
        if verdict in verdicts.values():
            return verdict
    return "within"
