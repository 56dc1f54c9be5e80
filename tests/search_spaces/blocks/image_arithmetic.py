"""Convolutions and batch norm by their definitions, one number at a time or one product, in fp64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from search_spaces.blocks import ConvNorm


def learnt(block: nn.Module) -> nn.Module:
    """In fp64 and evaluation, with batch norms that have seen data and are not the identity."""
    torch.manual_seed(0)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return block.double().eval()


def image(channels: int, side: int = 5) -> Tensor:
    draws = torch.Generator().manual_seed(side)
    return torch.randn(2, channels, side, side + 1, generator=draws, dtype=torch.float64)


def convolved(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Every output position is the window around it times the weights; outside of the image are zeros."""
    (k, _), (stride, _) = layer.kernel_size, layer.stride
    batch, channels, h, w = x.shape
    padded = x.new_zeros(batch, channels, h + k - 1, w + k - 1)
    padded[:, :, k // 2 : k // 2 + h, k // 2 : k // 2 + w] = x
    rows = []
    for i in range(0, h, stride):
        windows = [padded[:, :, i : i + k, j : j + k] for j in range(0, w, stride)]
        rows.append(torch.stack([_weighed(window, layer) for window in windows], dim=-1))
    return torch.stack(rows, dim=-2)


def _weighed(window: Tensor, layer: nn.Conv2d) -> Tensor:
    if layer.groups > 1:
        y = (window * layer.weight[:, 0]).sum(dim=(2, 3))
    else:
        y = torch.einsum("bcij,ocij->bo", window, layer.weight)
    return y if layer.bias is None else y + layer.bias


def linear_part(x: Tensor, unit: ConvNorm) -> Tensor:
    """Convolution and batch norm by its statistics (Ioffe and Szegedy 2015, algorithm 2), no activation."""
    norm, y = unit.norm, convolved(x, unit.convolution)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (y - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
