"""Candidates: proposed by the solver, ranked on validation data, measured on the device, corrected.

Sources propose, each its k best within the budget: the quality scores, the same scores where the budget must
be filled, and the distribution that the controller learnt. Weights that are shared flatter small networks,
whose few options were trained among few others; so the best of each source in shared weights are tuned for a
few steps, each with weights of its own, and ranked together by validation loss after that. The best are
timed in interleaved rounds, untrained, since the latency of these networks does not depend on what they
learnt: put together from exported parts, and the best that fits once more as the export of the whole that
it will be. One that misses a limit is cut off, its options become dearer, and the solver runs again; a cost
never goes down within a run, so this ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nas.budget import Budget, Metric, metric
from nas.cost_table import Correction, CostTable
from nas.discretise import Scores
from search_spaces import Architecture

ATTEMPTS = 5
GUARD = 0.02
"""How far below a limit a latency must be measured, since the verdict comes from processes still to come. In
quiet hours the medians of ten architectures in five fresh processes differed by 1.3 to 2.2 % (one standard
deviation) from what was expected of them, drift taken out."""
CAREFUL = 1.5
"""In other hours it is so many times the standard deviation that was found when the table was made."""
MOST = 0.1
"""No more than this part of a limit is given away for what may differ."""

TUNED = 3
"""How many candidates of each source are tuned before they are ranked."""

Measure = Callable[[list[Architecture]], list[dict[str, float]]]
"""Measures architectures, untrained, in the same rounds: every metric of each."""
Loss = Callable[[Architecture], float]
Once = Callable[[str, Callable[[], Mapping[str, Any]]], dict[str, Any]]
"""`Run.once`: what an attempt measured is on disk before it is used."""


@dataclass(frozen=True)
class Source:
    """Proposes the best architectures by its scores; `filled`: of those that fill the budget."""

    scores: Scores
    filled: bool = False


@dataclass(frozen=True)
class Candidate:
    """`measured` is None where it was not measured, or the device is not here."""

    architecture: Architecture
    source: str
    predicted: dict[str, float]
    shared_loss: float
    attempt: int
    tuned_loss: float | None = None
    """After a few steps with weights of its own; only tuned candidates can win."""
    measured: dict[str, float] | None = None
    fits: bool | None = None
    whole: bool = False
    """Whether what was measured is an export of the whole network."""

    @property
    def sources(self) -> list[str]:
        return self.source.split(", ")

    @property
    def rank(self) -> tuple[bool, float]:
        """Tuned candidates by their tuned loss, then the others by their shared one: never mixed."""
        return (False, self.tuned_loss) if self.tuned_loss is not None else (True, self.shared_loss)

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "architecture": dict(self.architecture)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Candidate:
        return cls(**{**data, "architecture": Architecture(data["architecture"])})


@dataclass
class Selection:
    """The state of the search for a candidate that fits; `best` is what it found."""

    table: CostTable
    budget: Budget
    candidates: dict[Architecture, Candidate] = field(default_factory=dict)

    @property
    def ranked(self) -> list[Candidate]:
        return sorted(self.candidates.values(), key=lambda c: c.rank)

    @property
    def best(self) -> Candidate:
        """The best-ranked that fits; where none was found to fit, the one that came nearest.

        Where nothing is measured, all of them fit by prediction.
        """
        unmeasured = all(c.measured is None for c in self.ranked)
        fitting = [c for c in self.ranked if c.fits or unmeasured]
        return fitting[0] if fitting else min(self.ranked, key=lambda c: _overshoot(c, self.budget))

    def misses(self, measured: Mapping[str, float]) -> list[str]:
        """The limits that these figures are not safely within. What is counted repeats exactly."""
        return [
            limited.name
            for limited, limit in self.budget.items()
            if measured[limited.name] > limit * (1 - (self._guard(limited) if limited.timed else 0.0))
        ]

    def _guard(self, limited: Metric) -> float:
        return guard(self.table.of(limited.kind).calibration.repeatability)

    @property
    def settled(self) -> bool:
        """No candidate that could still rank above the best fitting one is left unmeasured."""
        first = next((c for c in self.ranked if c.fits is not False), None)
        return first is not None and first.whole


def _overshoot(candidate: Candidate, budget: Budget) -> float:
    figures = candidate.measured or candidate.predicted
    return max(figures[name] / limit for name, limit in budget.limits().items())


def choose(
    table: CostTable,
    budget: Budget,
    sources: Mapping[str, Source],
    shared_loss: Loss,
    tuned_loss: Loss | None,
    measure: Measure | None,
    measure_whole: Measure | None,
    once: Once,
    *,
    proposals: int,
    measured: int,
    note: Callable[[str], None],
) -> Selection:
    """Proposes, ranks, measures and corrects, at most ATTEMPTS times.

    `measure` takes assembled networks, `measure_whole` exports each; without them it predicts only. Without
    `tuned_loss` it ranks by shared losses.
    """
    selection = Selection(table, budget)
    for attempt in range(1, ATTEMPTS + 1):

        def compute(attempt: int = attempt) -> dict[str, Any]:
            found = _propose(selection, sources, shared_loss, proposals, attempt)
            if tuned_loss is not None:
                found = _tuned(found, sources, tuned_loss)
            if measure is not None and measure_whole is not None:
                found = _measured(found, measure, selection, measured)
                found = _confirmed(found, measure_whole, selection)
            return {"candidates": [c.to_dict() for c in found.values()]}

        data = once(f"attempt-{attempt}.json", compute)
        measured_before = {a for a, c in selection.candidates.items() if c.measured is not None}
        selection.candidates = {
            c.architecture: c for c in (Candidate.from_dict(entry) for entry in data["candidates"])
        }
        if measure is None:
            break
        _correct(selection, measured_before, attempt, note)
        if selection.settled:
            break
    return selection


def _propose(
    selection: Selection,
    sources: Mapping[str, Source],
    shared_loss: Loss,
    proposals: int,
    attempt: int,
) -> dict[Architecture, Candidate]:
    """The candidates so far, and each source's best of those that were not found to miss."""
    found = dict(selection.candidates)
    table = selection.table
    missed = [c.architecture for c in found.values() if c.fits is False]
    budget = aim(table, selection.budget)
    for name, source in sources.items():
        problem = table.filled(budget) if source.filled else table.problem(budget)
        for solution in itertools.islice(problem.ranked(source.scores, missed), proposals):
            architecture = solution.architecture
            if architecture not in found:
                predicted = table.figures(architecture)
                found[architecture] = Candidate(
                    architecture, name, predicted, shared_loss(architecture), attempt
                )
            elif name not in (before := found[architecture]).sources:
                found[architecture] = replace(before, source=f"{before.source}, {name}")
    return found


def _tuned(
    found: dict[Architecture, Candidate], sources: Mapping[str, Source], tuned_loss: Loss
) -> dict[Architecture, Candidate]:
    """Tunes the best of each source in shared weights, of those that were not found to miss."""
    tuned = dict(found)
    for name in sources:
        mine = [c for c in tuned.values() if name in c.sources and c.fits is not False]
        for candidate in sorted(mine, key=lambda c: c.shared_loss)[:TUNED]:
            if candidate.tuned_loss is None:
                loss = tuned_loss(candidate.architecture)
                tuned[candidate.architecture] = replace(candidate, tuned_loss=loss)
    return tuned


def guard(repeatability: float) -> float:
    """How far below a limit a latency must be measured, as a part of it."""
    return min(max(GUARD, CAREFUL * repeatability), MOST)


def aim(table: CostTable, budget: Budget) -> Budget:
    """What the solver works to, unless nothing fits there: what is timed is kept below by guard and residual.

    Memory is aimed at its limit: how an arena fragments is not predicted, but it is the same in every
    process, so that a miss is found by the first measurement.
    """
    timed = {}
    for limited, limit in budget.items():
        if limited.timed:
            calibration = table.of(limited.kind).calibration
            margin = guard(calibration.repeatability) + calibration.latency.residual
            timed[limited.name] = limit * (1 - min(margin, MOST))
    if not timed:
        return budget
    aimed = replace(budget, **timed)
    feasible = table.problem(aimed).best(Scores({})) is not None
    return aimed if feasible else budget


def _measured(
    found: dict[Architecture, Candidate], measure: Measure, selection: Selection, count: int
) -> dict[Architecture, Candidate]:
    """Measures the best-ranked candidates that were not measured yet."""
    ranked = sorted(found.values(), key=lambda c: c.rank)
    open_ = list(itertools.islice((c for c in ranked if c.measured is None), count))
    if not open_:
        return found
    figures = measure([c.architecture for c in open_])
    updated = dict(found)
    for candidate, measured in zip(open_, figures, strict=True):
        fits = not selection.misses(measured)
        updated[candidate.architecture] = replace(candidate, measured=measured, fits=fits)
    return updated


def _confirmed(
    found: dict[Architecture, Candidate], measure_whole: Measure, selection: Selection
) -> dict[Architecture, Candidate]:
    """Measures the best that fits as an export of the whole, and the next where it then does not fit."""
    updated = dict(found)
    while True:
        fitting = sorted((c for c in updated.values() if c.fits), key=lambda c: c.rank)
        if not fitting or fitting[0].whole:
            return updated
        best = fitting[0]
        (measured,) = measure_whole([best.architecture])
        fits = not selection.misses(measured)
        updated[best.architecture] = replace(best, measured=measured, fits=fits, whole=True)


def _correct(
    selection: Selection, measured_before: Collection[Architecture], attempt: int, note: Callable[[str], None]
) -> None:
    """Makes dearer what was measured above its prediction and, with that, above a limit."""
    for candidate in selection.candidates.values():
        if candidate.fits is not False or candidate.architecture in measured_before:
            continue
        assert candidate.measured is not None
        for name in selection.misses(candidate.measured):
            missed = metric(name)
            predicted = selection.table.figures(candidate.architecture)[name]
            limit = selection.budget.limits()[name]
            correction = Correction(
                candidate.architecture, name, predicted, candidate.measured[name], limit, attempt
            )
            before, selection.table = selection.table, selection.table.corrected(correction)
            note(
                f"attempt {attempt}: {missed.title} {candidate.measured[name]:.4g} {missed.unit} measured, "
                f"{predicted:.4g} predicted: {'' if selection.table is before else 'corrected, '}cut off"
            )
