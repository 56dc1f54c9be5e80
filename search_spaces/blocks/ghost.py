"""Ghost bottlenecks: half of the channels are computed, the other half are cheap copies of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from search_spaces.blocks.conv_norm import ConvNorm, MakeActivation, depthwise, same_shape
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from torch import Tensor

_COPYING = 3
"""The kernel of the cheap operation, d in the paper."""


class GhostModule(nn.Module):
    """A 1x1 convolution of which only half of the outputs are computed from all inputs.

    The other half are a depthwise convolution of the first: Han et al. 2020, "GhostNet", arXiv:1911.11907,
    section 3.1, with its ratio s = 2. (batch, inputs, h, w) -> (batch, outputs, h, w).
    Raises SearchSpaceError for an odd number of outputs.
    """

    def __init__(self, inputs: int, outputs: int, activation: MakeActivation = nn.Identity) -> None:
        super().__init__()
        if outputs % 2:
            raise SearchSpaceError(f"half of a ghost module's outputs are copies: {outputs} is odd")
        self.primary = ConvNorm(inputs, outputs // 2, 1, activation=activation)
        self.cheap = depthwise(outputs // 2, _COPYING, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary(x)
        return torch.cat((primary, self.cheap(primary)), dim=1)


class GhostBottleneck(nn.Module):
    """x + out(expand(x)), both ghost modules: GhostNet, section 3.2.

    (batch, inputs, h, w) -> (batch, outputs, h / stride, w / stride). With a stride of two a depthwise
    convolution halves the sides between them. Where the shape changes nothing is added, as in `MBConv`; the
    paper adds a convolved shortcut.
    Raises SearchSpaceError for an odd number of channels, expanded or given out.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        expansion: int,
        stride: int = 1,
        activation: MakeActivation = nn.ReLU,
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = same_shape(inputs, outputs, stride)
        self.expand = GhostModule(inputs, hidden, activation)
        self.reduce = depthwise(hidden, _COPYING, stride=stride) if stride > 1 else nn.Identity()
        self.out = GhostModule(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.reduce(self.expand(x)))
        return x + y if self.residual else y
