"""Fair sampling: every option as often as any other, and costs from all over the range."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.sampling import MARGIN, FairSampler, fit, random_architecture
from search_spaces.rules import Row, Rule, at_least
from tests.nas.toys import COSTS, INNER, NESTING, OPTIONS, SECOND, Toy, architectures, flat_table, toy_table

Array = NDArray[np.float64]

_cost = st.just(0.0) | st.floats(0.01, 100)
_choice = st.lists(_cost, min_size=2, max_size=6) | st.tuples(_cost, st.integers(2, 4)).map(
    lambda t: [t[0]] * t[1]
)
_space = st.lists(_choice, min_size=1, max_size=6)


def _padded(costs: list[list[float]]) -> Array:
    """As `fit` takes them: infinity where a choice has no such option."""
    width = max(map(len, costs))
    return np.array([[*row, *[np.inf] * (width - len(row))] for row in costs])


def _range(costs: list[list[float]]) -> tuple[float, float]:
    return sum(map(min, costs)), sum(map(max, costs))


@settings(max_examples=25)
@given(costs=_space)
def test_probabilities_for_any_costs(costs: list[list[float]]) -> None:
    weights, p = fit(_padded(costs), [None] * len(costs))
    assert weights.sum() == pytest.approx(1)
    low, high = _range(costs)
    expected = [
        sum(c * q for row, qs in zip(costs, t, strict=True) for c, q in zip(row, qs, strict=False)) for t in p
    ]
    for i, row in enumerate(costs):
        assert np.allclose(p[:, i, : len(row)].sum(1), 1)
        assert (p[:, i, len(row) :] == 0).all()
    assert np.all(np.diff(expected) >= -1e-6 * (high - low))
    if high > low:
        assert expected[0] == pytest.approx(low + MARGIN * (high - low), abs=1e-4 * (high - low))
        assert expected[-1] == pytest.approx(high - MARGIN * (high - low), abs=1e-4 * (high - low))


@settings(max_examples=25)
@given(costs=_space)
def test_no_option_is_drawn_more_than_another(costs: list[list[float]]) -> None:
    low, high = _range(costs)
    mean = sum(sum(row) / len(row) for row in costs)
    if high > low and not 0.1 < (mean - low) / (high - low) < 0.9:
        return  # a mean beside the targets themselves: fairness and the range exclude each other
    if len(costs) < 3:
        return  # so do they where few choices make up the range: to cover it, its ends must be drawn more
    weights, p = fit(_padded(costs), [None] * len(costs))
    drawn = np.tensordot(weights, p, 1)
    for i, row in enumerate(costs):
        assert drawn[i, : len(row)] == pytest.approx(np.full(len(row), 1 / len(row)), abs=0.01)


def test_an_option_that_does_not_exist_is_never_drawn() -> None:
    """All options of the shorter choice cost far more than the whole range spans."""
    _, p = fit(_padded([[1000.0, 1001.0], [0.0, 0.5, 1.0]]), [None, None])
    assert (p[:, 0, 2] == 0).all()


def test_a_lopsided_choice_still_gives_probabilities() -> None:
    weights, p = fit(_padded([[0.0] * 40 + [1.0]]), [None])
    assert weights.sum() == pytest.approx(1)
    assert np.allclose(p.sum(2), 1)


def test_costs_are_spread_wider_than_by_uniform_sampling() -> None:
    """With 20 equal choices, uniform sampling leaves a third of the range to chance."""
    table = flat_table(*[{"cheap": 0.0, "dear": 1.0}] * 20)
    fair, draws = FairSampler.over(table), torch.Generator().manual_seed(0)
    costs = np.array([table.figures(fair.sample(draws))["latency_ms"] for _ in range(2000)])
    shares = np.histogram(costs, bins=5, range=(0, 20))[0] / 2000
    assert shares == pytest.approx(np.full(5, 0.2), abs=0.05)


def test_samples_are_architectures_and_options_come_equally_often() -> None:
    fair, draws = FairSampler.over(toy_table()), torch.Generator().manual_seed(1)
    count = 3000
    drawn = [fair.sample(draws) for _ in range(count)]
    assert set(drawn) == set(architectures())
    taken = Counter(decision for a in drawn for decision in a.items())
    reached = Counter(path for a in drawn for path in a)
    assert reached[INNER] == taken[SECOND, "nested"]
    for path, option in COSTS:
        # Within five standard deviations of a fair draw.
        share, fair_share = taken[path, option] / reached[path], 1 / len(OPTIONS[path])
        assert share == pytest.approx(
            fair_share, abs=5 * (fair_share * (1 - fair_share) / reached[path]) ** 0.5
        )


def test_rules_hold_in_every_draw_and_leave_the_others_as_they_were() -> None:
    mixers = {f"c{i}": ("full", "half", "skip") for i in range(4)}
    table = flat_table(*({"full": 2.0, "half": 1.0, "skip": 0.0} for _ in mixers))
    same = [Row({("c0", o): 1.0, ("c1", o): -1.0}, 0.0, 0.0) for o in mixers["c0"]]
    rules = (Rule("tied", tuple(same), ("c0", "c1")), at_least(1, [("c2", "full"), ("c3", "full")]))
    fair, draws = FairSampler.over(replace(table, rules=rules)), torch.Generator().manual_seed(0)
    drawn = [fair.sample(draws) for _ in range(300)]
    assert all(a["c0"] == a["c1"] and "full" in (a["c2"], a["c3"]) for a in drawn)
    assert {a["c0"] for a in drawn} == {"full", "half", "skip"}
    free, draws = FairSampler.over(table), torch.Generator().manual_seed(0)
    for a, before in zip(drawn, [free.sample(draws) for _ in range(300)], strict=True):
        tied = {**before, "c1": before["c0"]}
        moved = sum(a[path] != tied[path] for path in mixers)
        assert moved == ("full" not in (tied["c2"], tied["c3"])), "one step is enough"


def test_expected_costs_count_inner_choices_where_they_are_reached() -> None:
    """Against the sum over all architectures: from 4 % to 96 % of the way from 1 ms to 9 ms."""
    table = toy_table()
    fair = FairSampler.over(table)
    expected = []
    for p in fair.probabilities:
        chance = {
            (path, o): p[i, j] for i, (path, os) in enumerate(OPTIONS.items()) for j, o in enumerate(os)
        }
        expected.append(
            sum(
                table.figures(a)["latency_ms"] * np.prod([chance[d] for d in a.items()])
                for a in architectures()
            )
        )
    assert expected == pytest.approx(np.linspace(1 + 0.04 * 8, 9 - 0.04 * 8, len(expected)), abs=1e-3)


def test_random_architectures_are_uniform_and_nested() -> None:
    network, draws = Toy(), torch.Generator().manual_seed(0)
    drawn = Counter(random_architecture(network, draws) for _ in range(3000))
    assert set(drawn) == set(architectures())
    for found, count in drawn.items():
        p = 1 / 6 * (0.5 if INNER in found else 1.0)
        assert count / 3000 == pytest.approx(p, abs=5 * (p * (1 - p) / 3000) ** 0.5)


def test_all_randomness_is_the_generators() -> None:
    fair, network = FairSampler.over(toy_table()), Toy()
    sequences = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        draws = torch.Generator().manual_seed(7)
        sequences.append([(fair.sample(draws), random_architecture(network, draws)) for _ in range(20)])
    assert sequences[0] == sequences[1]
    assert fair.nesting == NESTING
