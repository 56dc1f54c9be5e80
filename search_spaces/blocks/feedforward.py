"""Feed-forward blocks, gated and plain, over whatever kind of linear layer they are given.

Over dense layers they are elastic in their hidden width, `hidden`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.elastic import altered, masked, reweighted
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces.elastic import Sizes

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

    def sizes(self) -> Sizes:
        return {"hidden": _dense(self.out).in_features}

    def sliced(self, sizes: Sizes) -> MLP:
        hidden = sizes["hidden"]
        up = reweighted(_dense(self.up), rows=lambda t: t[:hidden])
        return altered(self, up=up, out=reweighted(_dense(self.out), columns=lambda t: t[:, :hidden]))

    def masked(self, sizes: Sequence[Sizes], shares: Tensor) -> MLP:
        return altered(self, out=_masked(self.out, sizes, shares))


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

    def sizes(self) -> Sizes:
        return {"hidden": _dense(self.out).in_features}

    def sliced(self, sizes: Sizes) -> Self:
        hidden = sizes["hidden"]
        gate_up = reweighted(
            _dense(self.gate_up), rows=lambda t: torch.unflatten(t, 0, (2, -1))[:, :hidden].flatten(0, 1)
        )
        out = reweighted(_dense(self.out), columns=lambda t: t[:, :hidden])
        return altered(self, gate_up=gate_up, out=out)

    def masked(self, sizes: Sequence[Sizes], shares: Tensor) -> Self:
        return altered(self, out=_masked(self.out, sizes, shares))


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


def _masked(out: nn.Module, sizes: Sequence[Sizes], shares: Tensor) -> nn.Module:
    return masked(_dense(out), [s["hidden"] for s in sizes], shares)


def _dense(layer: nn.Module) -> nn.Linear:
    if not isinstance(layer, nn.Linear):
        raise SearchSpaceError(f"only dense layers can be sliced, and here is a {type(layer).__name__}")
    return layer
