"""A space of small convolutional networks, to judge cost models on what is no language model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces import Choice, SearchSpace

STAGES = ((24, 3), (48, 3), (96, 3))
"""Channels and layers; each stage halves the side."""
SIDE = 96


class Plus(nn.Module):
    """x + inner(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.inner(x)
        return y


def convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """Convolution, batch norm and, if active, a rectifier."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if active else []))


def separable(width: int, kernel: int) -> nn.Module:
    return Plus(
        nn.Sequential(
            convolution(width, width, kernel, groups=width), convolution(width, width, 1, active=False)
        )
    )


def inverted(width: int, kernel: int, expansion: int) -> nn.Module:
    """The block of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381)."""
    wide = width * expansion
    return Plus(
        nn.Sequential(
            convolution(width, wide, 1),
            convolution(wide, wide, kernel, groups=wide),
            convolution(wide, width, 1, active=False),
        )
    )


def bottleneck(width: int) -> nn.Module:
    """The block of ResNet-50 (He et al. 2016, arXiv:1512.03385), a quarter as wide inside."""
    narrow = width // 4
    return Plus(
        nn.Sequential(
            convolution(width, narrow, 1),
            convolution(narrow, narrow, 3),
            convolution(narrow, width, 1, active=False),
        )
    )


def options(width: int) -> dict[str, nn.Module]:
    return {
        "conv_3": Plus(convolution(width, width, 3)),
        "conv_5": Plus(convolution(width, width, 5)),
        "separable_3": separable(width, 3),
        "separable_5": separable(width, 5),
        "inverted_3": inverted(width, 3, 3),
        "inverted_5": inverted(width, 5, 3),
        "bottleneck": bottleneck(width),
        "skip": nn.Identity(),
    }


def convolutional() -> SearchSpace:
    """Images (batch, 3, 96, 96) -> logits (batch, 10); a choice of eight blocks for each of nine layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        before = 3
        for width, depth in STAGES:
            layers.append(convolution(before, width, 3, stride=2))
            layers += [Choice(options(width)) for _ in range(depth)]
            before = width
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))
    return SearchSpace("convolutional", network, _images, {0: "batch"}, ("images",), ("logits",))


def _images(batch: int, length: int) -> tuple[Tensor]:
    """Noise; their size is fixed, whatever the length."""
    return (torch.randn(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)),)
