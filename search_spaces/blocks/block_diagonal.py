"""Block-diagonal weights, and products of two of them: batched small matmuls in place of one large one.

A sparsity that every runtime can use, since what is left of the weight is dense. Both layers stand for a
plain linear layer without bias wherever one is asked for: `SwiGLU(64, 64, partial(MonarchLinear, blocks=4))`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from search_spaces.errors import SearchSpaceError


class BlockDiagonalLinear(nn.Module):
    """A linear layer in which each of `blocks` groups of inputs feeds its own group of outputs alone.

    (..., inputs) -> (..., outputs), with inputs · outputs / blocks weights of shape
    (blocks, outputs / blocks, inputs / blocks). Raises SearchSpaceError unless there are two blocks or more
    and their number divides both.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        if blocks < 2 or inputs % blocks or outputs % blocks:
            raise SearchSpaceError(
                f"{blocks} blocks between {inputs} inputs and {outputs} outputs: "
                "need at least two, and a number that divides both"
            )
        fan_in = inputs // blocks
        self.weight = nn.Parameter(torch.randn(blocks, outputs // blocks, fan_in) * fan_in**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = math.prod(x.shape[:-1])  # not -1: there may be none
        y = self.by_group(x.reshape(tokens, len(self.weight), self.weight.shape[2]))
        return y.reshape(*x.shape[:-1], self.weight.shape[:2].numel())

    def by_group(self, x: Tensor) -> Tensor:
        """(tokens, blocks, inputs / blocks) -> (tokens, blocks, outputs / blocks)."""
        return torch.bmm(x.transpose(0, 1), self.weight.transpose(1, 2)).transpose(0, 1)


class MonarchLinear(nn.Module):
    """A linear layer whose weight is P L Pᵀ R: L and R block-diagonal, P a permutation that transposes.

    Dao et al. 2022, "Monarch: Expressive Structured Matrices", arXiv:2204.00595, section 3.1, here between
    any two widths; between L and R lies the smaller of them. Every group of outputs hears of every group of
    inputs where blocks² is no more than that.

    (..., inputs) -> (..., outputs), with (inputs + outputs) · min(inputs, outputs) / blocks weights. Raises
    SearchSpaceError unless the number of blocks divides both, and for one that saves nothing.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        between = min(inputs, outputs)
        self.first = BlockDiagonalLinear(inputs, between, blocks)
        self.second = BlockDiagonalLinear(between, outputs, blocks)
        if between * (inputs + outputs) >= blocks * inputs * outputs:
            raise SearchSpaceError(
                f"{blocks} blocks save nothing between {inputs} inputs and {outputs} outputs: take more"
            )

    def forward(self, x: Tensor) -> Tensor:
        blocks, _, wide = self.first.weight.shape
        tokens = math.prod(x.shape[:-1])  # not -1: there may be none
        y = self.first.by_group(x.reshape(tokens, blocks, wide))
        y = y.transpose(1, 2).reshape(tokens, blocks, y.shape[2])
        y = self.second.by_group(y).transpose(1, 2)
        return y.reshape(*x.shape[:-1], self.second.weight.shape[:2].numel())
