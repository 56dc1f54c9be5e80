"""Proposing, measuring and correcting, on a device whose true figures only the test knows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nas.budget import METRICS, Budget
from nas.candidates import ATTEMPTS, GUARD, TUNED, Candidate, Measure, Selection, Source, aim, choose, guard
from nas.discretise import Scores
from tests.nas.toys import FIRST, INNER, SECOND, Killed, architecture, architectures, new_run, toy_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nas.cost_table import CostTable
    from search_spaces import Architecture

BUDGET = Budget(latency_ms=6.0)
BIG = Scores({(FIRST, "tanh.x2"): 3.0, (FIRST, "linear"): 2.0, (INNER, "wide"): 2.0, (INNER, "narrow"): 0.5})
"""Likes what is dear."""
SMALL = Scores({(FIRST, "skip"): 1.0, (SECOND, "skip"): 0.5})

# Within 6 ms by the table: linear-nested-narrow 4.5, linear-skip 3, tanh-skip 5, skip-nested-wide 5,
# skip-nested-narrow 2.5, skip-skip 1.
TANH, WIDE = architecture("tanh.x2", "skip"), architecture("skip", "nested", "wide")
LINEAR, MIDDLE = architecture("linear", "skip"), architecture("linear", "nested", "narrow")
NARROW, NOTHING = architecture("skip", "nested", "narrow"), architecture("skip", "skip")
LOSS = {TANH: 1.0, MIDDLE: 1.1, WIDE: 1.2, LINEAR: 1.3, NARROW: 1.4, NOTHING: 2.0}


RESIDUAL = toy_table().calibration.latency.residual


TWO_MISSES = {TANH: 1.3, MIDDLE: 1.4}


class World:
    """A device: true latency is the table's times a factor. Memory and parameters are as predicted."""

    def __init__(self, factors: Mapping[Architecture, float], default: float = 1.0) -> None:
        self.factors, self.default = factors, default
        self.table = toy_table()
        self.asked: list[list[Architecture]] = []

    def __call__(self, candidates: list[Architecture]) -> list[dict[str, float]]:
        self.asked.append(candidates)
        return [self.truth(a) for a in candidates]

    def again(self, candidates: list[Architecture]) -> list[dict[str, float]]:
        """As exports of the whole."""
        return [self.truth(a) for a in candidates]

    def truth(self, taken: Architecture) -> dict[str, float]:
        figures = self.table.figures(taken)
        return {**figures, "latency_ms": figures["latency_ms"] * self.factors.get(taken, self.default)}


class Search:
    """`choose` with the defaults of these tests; what happened stays in its attributes."""

    def __init__(self, measure: Measure | None, whole: Measure | None = None, **changes: Any) -> None:
        self.notes: list[str] = []
        self.stored: dict[str, dict[str, Any]] = {}
        self.losses: list[Architecture] = []
        arguments: dict[str, Any] = {
            "table": toy_table(),
            "budget": BUDGET,
            "sources": {"scores": Source(BIG), "controller": Source(SMALL)},
            "tuned_loss": None,
            "once": self.once,
            "proposals": 2,
            "measured": 2,
            **changes,
        }
        self.found = choose(
            **arguments,
            shared_loss=self.shared_loss,
            measure=measure,
            measure_whole=whole or (measure.again if isinstance(measure, World) else None),
            note=self.notes.append,
        )

    def shared_loss(self, taken: Architecture) -> float:
        self.losses.append(taken)
        return LOSS[taken]

    def once(self, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        self.stored[name] = dict(compute())
        return self.stored[name]


def test_both_sources_propose_their_best_within_the_budget() -> None:
    world = World({})
    search = Search(world, measured=9)
    by_source = {c.architecture: c.source for c in search.found.candidates.values()}
    # BIG: tanh-skip 3, linear-nested-narrow 2.5.  SMALL: skip-skip 1.5, skip-nested 1.0 (narrow or wide).
    assert by_source.pop(TANH) == by_source.pop(MIDDLE) == "scores"
    assert by_source.pop(NOTHING) == "controller"
    assert list(by_source.values()) == ["controller"]
    assert list(search.stored) == ["attempt-1.json"]
    assert set(world.asked[0]) == set(search.found.candidates)
    assert search.found.best.architecture == TANH
    assert search.found.best.predicted == toy_table().figures(TANH)
    assert search.found.best.measured == world.truth(TANH)
    assert [c.shared_loss for c in search.found.ranked] == sorted(LOSS[a] for a in search.found.candidates)
    assert search.notes == []


def test_one_architecture_of_two_sources() -> None:
    search = Search(World({}), sources={"scores": Source(BIG), "controller": Source(BIG)})
    assert {c.source for c in search.found.candidates.values()} == {"scores, controller"}
    assert len(search.losses) == len(set(search.losses)) == 2, "evaluated once"


def test_a_miss_is_corrected_and_cut_off() -> None:
    """tanh-skip, 5 ms predicted, takes 6.5: everything in it becomes 1.3 times as dear."""
    search = Search(World({TANH: 1.3}), proposals=1, measured=1, sources={"scores": Source(BIG)})
    assert search.notes == ["attempt 1: latency 6.5 ms measured, 5 predicted: corrected, cut off"]
    (correction,) = search.found.table.corrections
    assert (correction.architecture, correction.predicted, correction.measured) == (TANH, 5.0, 6.5)
    assert search.found.table.figures(TANH)["latency_ms"] == pytest.approx(6.5)
    missed, taken = search.found.candidates[TANH], search.found.best
    assert (missed.fits, missed.attempt) == (False, 1)
    assert taken.architecture == MIDDLE
    assert (taken.fits, taken.attempt) == (True, 2)
    # Its prediction is the corrected table's: the rest of the network became dearer, from 1 ms to 1.3.
    assert taken.predicted["latency_ms"] == pytest.approx(4.8)


def test_a_miss_that_the_corrected_table_expects_is_cut_off_alone() -> None:
    """5.97 ms is within 6, but nearer than the next process would repeat. Each miss is told once."""
    scores = Scores({**BIG.options, (INNER, "wide"): 3.5})
    search = Search(World({WIDE: 2.0, TANH: 5.97 / 5}), sources={"scores": Source(scores)})
    assert search.notes == [
        "attempt 1: latency 10 ms measured, 5 predicted: corrected, cut off",
        "attempt 1: latency 5.97 ms measured, 6 predicted: cut off",  # 1 ms of the rest is 2 ms by now
    ]
    assert [c.architecture for c in search.found.table.corrections] == [WIDE]
    assert search.found.candidates[TANH].fits is False
    assert search.found.best.architecture == LINEAR
    assert len(search.stored) == 2


def test_what_missed_is_not_proposed_again() -> None:
    """5.97 ms after correction is still within 6 ms for the solver: only the cut makes room for another."""
    search = Search(World({TANH: 5.97 / 5}), proposals=1, measured=1, sources={"scores": Source(BIG)})
    assert search.found.table.figures(TANH)["latency_ms"] < 6.0
    assert search.found.best.architecture == MIDDLE
    assert len(search.stored) == 2


def test_within_the_guard_a_figure_that_repeats_exactly_is_enough() -> None:
    exact = toy_table().figures(TANH)
    tight = Budget(memory_mb=exact["memory_mb"] * (1 + 1e-9), params_m=exact["params_m"] * (1 + 1e-9))
    assert Search(World({}), budget=tight, sources={"scores": Source(BIG)}).found.best.architecture == TANH
    close = Budget(latency_ms=1.001 * exact["latency_ms"] / (1 - min(GUARD + RESIDUAL, 0.1)))
    world = World({TANH: 1 + GUARD + RESIDUAL})
    found = Search(world, budget=close, sources={"scores": Source(BIG)}).found.candidates[TANH]
    assert found.measured is not None
    assert found.measured["latency_ms"] > (1 - GUARD) * close.limits()["latency_ms"]
    assert found.fits is False


def test_attempts_are_bounded_and_the_nearest_is_the_answer() -> None:
    world = World({NARROW: 2.5}, default=9.0)
    search = Search(world, proposals=1, measured=1)
    assert len(search.stored) == ATTEMPTS
    assert not any(c.fits for c in search.found.candidates.values())
    measured = [c for c in search.found.candidates.values() if c.measured]
    assert len(measured) == len({a for asked in world.asked for a in asked}) == sum(map(len, world.asked))
    nearest = min(search.found.candidates.values(), key=lambda c: (c.measured or c.predicted)["latency_ms"])
    assert search.found.best == nearest


def test_nothing_is_measured_twice_and_nothing_is_measured_in_vain() -> None:
    world = World({}, default=9.0)
    Search(world, proposals=9, measured=9)
    assert [len(asked) for asked in world.asked] == [6], "all that the table allows, and no empty measurement"


def test_the_search_settles_when_nothing_unmeasured_ranks_higher() -> None:
    first = World({})
    assert Search(first, proposals=6, measured=1, sources={"scores": Source(BIG)}).found.settled
    assert first.asked == [[TANH]]
    second = World({TANH: 1.3})
    search = Search(second, proposals=6, measured=1, sources={"scores": Source(BIG)})
    assert second.asked == [[TANH], [MIDDLE]], "by rank, though others were proposed too"
    assert search.found.best.architecture == MIDDLE


def test_a_device_that_is_not_here() -> None:
    """One attempt, no verdict, and the best-ranked of those that fit by prediction."""
    search = Search(None, proposals=6)
    assert list(search.stored) == ["attempt-1.json"]
    assert {c.fits for c in search.found.candidates.values()} == {None}
    assert {c.measured for c in search.found.candidates.values()} == {None}
    assert search.found.best.architecture == min(search.found.candidates, key=LOSS.__getitem__) == TANH


def test_a_finished_choice_is_read_back(tmp_path: Path) -> None:
    run, world = new_run(tmp_path / "run"), World(TWO_MISSES)
    whole = Search(world, proposals=1, measured=1, sources={"scores": Source(BIG)}, once=run.once)
    assert len(world.asked) == 3

    def no_device(candidates: list[Architecture]) -> list[dict[str, float]]:
        raise AssertionError("measured again")

    again = Search(no_device, proposals=1, measured=1, sources={"scores": Source(BIG)}, once=run.once)
    assert again.found == whole.found
    assert again.losses == []
    assert again.notes == whole.notes


@pytest.mark.parametrize("finished", range(3))
def test_killed_while_measuring(tmp_path: Path, finished: int) -> None:
    whole = Search(World(TWO_MISSES), proposals=1, measured=1, sources={"scores": Source(BIG)})
    run, world = new_run(tmp_path / "run"), World(TWO_MISSES)

    def dies(candidates: list[Architecture]) -> list[dict[str, float]]:
        if len(world.asked) == finished:
            raise Killed
        return world(candidates)

    with pytest.raises(Killed):
        Search(dies, world.again, proposals=1, measured=1, sources={"scores": Source(BIG)}, once=run.once)
    resumed = Search(world, proposals=1, measured=1, sources={"scores": Source(BIG)}, once=run.once)
    assert resumed.found == whole.found
    assert [asked[0] for asked in world.asked] == [TANH, MIDDLE, LINEAR]


def test_the_solver_aims_below_the_limit_unless_nothing_fits_there() -> None:
    table = toy_table(predicted=(1.02,), measured=(1.0,))
    margin = GUARD + 1.4826 * 0.02
    budget = Budget(latency_ms=6.0, memory_mb=50.0, params_m=9.0)
    assert aim(table, budget).limits() == pytest.approx({**budget.limits(), "latency_ms": 6 * (1 - margin)})
    assert aim(table, Budget(latency_ms=1.02)).latency_ms == 1.02, "the smallest network takes 1 ms"
    assert aim(table, Budget(memory_mb=50.0)) == Budget(memory_mb=50.0)
    wild = toy_table(predicted=(3.0,), measured=(1.0,))
    assert aim(wild, budget).latency_ms == pytest.approx(5.4), "never more than a tenth"


@pytest.mark.parametrize(("repeatability", "expected"), [(0.0, 0.02), (0.01, 0.02), (0.04, 0.06), (0.5, 0.1)])
def test_where_networks_repeat_badly_more_is_kept_of_the_limit(repeatability: float, expected: float) -> None:
    table = toy_table()
    table = replace(table, calibration=replace(table.calibration, repeatability=repeatability))
    assert guard(repeatability) == pytest.approx(expected)
    budget = Budget(latency_ms=6.0, params_m=0.2)
    assert aim(table, budget).latency_ms == pytest.approx(6.0 * (1 - expected))
    selection = Selection(table, budget)
    within, beyond = 6.0 * (1 - expected) - 0.01, 6.0 * (1 - expected) + 0.01
    assert selection.misses({"latency_ms": within, "params_m": 0.2}) == []
    assert selection.misses({"latency_ms": beyond, "params_m": 0.2}) == ["latency_ms"]


@pytest.mark.parametrize("measured", [None, {"latency_ms": 1.5, "memory_mb": 2.0, "params_m": 0.1}])
def test_a_candidate_survives_json(measured: dict[str, float] | None) -> None:
    candidate = Candidate(WIDE, "scores", {"latency_ms": 1.0}, 0.5, 2, measured, True if measured else None)
    assert Candidate.from_dict(candidate.to_dict()) == candidate
    assert isinstance(candidate.to_dict()["architecture"], dict)


def test_the_loss_table_covers_what_the_budget_allows() -> None:
    latency = METRICS[0]
    table: CostTable = toy_table()
    assert {a for a in architectures() if latency.of(table.cost(a)) <= 6.0} == set(LOSS)
    assert Selection(table, BUDGET).candidates == {}


def test_only_tuned_candidates_win_and_by_their_tuned_loss() -> None:
    """Tuned, the order of the shared losses is turned around; what was not tuned comes after all that was."""
    asked: list[Architecture] = []

    def tuned(taken: Architecture) -> float:
        asked.append(taken)
        return 10.0 - LOSS[taken]

    found = Search(None, tuned_loss=tuned, proposals=4).found
    assert set(asked) == {c.architecture for c in found.candidates.values() if c.tuned_loss is not None}
    assert len(asked) == len(set(asked)) <= 2 * TUNED
    ranked = found.ranked
    first_untuned = next((i for i, c in enumerate(ranked) if c.tuned_loss is None), len(ranked))
    assert all(c.tuned_loss is None for c in ranked[first_untuned:])
    assert found.best.architecture == max(asked, key=LOSS.__getitem__)


def test_a_filling_source_fills() -> None:
    """The scores like cheap options; of what uses most of the limit it proposes the cheapest."""
    found = Search(None, sources={"filling": Source(SMALL, filled=True)}, proposals=1).found
    (candidate,) = found.candidates.values()
    assert 0.8 * 6.0 <= candidate.predicted["latency_ms"] <= 6.0
    (plain,) = Search(None, sources={"scores": Source(SMALL)}, proposals=1).found.candidates.values()
    assert plain.predicted["latency_ms"] < candidate.predicted["latency_ms"]
