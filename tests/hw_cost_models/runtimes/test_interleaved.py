"""The protocol by a clock of our own."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_cost_models.runtimes.interleaved import interleaved, summary

if TYPE_CHECKING:
    from collections.abc import Callable


class _Clock:
    """Time passes only when a network runs."""

    def __init__(self) -> None:
        self.now = 0
        self.log: list[int] = []

    def __call__(self) -> int:
        return self.now

    def network(self, number: int, ms: float) -> Callable[[], None]:
        def run() -> None:
            self.now += int(ms * 1e6)
            self.log.append(number)

        return run


def _rounds(durations: list[float], rounds: int) -> tuple[list[list[list[float]]], list[int]]:
    clock = _Clock()
    runs = [clock.network(number, ms) for number, ms in enumerate(durations)]
    samples = interleaved(runs, rounds, 0, lambda _: None, clock)
    return samples, clock.log[3 * len(durations) :]


def test_every_round_visits_every_network_once() -> None:
    samples, log = _rounds([1.0, 4.0, 20.0], 6)
    assert [[len(visit) for visit in visits] for visits in samples] == [[5] * 6, [2] * 6, [1] * 6]
    assert samples[1] == [[4.0, 4.0]] * 6
    visits = [number for i, number in enumerate(log) if i == 0 or log[i - 1] != number]
    a_round = (1 + 5) + (1 + 2) + (1 + 1)
    for start in range(0, len(log), a_round):
        assert sorted(log[start : start + a_round]) == [0] * 6 + [1] * 3 + [2] * 2
    assert len({tuple(visits[i : i + 3]) for i in range(0, len(visits) - 2, 3)}) > 1, "the order is random"


def test_slow_networks_sit_rounds_out_evenly() -> None:
    samples, log = _rounds([1.0, 1000.0], 21)
    assert [len(visits) for visits in samples] == [21, 7]
    gaps = "".join(str(number) for number in log).split("11")
    assert max(len(gap) for gap in gaps) <= 4 * 6


def test_few_rounds_are_never_exceeded() -> None:
    assert [len(visits) for visits in _rounds([1.0, 1000.0], 3)[0]] == [3, 3]


_Visits = st.lists(st.lists(st.floats(0.001, 1000), min_size=1, max_size=5), min_size=4, max_size=25)


@given(_Visits)
def test_a_summary_is_of_all_runs(visits: list[list[float]]) -> None:
    found = summary(visits)
    runs = sorted(ms for visit in visits for ms in visit)
    assert found["p50_ms"] == pytest.approx(statistics.median(runs))
    assert runs[0] <= found["p10_ms"] <= found["p50_ms"] <= found["p95_ms"] <= runs[-1]
    assert found["rounds"] == len(visits)


@given(_Visits)
def test_the_trend_is_of_two_halves(visits: list[list[float]]) -> None:
    half = len(visits) // 2
    parts = visits[:half], visits[len(visits) - half :]
    earlier, later = (statistics.median(itertools.chain.from_iterable(part)) for part in parts)
    assert summary(visits)["trend"] == pytest.approx(later / earlier)


def test_a_single_visit_has_no_trend() -> None:
    assert summary([[3.0, 4.0]])["trend"] == 1
