"""2:4 sparse weights: of every four neighbours along the input, the two largest stay.

Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378. The dense weight keeps
learning behind the mask, through a straight-through gradient (Zhou et al. 2021, arXiv:2102.04010, eq. 5), so
a weight that was dropped may return.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.errors import SearchSpaceError


class SparseLinear(nn.Module):
    """A linear layer without bias that multiplies by a 2:4 weight. (..., inputs) -> (..., outputs).

    The mask is that of the current weight at every call, until `finalise()` writes the zeros into the weight.
    Raises SearchSpaceError unless the inputs come in fours.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if inputs % 4:
            raise SearchSpaceError(f"2:4 sparsity needs a multiple of four inputs, got {inputs}")
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5)
        self.final = False

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight if self.final else self._sparse_weight())

    def finalise(self) -> None:
        """Write the zeros into the weight: what is exported holds them, and computes no mask."""
        with torch.no_grad():
            self.weight.copy_(self._sparse_weight())
        self.final = True

    def nonzero_parameters(self) -> int:
        """Weights that are stored when zeros are not: half of them."""
        return self.weight.numel() // 2

    def _sparse_weight(self) -> Tensor:
        """The masked weight's value with the dense weight's gradient; w + (0 - w) is zero exactly."""
        dense = self.weight.detach()
        dropped = (-dense).masked_fill(two_of_four(dense), 0.0)
        return self.weight + dropped


def two_of_four(weight: Tensor) -> Tensor:
    """True for the two largest magnitudes of every four along the last dimension; ties keep the earlier."""
    a, b, c, d = weight.abs().reshape(*weight.shape[:-1], -1, 4).unbind(-1)
    ab, ac, ad, bc, bd, cd = a >= b, a >= c, a >= d, b >= c, b >= d, c >= d  # duels: the first one wins
    keep = _two_of_three(ab, ac, ad), _two_of_three(~ab, bc, bd), _two_of_three(~ac, ~bc, cd)
    return torch.stack((*keep, _two_of_three(~ad, ~bd, ~cd)), dim=-1).flatten(-2)


def _two_of_three(p: Tensor, q: Tensor, r: Tensor) -> Tensor:
    return (p & q) | (r & (p | q))


def finalised(network: nn.Module) -> nn.Module:
    """A copy as it ships: every sparse weight holds its zeros. For export, and for timing it."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, SparseLinear):
            module.finalise()
    return copied
