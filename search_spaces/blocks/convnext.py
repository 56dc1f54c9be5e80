"""ConvNeXt: a wide depthwise convolution, then an MLP at each position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from search_spaces.blocks.feedforward import MLP
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from torch import Tensor

_LAYER_SCALE = 0.1
"""As CaiT (Touvron et al. 2021, arXiv:2103.17239, section 2) starts networks of up to 18 blocks; ConvNeXt's
own 10^-6 hardly leaves zero in a short training."""


class ConvNeXt(nn.Module):
    """x + scale · mlp(layer_norm(depthwise(x))). (batch, channels, h, w) -> the same.

    Liu et al. 2022, arXiv:2201.03545, figure 4: a kernel of 7 and four times as many hidden channels. It
    normalises over the channels of one position, and so keeps no statistics.
    Raises SearchSpaceError for an even kernel.
    """

    def __init__(self, channels: int, *, kernel: int = 7, expansion: int = 4) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise SearchSpaceError(f"a kernel has a middle, so its side is odd, got {kernel}")
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = MLP(channels, expansion * channels)
        self.scale = nn.Parameter(torch.full((channels,), _LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        positions = self.norm(self.depthwise(x).permute(0, 2, 3, 1))  # (batch, h, w, channels)
        y: Tensor = x + (self.scale * self.mlp(positions)).permute(0, 3, 1, 2)
        return y
