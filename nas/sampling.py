"""Fair sampling over the cost range: every option equally often, every cost equally often.

Sampling options uniformly leaves nearly all architectures near the mean cost, and supernet weights that
know only those. Here a step first draws a target cost t from all over the range, and then options
independently with

    p[c,o | t]  proportional to  f[c,o] exp(-lambda(t) cost[c,o])

where lambda(t) makes the expected cost t, and f, found by iterative proportional fitting, makes the average
of p over t uniform: no option is trained more than another. That fixes the mean cost, so the targets are as
even as that mean allows: exponentially tilted weights on an even grid. Where an option holds a choice of its
own, its cost includes that choice's, and the inner average is over the draws that reach it.

Where a space has rules, tied choices take what the first of them drew, and a draw that breaks another rule is
moved to the nearest architecture that keeps them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nas.discretise import Problem, Scores
from search_spaces import Architecture, choices, parents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import nn

    from nas.cost_table import CostTable
    from nas.discretise import Decision
    from search_spaces.rules import Rule

Outer = list[tuple[int, int] | None]
"""For a choice nested in an option, the indices of that choice and option; outer choices come first."""

TARGETS = 33
MARGIN = 0.04
"""The extremes of the range are single architectures: targets stay this fraction of the range inside."""


def random_architecture(network: nn.Module, generator: torch.Generator) -> Architecture:
    """Uniform over the options of every choice that is reached."""
    found, nesting = choices(network), parents(network)
    taken: dict[str, str] = {}
    for path, choice in found.items():
        index = int(torch.randint(len(choice.options), (), generator=generator))
        outer = nesting[path]
        if outer is None or taken.get(outer[0]) == outer[1]:
            taken[path] = choice.options[index]
    return Architecture(taken)


@dataclass(frozen=True)
class FairSampler:
    """Draws architectures; all randomness is the generator's."""

    options: Mapping[str, tuple[str, ...]]
    nesting: Mapping[str, Decision | None]
    weights: NDArray[np.float64]
    """How often each target is drawn, shape (targets,)."""
    probabilities: NDArray[np.float64]
    """Shape (targets, choices, most options), zero where a choice has fewer."""
    rules: tuple[Rule, ...] = ()

    @classmethod
    def over(cls, table: CostTable) -> FairSampler:
        """Fair over the table's range of latency."""
        costs = {decision: cost.latency_ms for decision, cost in table.options.items()}
        return cls.of(costs, table.nesting, table.rules)

    @classmethod
    def of(
        cls,
        costs: Mapping[Decision, float],
        nesting: Mapping[str, Decision | None],
        rules: tuple[Rule, ...] = (),
    ) -> FairSampler:
        """Fair over the range of these costs, none of them negative."""
        options: dict[str, tuple[str, ...]] = {}
        for path, name in costs:
            options[path] = (*options.get(path, ()), name)
        width = max(map(len, options.values()))
        cost = np.full((len(options), width), np.inf)
        for i, (path, names) in enumerate(options.items()):
            cost[i, : len(names)] = [costs[path, name] for name in names]
        place = list(options)
        outer: Outer = [
            found and (place.index(found[0]), options[found[0]].index(found[1]))
            for found in map(nesting.get, options)
        ]
        return cls(options, nesting, *fit(cost, outer), rules)

    def sample(self, generator: torch.Generator) -> Architecture:
        target = int(torch.multinomial(torch.from_numpy(self.weights), 1, generator=generator))
        p = torch.from_numpy(self.probabilities[target])
        drawn = torch.multinomial(p, 1, generator=generator).squeeze(1).tolist()
        taken: dict[str, str] = {}
        for (path, names), index in zip(self.options.items(), drawn, strict=True):
            outer = self.nesting.get(path)
            if outer is None or taken.get(outer[0]) == outer[1]:
                taken[path] = names[index]
        return self._obeying(taken)

    def _obeying(self, taken: dict[str, str]) -> Architecture:
        for first, *others in (rule.tied for rule in self.rules if rule.tied):
            if first in taken:
                taken |= {path: taken[first] for path in others if path in taken}
        if all(rule.allows(taken) for rule in self.rules):
            return Architecture(taken)
        problem = Problem(self.options, nesting=self.nesting, rules=self.rules)
        nearest = problem.best(Scores(dict.fromkeys(taken.items(), 1.0)))
        assert nearest is not None  # else the space was refused before
        return nearest.architecture


def fit(cost: NDArray[np.float64], outer: Outer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the targets and p for each, from costs of shape (choices, options); inf: no such option."""
    real = np.isfinite(cost)
    uniform = real / real.sum(1, keepdims=True)
    low = _extreme(cost, outer, np.min)
    span = _extreme(np.where(real, cost, -np.inf), outer, np.max) - low
    if span <= 0:
        return np.ones(1), uniform[None]
    cost, grid = np.where(real, cost, 0.0) / span, low / span + np.linspace(MARGIN, 1 - MARGIN, TARGETS)
    mean = _expected(uniform[None], cost, outer)
    weights = _tilted(np.ones((1, TARGETS)), grid[None], [None], mean)[0, 0]
    f = uniform.copy()
    for _ in range(100):
        p = _tilted(f, cost, outer, grid)
        drawn = weights[:, None] * _reached(p, outer)
        share = np.einsum("tc,tco->co", drawn / drawn.sum(0), p)
        if np.abs(share - uniform).max() < 1e-3:
            break
        f *= np.where(real, uniform / np.where(real, share, 1.0), 0.0)
        f /= f.sum(1, keepdims=True)
    return weights, _tilted(f, cost, outer, grid)


def _extreme(
    cost: NDArray[np.float64], outer: Outer, pick: Callable[[NDArray[np.float64]], np.float64]
) -> float:
    """The cost of the cheapest architecture, or of the dearest."""
    cost, total = cost.copy(), 0.0
    for i, place in reversed(list(enumerate(outer))):
        if place is None:
            total += float(pick(cost[i]))
        else:
            cost[place] += pick(cost[i])
    return total


def _reached(p: NDArray[np.float64], outer: Outer) -> NDArray[np.float64]:
    """How likely each choice is reached, shape (targets, choices)."""
    reached = np.ones(p.shape[:2])
    for i, place in enumerate(outer):
        if place is not None:
            reached[:, i] = reached[:, place[0]] * p[:, place[0], place[1]]
    return reached


def _expected(p: NDArray[np.float64], cost: NDArray[np.float64], outer: Outer) -> NDArray[np.float64]:
    """Expected cost for each target, shape (targets,)."""
    expected: NDArray[np.float64] = (_reached(p, outer) * (p * cost).sum(2)).sum(1)
    return expected


def _tilted(
    f: NDArray[np.float64], cost: NDArray[np.float64], outer: Outer, targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """p for every target (targets, choices, options), lambda by bisection for all targets at once."""
    p: NDArray[np.float64] = np.empty((len(targets), *f.shape))
    low, high = np.full(len(targets), -1e4), np.full(len(targets), 1e4)
    log_f = np.where(f > 0, np.log(np.where(f > 0, f, 1.0)), -np.inf)
    for _ in range(40):  # of 2e4, down to 2e-8
        middle = (low + high) / 2
        logits = log_f - middle[:, None, None] * cost
        for i, place in reversed(list(enumerate(outer))):
            if place is not None:  # an option weighs what may be chosen inside it
                logits[:, place[0], place[1]] += np.logaddexp.reduce(logits[:, i], axis=1)
        p = np.exp(logits - logits.max(2, keepdims=True))
        p /= p.sum(2, keepdims=True)
        dear = _expected(p, cost, outer) > targets
        low, high = np.where(dear, middle, low), np.where(dear, high, middle)
    return p
