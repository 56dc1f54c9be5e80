"""Feed-forward blocks, gated and plain, over whatever kind of linear layer they are given."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.errors import SearchSpaceError

MakeLinear = Callable[[int, int], nn.Module]
"""(input width, output width) -> a module that maps (..., input width) to (..., output width)."""


def dense(inputs: int, outputs: int) -> nn.Module:
    """A plain linear layer without bias."""
    return nn.Linear(inputs, outputs, bias=False)


class MLP(nn.Module):
    """out(gelu(up(x))). (..., width) -> the same. Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2.

    `linear` makes its layers: `dense`, `SparseLinear`, or `partial(LowRankLinear, rank=16)`. A hidden width
    below `width` makes it a bottleneck. Raises SearchSpaceError for a hidden width below one.
    """

    def __init__(self, width: int, hidden: int, linear: MakeLinear = dense) -> None:
        super().__init__()
        _check(hidden)
        self.up = linear(width, hidden)
        self.out = linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(F.gelu(self.up(x)))
        return y


class _Gated(nn.Module):
    """out(activation(gate) · up): a gated linear unit. Gate and up are one layer of 2 `hidden` outputs."""

    activation: Callable[[Tensor], Tensor]

    def __init__(self, width: int, hidden: int, linear: MakeLinear = dense) -> None:
        super().__init__()
        _check(hidden)
        self.gate_up = linear(width, 2 * hidden)
        self.out = linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        y: Tensor = self.out(self.activation(gate) * up)
        return y


class SwiGLU(_Gated):
    """out(silu(gate) · up): Shazeer 2020, arXiv:2002.05202, eq. 6. (..., width) -> the same.

    Arguments and errors as in `MLP`.
    """

    activation = staticmethod(F.silu)


class GeGLU(_Gated):
    """out(gelu(gate) · up): Shazeer 2020, arXiv:2002.05202, eq. 6. (..., width) -> the same.

    Arguments and errors as in `MLP`.
    """

    activation = staticmethod(F.gelu)


class LowRankLinear(nn.Module):
    """A linear layer whose weight is a product of two thin ones. (..., inputs) -> (..., outputs).

    rank · (inputs + outputs) weights in place of inputs · outputs. Raises SearchSpaceError for a rank that
    saves nothing.
    """

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        if rank < 1 or rank * (inputs + outputs) >= inputs * outputs:
            raise SearchSpaceError(f"rank {rank} saves nothing between {inputs} inputs and {outputs} outputs")
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(self.down(x))
        return y


def _check(hidden: int) -> None:
    if hidden < 1:
        raise SearchSpaceError(f"a feed-forward block needs a positive hidden width, got {hidden}")
