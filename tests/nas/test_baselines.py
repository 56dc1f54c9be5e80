"""What the winner stands beside: drawn within the budget, and filling it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hw_cost_models.cost import Cost
from nas.baselines import random_architectures, reference_architecture, to_train, uniform_architecture
from nas.budget import Budget
from search_spaces import Architecture
from search_spaces.rules import excluded
from tests.nas.toys import architecture, architectures, flat_table, toy_table

if TYPE_CHECKING:
    from nas.cost_table import CostTable


def _draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _wide_table() -> CostTable:
    """Six choices of four options: 4096 architectures from 0 to 18 ms in small steps."""
    rng = np.random.default_rng(0)
    return flat_table(
        *({"none": 0.0, "a": 1.0, "b": float(rng.uniform(1, 2)), "c": 3.0} for _ in range(6)), fixed=0.5
    )


@pytest.mark.parametrize("limit", [4.0, 9.0, 15.0])
def test_random_architectures_fill_the_budget(limit: float) -> None:
    table = _wide_table()
    found = random_architectures(table, Budget(latency_ms=limit, params_m=1.0), 20, _draws())
    assert len(set(found)) == len(found) == 20
    costs = [table.figures(a)["latency_ms"] for a in found]
    assert all(0.9 * limit <= cost <= limit for cost in costs)
    assert len({a["c0"] for a in found}) > 1


def test_the_first_limit_is_the_one_that_is_filled() -> None:
    table = _wide_table()
    sized = replace(
        table,
        options={d: replace(c, weight_bytes=1e6 * (4 - c.latency_ms)) for d, c in table.options.items()},
        fixed=Cost(weight_bytes=1e6),
    )
    for a in random_architectures(sized, Budget(memory_mb=16.0), 10, _draws()):
        assert 0.9 * 16 <= sized.figures(a)["memory_mb"] <= 16


def test_a_small_space_gives_all_that_it_has() -> None:
    """Within 3 ms there are three architectures, and only one of them takes more than 2.7."""
    budget = Budget(latency_ms=3.0)
    within = {a for a in architectures() if toy_table().figures(a)["latency_ms"] <= 3}
    found = random_architectures(toy_table(), budget, 20, _draws())
    assert found[0] == architecture("linear", "skip")
    assert len(within) == 3
    assert set(found) == within
    assert len(found) == 3


def test_without_a_limit_everything_may_come() -> None:
    assert set(random_architectures(toy_table(), Budget(), 9, _draws())) <= set(architectures())


def test_nothing_fits() -> None:
    assert random_architectures(toy_table(), Budget(latency_ms=0.5), 3, _draws()) == []
    assert uniform_architecture(toy_table(), Budget(latency_ms=0.5)) is None


def test_all_randomness_is_the_generators() -> None:
    table, budget = _wide_table(), Budget(latency_ms=9.0)
    torch.manual_seed(1)
    once = random_architectures(table, budget, 5, _draws(3))
    torch.manual_seed(2)
    assert random_architectures(table, budget, 5, _draws(3)) == once
    assert random_architectures(table, budget, 5, _draws(4)) != once


@pytest.mark.parametrize("limit", [0.5, 3.4, 6.4, 9.0, 40.0])
def test_the_uniform_architecture_by_brute_force(limit: float) -> None:
    """Three choices are alike and take one option; the fourth has options of its own."""
    alike = {"a": 0.2, "b": 1.0, "c": 3.0}
    table = flat_table(alike, alike, {"x": 0.1, "y": 2.0}, alike, fixed=0.25)
    every = {
        (o, own): 0.25 + 3 * ms + (0.1 if own == "x" else 2.0) for o, ms in alike.items() for own in "xy"
    }
    fitting = {choice: ms for choice, ms in every.items() if ms <= limit}
    found = uniform_architecture(table, Budget(latency_ms=limit))
    if not fitting:
        assert found is None
        return
    assert found is not None
    assert found["c0"] == found["c1"] == found["c3"]
    assert (found["c0"], found["c2"]) == max(fitting, key=fitting.__getitem__)


def test_of_too_many_some_are_drawn() -> None:
    """Nine choices, no two alike, of ten options: a thousand million uniform architectures."""
    kinds = [{f"{choice}{option}": 0.1 * (1 + option) for option in range(10)} for choice in "abcdefghi"]
    table, budget = flat_table(*kinds), Budget(latency_ms=4.5)
    found = uniform_architecture(table, budget)
    assert found is not None
    assert 4.4 < table.cost(found).latency_ms <= 4.5
    assert uniform_architecture(table, budget) == found


def test_the_fullest_limit_counts() -> None:
    """`big` uses 90 % of memory, `slow` 60 % of the time."""
    options = {
        ("c", "big"): Cost(latency_ms=1, weight_bytes=9e6, flops=1),
        ("c", "slow"): Cost(latency_ms=6, flops=1),
    }
    table = replace(toy_table(), options=options, nesting={"c": None}, fixed=Cost())
    found = uniform_architecture(table, Budget(latency_ms=10, memory_mb=10))
    assert found is not None
    assert found["c"] == "big"


def test_a_skip_everywhere_is_no_network() -> None:
    table = flat_table({"skip": 0.0, "work": 2.0}, {"skip": 0.0, "work": 2.0}, fixed=1.0)
    assert uniform_architecture(table, Budget(latency_ms=4.9)) is None, "only the skips would fit"
    found = uniform_architecture(table, Budget(latency_ms=5.0))
    assert found == Architecture({"c0": "work", "c1": "work"})


def test_the_deepest_reference_within_the_budget_is_taken() -> None:
    table = flat_table({"skip": 0.0, "a": 1.0, "b": 2.0}, {"skip": 0.0, "a": 1.0, "b": 2.0}, fixed=0.5)
    known = {
        "all a": tuple(Architecture({"c0": "a", "c1": second}) for second in ("skip", "a")),
        "all b": tuple(Architecture({"c0": "b", "c1": second}) for second in ("skip", "b")),
    }

    def found(limit: float) -> tuple[str, Architecture] | None:
        return reference_architecture(table, Budget(latency_ms=limit), known)

    assert found(1.0) is None
    assert found(2.4) == ("all a", known["all a"][0])
    assert found(9.0) == ("all b", known["all b"][1])
    ruled = replace(table, rules=(excluded(("c0", "b"), ("c1", "b")),))
    assert reference_architecture(ruled, Budget(latency_ms=9.0), known) != found(9.0)


def test_the_uniform_one_is_trained_where_no_reference_is_known() -> None:
    rivals = {name: {"architecture": {"c": name}} for name in ("best_random", "uniform", "largest")}
    assert list(to_train({"random": [], **rivals})) == ["best_random", "uniform"]
    known = {"reference": {"architecture": {"c": "known"}}}
    trained = to_train({"random": [], **rivals, **known})
    assert trained.keys() == {"best_random", "reference"}
    assert trained["reference"] == Architecture({"c": "known"})
