"""N:M sparse weights: of every `of` neighbours along the input, the `keep` largest stay.

Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378. The dense weight keeps
learning behind the mask, through a straight-through gradient (Zhou et al. 2021, arXiv:2102.04010, eq. 5), so
a weight that was dropped may return.
"""

from __future__ import annotations

import copy
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.elastic import Sliced
from search_spaces.errors import SearchSpaceError
from search_spaces.view import view

_LARGEST_GROUP = 64
"""Every two neighbours of a group are compared."""


class SparseLinear(nn.Module):
    """A linear layer without bias that multiplies by a `keep`:`of` weight. (..., inputs) -> (..., outputs).

    The mask is that of the current weight at every call, but a `finalised` copy holds the zeros.
    Raises SearchSpaceError unless 1 <= keep < of <= 64 and the inputs come in groups of `of`.
    """

    def __init__(self, inputs: int, outputs: int, keep: int = 2, of: int = 4) -> None:
        super().__init__()
        if not 1 <= keep < of <= _LARGEST_GROUP:
            raise SearchSpaceError(f"{keep}:{of} sparsity: need 1 <= keep < of <= {_LARGEST_GROUP}")
        if inputs % of:
            raise SearchSpaceError(f"{keep}:{of} sparsity needs a multiple of {of} inputs, got {inputs}")
        self.keep, self.of = keep, of
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5)
        self.final = False

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.sparse_weight())

    def finalised(self) -> SparseLinear:
        """A copy whose weight holds the zeros: what is exported, and computes no mask."""
        final = copy.deepcopy(self)
        with torch.no_grad():
            final.weight.copy_(self.sparse_weight())
        final.final = True
        return final

    def nonzero_parameters(self) -> int:
        """Weights that are stored when zeros are not: `keep` of every `of`."""
        return self.weight.numel() // self.of * self.keep

    def sparse_weight(self) -> Tensor:
        """The masked weight's value with the dense weight's gradient; w + (0 - w) is zero exactly."""
        if self.final:
            return self.weight
        dense = self.weight.detach()
        dropped = (-dense).masked_fill(largest(dense, self.keep, self.of), 0.0)
        return self.weight + dropped


def largest(weight: Tensor, keep: int, of: int) -> Tensor:
    """True for the `keep` largest magnitudes of every `of` along the last dimension; ties keep the earlier.

    By counting: what fewer than `keep` neighbours exceed stays. That is five to twenty times faster than
    sorting so many short groups, and made of operators that every runtime knows.
    """
    sizes = weight.abs().reshape(*weight.shape[:-1], -1, of).unbind(-1)
    above = [torch.full_like(s, of - 1 - place, dtype=torch.int32) for place, s in enumerate(sizes)]
    for earlier, later in combinations(range(of), 2):
        wins = (sizes[earlier] >= sizes[later]).int()
        above[earlier] = above[earlier] - wins
        above[later] = above[later] + wins
    return torch.stack(above, dim=-1).flatten(-2) < keep


def finalised(network: nn.Module) -> nn.Module:
    """The network as it ships: every sparse weight holds its zeros, every slice is a block of its own.

    For export, and for timing it. A module that ships as another has a method `finalised` that gives it. All
    else is shared with the network, which stays as it is.
    """

    def instead(_: str, module: nn.Module) -> nn.Module | None:
        if isinstance(module, Sliced):
            return finalised(copy.deepcopy(module))
        ships = getattr(module, "finalised", None)
        return ships() if callable(ships) else None

    return view(network, instead)
