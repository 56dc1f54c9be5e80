"""Discretisation against brute force on random small problems, and its speed on large ones."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.discretise import Constraint, Decision, Problem, Scores
from nas.errors import InfeasibleBudgetError
from search_spaces import Architecture
from search_spaces.rules import Row, Rule, at_least, at_most, excluded
from tests.nas.toys import architectures


def every_architecture(problem: Problem) -> list[Architecture]:
    every = architectures(problem.options, problem.nesting)
    return [a for a in every if all(rule.allows(a) for rule in problem.rules)]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Problem, Scores]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    paths = [f"c{i}" for i in range(draw(st.integers(1, 4)))]
    options = {p: tuple(f"o{j}" for j in range(draw(st.integers(2, 4)))) for p in paths}
    nesting: dict[str, tuple[str, str] | None] = {}
    for i, path in enumerate(paths):
        outer = paths[int(rng.integers(i))] if i and draw(st.booleans()) else None
        nesting[path] = None if outer is None else (outer, str(rng.choice(options[outer])))
    decisions = [(p, o) for p in paths for o in options[p]]
    pairs: dict[tuple[Decision, Decision], float] = {}
    flat = [p for p in paths if nesting[p] is None]
    for first, second in itertools.pairwise(flat):
        if draw(st.booleans()):
            pairs |= {
                ((first, a), (second, b)): rng.normal() for a in options[first] for b in options[second]
            }
    constraints = []
    for k in range(draw(st.integers(0, 3))):
        peaks = {d: float(rng.uniform(0, 4)) for d in decisions} if draw(st.booleans()) else {}
        additive = {d: float(rng.uniform(0, 3)) for d in decisions}
        limit = float(rng.uniform(1.0, 3.0 * len(paths) + 3.0))
        constraints.append(Constraint(f"limit{k}", limit, additive, float(rng.uniform(0, 1)), peaks, 0.5))
    rules = []
    for k in range(draw(st.integers(0, 2))):
        terms = {d: float(rng.integers(-1, 2)) for d in decisions}
        low = float(rng.integers(-2, 1))
        rules.append(Rule(f"rule{k}", (Row(terms, low, low + float(rng.integers(0, 3))),)))
    scores = Scores({d: float(rng.normal()) for d in decisions}, pairs)
    return Problem(options, tuple(constraints), nesting, tuple(rules)), scores


@settings(max_examples=150, deadline=None)
@given(problems())
def test_equals_brute_force(case: tuple[Problem, Scores]) -> None:
    problem, scores = case
    feasible = [
        a for a in every_architecture(problem) if all(c.of(a) <= c.limit for c in problem.constraints)
    ]
    expected = sorted((scores.of(a) for a in feasible), reverse=True)[:5]
    found = list(itertools.islice(problem.ranked(scores), 5))
    assert [s.score for s in found] == pytest.approx(expected, abs=1e-9)
    assert all(s.architecture in feasible and s.gap < 1e-12 for s in found)
    assert len({s.architecture for s in found}) == len(found)


@settings(max_examples=50, deadline=None)
@given(problems())
def test_feasibility_and_smallest_figure(case: tuple[Problem, Scores]) -> None:
    problem, _ = case
    everything = every_architecture(problem)
    for c in problem.constraints:
        alone = replace(problem, constraints=()).smallest(c)
        assert (alone is None) == (not everything)
        assert alone is None or alone[1] == pytest.approx(min(c.of(a) for a in everything), rel=1e-6)
    if not everything:
        with pytest.raises(InfeasibleBudgetError, match="the rules of the space: rule"):
            problem.check_feasible()
    elif any(all(c.of(a) <= c.limit for c in problem.constraints) for a in everything):
        problem.check_feasible()
    else:
        with pytest.raises(InfeasibleBudgetError, match="limit"):
            problem.check_feasible()


def test_infeasible_names_the_limit_and_the_smallest_figure() -> None:
    options = {"c": ("cheap", "dear")}
    time = Constraint("latency_ms", 1.0, {("c", "cheap"): 2.0, ("c", "dear"): 9.0}, fixed=0.5)
    with pytest.raises(InfeasibleBudgetError, match=r"latency_ms <= 1: the smallest feasible figure is 2.5"):
        Problem(options, (time,)).check_feasible()
    fast = Constraint("latency_ms", 3.0, {("c", "cheap"): 2.0, ("c", "dear"): 9.0})
    small = Constraint("memory_mb", 3.0, {("c", "cheap"): 7.0, ("c", "dear"): 1.0})
    with pytest.raises(InfeasibleBudgetError, match="not all together"):
        Problem(options, (fast, small)).check_feasible()


def test_rules_that_clash_are_named_and_no_others() -> None:
    options = {f"c{i}": ("attention", "skip") for i in range(4)}
    attention = [(path, "attention") for path in options]
    harmless, many, few = at_least(1, attention[:2]), at_least(3, attention), at_most(2, attention)
    problem = Problem(options, rules=(harmless, many, excluded(*attention[:2]), few))
    with pytest.raises(InfeasibleBudgetError) as caught:
        problem.check_feasible()
    assert str(caught.value) == f"no architecture obeys the rules of the space: {many.name}; {few.name}"
    Problem(options, rules=(harmless, many, excluded(*attention[:2]))).check_feasible()


def test_excluded_architectures_do_not_return() -> None:
    problem = Problem({"c": ("a", "b"), "d": ("a", "b")})
    scores = Scores({("c", "a"): 1.0, ("d", "a"): 0.5})
    best = Architecture({"c": "a", "d": "a"})
    first, second = problem.best(scores), problem.best(scores, [best])
    assert first is not None
    assert first.architecture == best
    assert second is not None
    assert second.architecture == Architecture({"c": "a", "d": "b"})


@pytest.mark.parametrize("peaks", [False, True])
def test_large_problems_are_solved_to_the_end(peaks: bool) -> None:
    rng = np.random.default_rng(3)
    options = {f"c{i}": tuple(f"o{j}" for j in range(16)) for i in range(48)}
    decisions = [(p, o) for p in options for o in options[p]]
    quality = {d: float(rng.uniform()) for d in decisions}
    constraints = tuple(
        Constraint(
            f"limit{k}",
            24.0,
            {d: 0.5 * quality[d] + 0.5 * float(rng.uniform()) for d in decisions},
            peak={d: 4 * float(rng.uniform()) for d in decisions} if peaks and k == 0 else {},
        )
        for k in range(3)
    )
    solution = Problem(options, constraints).best(Scores(quality))
    assert solution is not None
    assert solution.gap == 0
