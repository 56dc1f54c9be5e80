"""Supernet: a network with choices, its architecture parameters, and what a mixture of it costs.

Those who keep a training loop of their own use this class alone:

    mixture = supernet.sample(generator)
    output, auxiliary = supernet(inputs, mixture)
    loss = task_loss(output, target) + auxiliary + supernet.cost(mixture) @ duals
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nas.budget import Budget
from nas.controllers import Controller, Gumbel
from nas.discretise import Scores
from search_spaces import Mixture, auxiliary, bind, choices, parents, twins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nas.cost_table import CostTable
    from nas.discretise import Decision


class Supernet(nn.Module):
    """`network` is the user's own module, untouched; `alpha` holds one parameter vector a choice.

    Choices that the table's rules tie share one, and are sampled as one; so are the paths of a choice that
    several options of another share, see `search_spaces.twins`.
    With a cost table and a budget, `cost` gives the expected costs as fractions of their limits.
    """

    def __init__(
        self,
        network: nn.Module,
        table: CostTable | None = None,
        budget: Budget | None = None,
        controller: Controller | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.controller = controller or Gumbel()
        found = choices(network)
        self.options = {path: choice.options for path, choice in found.items()}
        tied = {path: rule.tied[0] for rule in (table.rules if table else ()) for path in rule.tied}
        self._first = twins(found)
        self._leader = {path: tied.get(first, first) for path, first in self._first.items()}
        self.alpha = nn.ParameterDict(
            {
                _key(path): nn.Parameter(torch.zeros(len(self.options[path])))
                for path in dict.fromkeys(self._leader.values())
            }
        )
        self._expected = _ExpectedCost(self.options, parents(network), table, budget or Budget())

    def weights(self) -> Iterator[nn.Parameter]:
        """All parameters but the architecture parameters."""
        return self.network.parameters()

    def architecture_parameters(self) -> Iterator[nn.Parameter]:
        return iter(self.alpha.values())

    def alphas(self) -> dict[str, Tensor]:
        """The architecture parameters by choice path."""
        return {path: self.alpha[_key(leader)] for path, leader in self._leader.items()}

    def log_probabilities(self) -> Scores:
        """What the controller learnt, as scores: the best architecture is its most probable one."""
        leaders = self._leaders()
        return Scores(
            {
                (path, option): log_p
                for path, first in self._first.items()
                if first in leaders
                for option, log_p in zip(
                    self.options[path], leaders[first].detach().double().log_softmax(0).tolist(), strict=True
                )
            }
        )

    def sample(self, generator: torch.Generator) -> Mixture:
        """This step's mixture, from the controller."""
        drawn = self.controller.mixture(self._leaders(), self.options, generator)
        return Mixture(
            {path: drawn.weights[leader] for path, leader in self._leader.items()},
            {path: drawn.probabilities[leader] for path, leader in self._leader.items()},
        )

    def _leaders(self) -> dict[str, Tensor]:
        """The architecture parameters of choices that decide: of tied ones, the first."""
        return {path: alpha for path, alpha in self.alphas().items() if self._leader[path] == path}

    def forward(self, inputs: tuple[Tensor, ...], mixture: Mixture) -> tuple[Tensor, Tensor]:
        """The network's output under the mixture, and the sum of the losses its blocks reported (scalar)."""
        return run_with_auxiliary(bind(self.network, mixture), inputs)

    def cost(self, mixture: Mixture) -> Tensor:
        """Expected cost of each limit, divided by the limit, shape (limits,); differentiable in alpha."""
        return self._expected(mixture.probabilities)


def run_with_auxiliary(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """A plain network's output and the sum of the auxiliary losses reported on the way (scalar)."""
    with auxiliary.collect() as losses:
        output = network(*inputs)
    return output, torch.stack(losses).sum() if losses else output.new_zeros(())


def _key(path: str) -> str:
    """Parameter names must not hold dots, be empty or be an attribute's; a choice may be called `update`."""
    return "/" + path.replace("/", "%2F").replace(".", "/")


class _ExpectedCost:
    """E[cost] in closed form, from the probabilities of independent choices.

    Sums are exact. The largest peak is that of the parts' expected peaks, a lower bound of its expectation.
    """

    def __init__(
        self,
        options: Mapping[str, tuple[str, ...]],
        nesting: Mapping[str, Decision | None],
        table: CostTable | None,
        budget: Budget,
    ) -> None:
        self.options, self.nesting = options, nesting
        self.constraints = [table.constraint(m, limit) for m, limit in budget.items()] if table else []
        self.rows = [
            {
                path: torch.tensor([[c.additive[path, o], c.peak[path, o]] for o in names])
                for path, names in options.items()
            }
            for c in self.constraints
        ]

    def __call__(self, p: Mapping[str, Tensor]) -> Tensor:
        reached: dict[str, Tensor] = {}
        for path in self.options:  # outer before inner
            outer = self.nesting[path]
            chance = torch.ones(())
            if outer is not None:
                chance = reached[outer[0]] * p[outer[0]][self.options[outer[0]].index(outer[1])]
            reached[path] = chance
        usage = []
        for constraint, rows in zip(self.constraints, self.rows, strict=True):
            expected = torch.stack([reached[path] * (p[path] @ row) for path, row in rows.items()])
            peak = expected[:, 1].max().clamp(min=constraint.fixed_peak)
            usage.append((constraint.fixed + expected[:, 0].sum() + peak) / constraint.limit)
        return torch.stack(usage) if usage else torch.zeros(0)
