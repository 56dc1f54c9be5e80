"""Discretisation: the architecture of highest score within every limit, exactly.

With x[c,o] = 1 where choice c takes option o,

    maximise    sum s[c,o] x[c,o]  +  sum s[a,b] y[a,b]
    subject to  sum_o x[c,o] = 1                         (= x[parent] for a choice nested in an option)
                fixed + sum a[c,o] x[c,o] <= limit        additive costs: latency, parameters
                W = fixed + sum w[c,o] x[c,o],
                W + sum_o p[c,o] x[c,o] <= limit  for every c, and W + fixed peak <= limit
                                                          total plus the largest of the parts: memory
                low <= sum r[c,o] x[c,o] <= high           rules of the space, whatever the budget
                sum_b y[a,b] = x[a],  sum_a y[a,b] = x[b]  score of a pair of neighbouring options

is solved by branch and bound (HiGHS through scipy.optimize.milp) with a gap of zero. The auxiliary total W
keeps the peak rows sparse: written out, each of them would repeat every weight. The transport form of the
pair terms is tight, so that pairs along a chain cost little. The k best follow by cutting off each solution
found. What the solver returns is costed again without it: its tolerances never reach an architecture.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from nas.errors import InfeasibleBudgetError, NasError
from search_spaces import Architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from search_spaces.rules import Rule

_TIME_IS_UP = 1
"""The status of `scipy.optimize.milp`."""

Decision = tuple[str, str]
"""(choice path, option name)"""


@dataclass(frozen=True)
class Scores:
    """Predicted quality, higher is better; never contains cost. `pairs` holds decisions of two choices."""

    options: Mapping[Decision, float]
    pairs: Mapping[tuple[Decision, Decision], float] = field(default_factory=dict)

    def of(self, architecture: Architecture) -> float:
        decisions = set(architecture.items())
        alone = sum(score for decision, score in self.options.items() if decision in decisions)
        return alone + sum(s for (a, b), s in self.pairs.items() if a in decisions and b in decisions)


@dataclass(frozen=True)
class Constraint:
    """`fixed` + sum of `additive` + largest of `peak` (or `fixed_peak`) at most `limit`.

    Signs are free: a lower bound is the upper bound of the negated sum.
    """

    name: str
    limit: float
    additive: Mapping[Decision, float]
    fixed: float = 0.0
    peak: Mapping[Decision, float] = field(default_factory=dict)
    fixed_peak: float = 0.0

    def of(self, architecture: Architecture) -> float:
        decisions = list(architecture.items())
        peaks = [self.peak.get(d, 0.0) for d in decisions]
        return self.fixed + sum(self.additive.get(d, 0.0) for d in decisions) + max([self.fixed_peak, *peaks])


@dataclass(frozen=True)
class Solution:
    architecture: Architecture
    score: float
    gap: float
    """Zero when proved optimal; else the relative distance to the best bound when time ran out."""


@dataclass(frozen=True)
class Problem:
    """Choices, how they nest, the limits that hold together, and the rules of the space.

    `nesting[path]` is the decision that a choice depends on, or None. Time limits are seconds a solve.
    """

    options: Mapping[str, tuple[str, ...]]
    constraints: tuple[Constraint, ...] = ()
    nesting: Mapping[str, Decision | None] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    time_limit: float = 60.0

    def best(self, scores: Scores, excluded: Iterable[Architecture] = ()) -> Solution | None:
        """The best architecture that is not excluded; None when there is none."""
        return next(self.ranked(scores, excluded), None)

    def ranked(self, scores: Scores, excluded: Iterable[Architecture] = ()) -> Iterator[Solution]:
        """Architectures from the best down, each solved for when it is asked for."""
        cut = list(excluded)
        while True:
            found = _solve(self, scores, cut)
            if found is None:
                return
            cut.append(found.architecture)
            if all(
                c.of(found.architecture) <= c.limit for c in self.constraints
            ):  # else within tolerance only
                yield found

    def smallest(self, constraint: Constraint) -> tuple[Architecture, float] | None:
        """The smallest figure of one constraint that the others allow, and where; None if they allow none."""
        others = tuple(c for c in self.constraints if c.name != constraint.name)
        found = _solve_smallest(replace(self, constraints=others), constraint)
        return None if found is None else (found, constraint.of(found))

    def check_feasible(self) -> None:
        """Raises InfeasibleBudgetError, naming the tightest limit and the smallest feasible figure."""
        if self.best(Scores({})) is not None:
            return
        self._check_rules()
        alone = [(c, replace(self, constraints=()).smallest(c)) for c in self.constraints]
        misses = [(found[1] / c.limit, c, found[1]) for c, found in alone if found and found[1] > c.limit]
        if misses:
            _, tightest, figure = max(misses, key=lambda miss: miss[0])
            raise InfeasibleBudgetError(
                f"no architecture meets {tightest.name} <= {tightest.limit:.4g}: "
                f"the smallest feasible figure is {figure:.4g}"
            )
        joint = [(found[1] / c.limit, c, found[1]) for c in self.constraints if (found := self.smallest(c))]
        if not joint:
            limits = ", ".join(f"{c.name} <= {c.limit:.4g}" for c in self.constraints)
            raise InfeasibleBudgetError(f"not even all but one of these limits can be met together: {limits}")
        _, tightest, figure = min(joint, key=lambda miss: miss[0])
        raise InfeasibleBudgetError(
            f"each limit can be met alone but not all together: under the others, {tightest.name} is "
            f"at least {figure:.4g}, above its limit of {tightest.limit:.4g}"
        )

    def _check_rules(self) -> None:
        """Raises InfeasibleBudgetError where no architecture obeys all rules, naming as few as clash."""
        if _obeyed(self, self.rules):
            return
        clashing = list(self.rules)
        for rule in self.rules:
            others = [other for other in clashing if other is not rule]
            if not _obeyed(self, others):
                clashing = others
        names = "; ".join(rule.name for rule in clashing)
        raise InfeasibleBudgetError(f"no architecture obeys the rules of the space: {names}")


def _obeyed(problem: Problem, rules: Iterable[Rule]) -> bool:
    return replace(problem, constraints=(), rules=tuple(rules)).best(Scores({})) is not None


class _Rows:
    """The integer programme under construction: named columns, sparse rows."""

    def __init__(self, problem: Problem) -> None:
        self.decisions: list[Decision] = [(p, o) for p, options in problem.options.items() for o in options]
        self.column = {decision: i for i, decision in enumerate(self.decisions)}
        self.columns = len(self.decisions)
        self.rows: list[tuple[dict[int, float], float, float]] = []

    def new_column(self) -> int:
        self.columns += 1
        return self.columns - 1

    def add(self, terms: dict[int, float], low: float, high: float) -> None:
        self.rows.append((terms, low, high))

    def solve(self, objective: Mapping[int, float], time_limit: float) -> tuple[Architecture, float] | None:
        """Minimises; the architecture and the gap."""
        cost = np.zeros(self.columns)
        cost[list(objective)] = list(objective.values())
        integral = np.arange(self.columns) < len(self.decisions)
        entries = [(i, j, v) for i, (terms, _, _) in enumerate(self.rows) for j, v in terms.items()]
        i, j, v = zip(*entries, strict=True)
        matrix = csr_array((v, (i, j)), shape=(len(self.rows), self.columns))
        result = milp(
            cost * _scale(cost),
            integrality=integral.astype(int),
            bounds=Bounds(0, np.where(integral, 1.0, np.inf)),
            constraints=LinearConstraint(
                matrix, [row[1] for row in self.rows], [row[2] for row in self.rows]
            ),
            options={"mip_rel_gap": 0.0, "time_limit": time_limit},
        )
        if result.x is None and result.status == _TIME_IS_UP:
            raise NasError(f"the solver found nothing within {time_limit:g} seconds: give it a looser budget")
        if result.x is None:
            return None
        taken = {p: o for (p, o), x in zip(self.decisions, result.x, strict=False) if x > 0.5}
        return Architecture(taken), float(result.mip_gap or 0.0)


def _scale(cost: np.ndarray) -> float:
    """HiGHS stops at an absolute gap of 1e-6: make that small beside the differences between scores."""
    largest = float(np.abs(cost).max(initial=0.0))
    return 1e3 / largest if largest > 0 else 1.0


def _structure(problem: Problem, excluded: Iterable[Architecture]) -> _Rows:
    rows = _Rows(problem)
    for path, options in problem.options.items():
        terms = {rows.column[path, option]: 1.0 for option in options}
        outer = problem.nesting.get(path)
        if outer is None:
            rows.add(terms, 1.0, 1.0)
        else:
            rows.add({**terms, rows.column[outer]: -1.0}, 0.0, 0.0)
    for row in (row for rule in problem.rules for row in rule.rows):
        rows.add({rows.column[d]: term for d, term in row.terms.items()}, row.low, row.high)
    for architecture in excluded:
        rows.add({rows.column[d]: 1.0 for d in architecture.items()}, 0.0, len(architecture) - 1.0)
    return rows


def _limit(rows: _Rows, problem: Problem, constraint: Constraint) -> None:
    """Rows are divided by the limit's size, so that the solver's tolerance is relative to it."""
    size = abs(constraint.limit) or 1.0

    def bounded(total: dict[int, float], fixed: float) -> None:
        rows.add({j: v / size for j, v in total.items()}, -np.inf, (constraint.limit - fixed) / size)

    _with_peaks(rows, problem, constraint, bounded)


def _with_peaks(
    rows: _Rows, problem: Problem, constraint: Constraint, bounded: Callable[[dict[int, float], float], None]
) -> None:
    """Calls `bounded(terms, constant)` for every sum that the constraint's figure is the largest of."""
    total = {rows.column[d]: v for d, v in constraint.additive.items() if v}
    if not any(constraint.peak.values()):
        bounded(total, constraint.fixed + constraint.fixed_peak)
        return
    weight = rows.new_column()
    rows.add({**total, weight: -1.0}, 0.0, 0.0)
    bounded({weight: 1.0}, constraint.fixed + constraint.fixed_peak)
    for path, options in problem.options.items():
        peaks = {rows.column[path, o]: v for o in options if (v := constraint.peak.get((path, o), 0.0))}
        if peaks:
            bounded({weight: 1.0, **peaks}, constraint.fixed)


def _solve(problem: Problem, scores: Scores, excluded: Iterable[Architecture]) -> Solution | None:
    rows = _structure(problem, excluded)
    for constraint in problem.constraints:
        _limit(rows, problem, constraint)
    objective = {rows.column[d]: -s for d, s in scores.options.items()}
    objective |= _pair_columns(rows, problem, scores)
    found = rows.solve(objective, problem.time_limit)
    if found is None:
        return None
    architecture, gap = found
    return Solution(architecture, scores.of(architecture), gap)


def _pair_columns(rows: _Rows, problem: Problem, scores: Scores) -> dict[int, float]:
    """Objective terms of the pairs, after adding their columns and rows."""
    objective: dict[int, float] = {}
    for first, second in dict.fromkeys((a[0], b[0]) for a, b in scores.pairs):
        column = {(a, b): rows.new_column() for a in problem.options[first] for b in problem.options[second]}
        for a in problem.options[first]:
            terms = {column[a, b]: 1.0 for b in problem.options[second]}
            rows.add({**terms, rows.column[first, a]: -1.0}, 0.0, 0.0)
        for b in problem.options[second]:
            terms = {column[a, b]: 1.0 for a in problem.options[first]}
            rows.add({**terms, rows.column[second, b]: -1.0}, 0.0, 0.0)
        for (a, b), j in column.items():
            score = scores.pairs.get(((first, a), (second, b)), 0.0)
            if score:
                objective[j] = -score
    return objective


def _solve_smallest(problem: Problem, constraint: Constraint) -> Architecture | None:
    rows = _structure(problem, ())
    for other in problem.constraints:
        _limit(rows, problem, other)
    figure = rows.new_column()

    def bounded(total: dict[int, float], fixed: float) -> None:
        rows.add({**total, figure: -1.0}, -np.inf, -fixed)

    _with_peaks(rows, problem, constraint, bounded)
    found = rows.solve({figure: 1.0}, problem.time_limit)
    return None if found is None else found[0]
