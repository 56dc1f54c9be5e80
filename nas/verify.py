"""Verification: is the exported file within its budget, measured?

The rounds are fixed beforehand, run in three fresh processes, and select nothing: measuring until something
fits would be optional stopping. Anchor networks ride in every process. Where they say that the machine has
drifted far, that process is repeated, by their word alone; where it stays so, a process decides only if its
figure is on the same side of the limit with the drift and without it, and else the verdict is *undecided*.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from nas.bench import Bench, memory_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nas.budget import Budget

Verdict = Literal["within", "over", "undecided", "predicted, not verified"]

PROCESSES = 3
REPEATS = 3
"""Processes that may be repeated, in all, because the machine had drifted."""
DRIFT = 0.10
"""Largest drift, up or down, at which a corrected figure decides by itself."""


@dataclass(frozen=True)
class Process:
    """What one fresh process measured. `latency_ms` has the drift taken out."""

    latency_ms: float
    raw_latency_ms: float
    drift: float
    p10_ms: float
    p50_ms: float
    p95_ms: float
    memory_mb: float
    resident_mb: float

    @property
    def steady(self) -> bool:
        return abs(self.drift - 1) <= DRIFT

    def decides(self, limit_ms: float) -> bool:
        """Whether the drift leaves no doubt on which side of the limit the latency is."""
        return self.steady or (self.latency_ms <= limit_ms) == (self.raw_latency_ms <= limit_ms)


@dataclass(frozen=True)
class Verification:
    verdict: Verdict
    verdicts: dict[str, Verdict]
    """By metric of the budget."""
    measured: dict[str, float]
    """Medians over the processes."""
    processes: tuple[Process, ...]
    repeated: int
    rounds: int
    file_mb: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verification:
        return cls(**{**data, "processes": tuple(Process(**process) for process in data["processes"])})


def verify(
    path: Path,
    params_m: float,
    budget: Budget,
    bench: Bench,
    advance: Callable[[], None] = lambda: None,
) -> Verification:
    """Measures the file. `params_m` are its non-zero parameters, counted where it was exported."""
    processes: list[Process] = []
    repeated = 0
    while len(processes) < PROCESSES:
        process = _measure(path, bench, seed=len(processes) + repeated)
        if not process.steady and repeated < REPEATS:
            repeated += 1
            continue
        processes.append(process)
        advance()
    verdicts = {name: _verdict(name, limit, processes, params_m) for name, limit in budget.limits().items()}
    return Verification(
        verdict=_together(verdicts),
        verdicts=verdicts,
        measured={
            "latency_ms": median(p.latency_ms for p in processes),
            "memory_mb": median(p.memory_mb for p in processes),
            "params_m": params_m,
        },
        processes=tuple(processes),
        repeated=repeated,
        rounds=bench.rounds,
        file_mb=path.stat().st_size / 1e6,
    )


def _measure(path: Path, bench: Bench, seed: int) -> Process:
    measurement = bench.files({"winner": path}, seed)
    timing = measurement.timings["winner"]
    return Process(
        latency_ms=bench.latency(measurement, "winner"),
        raw_latency_ms=timing.at(bench.statistic),
        drift=bench.drift(measurement, "winner"),
        p10_ms=timing.p10_ms,
        p50_ms=timing.p50_ms,
        p95_ms=timing.p95_ms,
        memory_mb=memory_mb(measurement, "winner"),
        resident_mb=measurement.resident_bytes["winner"] / 1e6,
    )


def _verdict(name: str, limit: float, processes: list[Process], params_m: float) -> Verdict:
    if name == "params_m":
        return "within" if params_m <= limit else "over"
    if name == "memory_mb":
        return "within" if all(p.memory_mb <= limit for p in processes) else "over"
    if not all(p.decides(limit) for p in processes):
        return "undecided"
    return "within" if all(p.latency_ms <= limit for p in processes) else "over"


def _together(verdicts: Mapping[str, Verdict]) -> Verdict:
    for verdict in ("over", "undecided"):
        if verdict in verdicts.values():
            return verdict
    return "within"
