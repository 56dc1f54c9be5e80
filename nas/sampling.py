"""Fair sampling over the cost range: every option equally often, every cost equally often.

Sampling options uniformly leaves nearly all architectures near the mean cost, and supernet weights that
know only those. Here a step first draws a target cost t from all over the range, and then options
independently with

    p[c,o | t]  proportional to  f[c,o] exp(-lambda(t) cost[c,o])

where lambda(t) makes the expected cost t, and f, found by iterative proportional fitting, makes the average
of p over t uniform: no option is trained more than another. That fixes the mean cost, so the targets are as
even as that mean allows: exponentially tilted weights on an even grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from search_spaces import Architecture, choices, parents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import nn

    from nas.cost_table import CostTable
    from nas.discretise import Decision

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

    @classmethod
    def over(cls, table: CostTable) -> FairSampler:
        """Fair over the table's range of latency."""
        options = table.choices
        width = max(map(len, options.values()))
        cost = np.full((len(options), width), np.inf)
        for i, (path, names) in enumerate(options.items()):
            cost[i, : len(names)] = [table.options[path, name].latency_ms for name in names]
        return cls(options, table.nesting, *fit(cost))

    def sample(self, generator: torch.Generator) -> Architecture:
        target = int(torch.multinomial(torch.from_numpy(self.weights), 1, generator=generator))
        p = torch.from_numpy(self.probabilities[target])
        drawn = torch.multinomial(p, 1, generator=generator).squeeze(1).tolist()
        taken: dict[str, str] = {}
        for (path, names), index in zip(self.options.items(), drawn, strict=True):
            outer = self.nesting.get(path)
            if outer is None or taken.get(outer[0]) == outer[1]:
                taken[path] = names[index]
        return Architecture(taken)


def fit(cost: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the targets and p for each, from costs of shape (choices, options); inf: no such option."""
    real = np.isfinite(cost)
    uniform = real / real.sum(1, keepdims=True)
    cost = np.where(real, cost, 0.0)
    low = np.where(real, cost, np.inf).min(1).sum()
    span = np.where(real, cost, -np.inf).max(1).sum() - low
    if span <= 0:
        return np.ones(1), uniform[None]
    cost, grid = cost / span, low / span + np.linspace(MARGIN, 1 - MARGIN, TARGETS)
    weights = _tilted(np.ones((1, TARGETS)), grid[None], np.array([(uniform * cost).sum()]))[0, 0]
    f = uniform.copy()
    for _ in range(100):
        mean = np.tensordot(weights, _tilted(f, cost, grid), 1)
        f *= np.where(real, uniform / np.where(real, mean, 1.0), 0.0)
        f /= f.sum(1, keepdims=True)
    return weights, _tilted(f, cost, grid)


def _tilted(
    f: NDArray[np.float64], cost: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """p for every target (targets, choices, options), lambda by bisection for all targets at once."""
    p = np.empty((len(targets), *f.shape))
    low, high = np.full(len(targets), -1e4), np.full(len(targets), 1e4)
    log_f = np.log(np.where(f > 0, f, 1e-300))
    for _ in range(60):
        middle = (low + high) / 2
        logits = log_f - middle[:, None, None] * cost
        p = np.exp(logits - logits.max(2, keepdims=True))
        p /= p.sum(2, keepdims=True)
        dear = (p * cost).sum((1, 2)) > targets
        low, high = np.where(dear, middle, low), np.where(dear, high, middle)
    return p
