"""The shape every option of a stack takes: x + inner(norm(x))."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.elastic import altered, elastic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces.elastic import Sizes

_EPSILON = 1e-6


class RMSNorm(nn.Module):
    """x / rms(x) · scale over the last dimension: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4.

    Written out because `nn.RMSNorm` takes a third longer on a CPU, forward and backward; and as a quotient
    by a square root because that is the pattern which ONNX Runtime fuses into one kernel.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + _EPSILON) * self.scale


class PreNorm(nn.Module):
    """x + inner(rmsnorm(x)). (..., width) -> the same. Its slices are those of the inner block."""

    def __init__(self, width: int, inner: nn.Module) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.inner(self.norm(x))
        return y

    def sizes(self) -> Sizes:
        return elastic(self.inner).sizes()

    def sliced(self, sizes: Sizes) -> PreNorm:
        return altered(self, inner=elastic(self.inner).sliced(sizes))

    def masked(self, sizes: Sequence[Sizes], shares: Tensor) -> PreNorm:
        return altered(self, inner=elastic(self.inner).masked(sizes, shares))
