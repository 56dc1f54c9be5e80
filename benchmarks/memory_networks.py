"""The networks whose memory is predicted and measured: built here, none of them tuned to.

The functions `forward` and `training` are called in fresh processes (hw_cost_models.runtimes.pytorch_memory).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from search_spaces import hybrid_lm
from search_spaces.architecture import Architecture
from search_spaces.binding import select

if TYPE_CHECKING:
    from collections.abc import Callable

Item = tuple[nn.Module, tuple[Tensor, ...]]

CHECKPOINTED = "checkpointed "

MIXERS = ("attention", "multi_query", "sliding_window", "linear_attention", "convolution")
FEEDFORWARDS = ("swiglu_4x", "moe", "low_rank", "sparse_2_4", "swiglu_1x")


class Block(nn.Module):
    """A layer of a transformer: (batch, length, width) in and out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.before(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        out: Tensor = x + self.down(F.gelu(self.up(self.between(x))))
        return out


class Residual(nn.Module):
    """Two convolutions and a way around them; half the resolution where the channels double."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(2))
        self.around = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.around(x) + self.norms[1](self.second(y)))


def _mlp(width: int, depth: int, batch: int) -> Item:
    layers = (layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU()))
    return nn.Sequential(*layers), (torch.randn(batch, width),)


def _transformer(width: int, depth: int, batch: int, length: int) -> Item:
    return nn.Sequential(*(Block(width, width // 64) for _ in range(depth))), (
        torch.randn(batch, length, width),
    )


def _resnet(channels: int, batch: int, side: int) -> Item:
    widths = [channels, channels, 2 * channels, 2 * channels, 4 * channels, 4 * channels]
    stem = (nn.Conv2d(3, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
    body = (Residual(a, b) for a, b in zip([channels, *widths], widths, strict=False))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 100))
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *body, *head), (torch.randn(batch, 3, side, side),)


def _depthwise(channels: int, batch: int, side: int) -> Item:
    """Inverted residuals without the residual: big activations, few weights."""
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, 2, 1)]
    for _ in range(4):
        wide = 4 * channels
        layers += [nn.Conv2d(channels, wide, 1), nn.ReLU6(), nn.Conv2d(wide, wide, 3, 1, 1, groups=wide)]
        layers += [nn.ReLU6(), nn.Conv2d(wide, channels, 1)]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    return nn.Sequential(*layers, *head), (torch.randn(batch, 3, side, side),)


def _hybrid(width: int, layers: int, batch: int, length: int, shift: int, feedforward: str = "") -> Item:
    """Options of hybrid-lm, each layer the next one, or one feed-forward block throughout."""
    space = hybrid_lm(layers=layers, width=width)
    chosen = {}
    for index in range(layers):
        chosen[f"layers.{index}.mixer"] = MIXERS[(index + shift) % len(MIXERS)]
        chosen[f"layers.{index}.feedforward"] = (
            feedforward or FEEDFORWARDS[(index + shift) % len(FEEDFORWARDS)]
        )
    return select(space.network, Architecture(chosen)), space.example_inputs(batch, length)


NETWORKS: dict[str, Callable[[], Item]] = {
    "mlp 256 x 4, batch 16": partial(_mlp, 256, 4, 16),
    "mlp 1024 x 8, batch 64": partial(_mlp, 1024, 8, 64),
    "mlp 2048 x 6, batch 512": partial(_mlp, 2048, 6, 512),
    "resnet 32, batch 1, 224": partial(_resnet, 32, 1, 224),
    "resnet 64, batch 8, 224": partial(_resnet, 64, 8, 224),
    "depthwise 32, batch 4, 160": partial(_depthwise, 32, 4, 160),
    "transformer 256 x 4, 1 x 128": partial(_transformer, 256, 4, 1, 128),
    "transformer 256 x 4, 4 x 512": partial(_transformer, 256, 4, 4, 512),
    "transformer 768 x 6, 1 x 256": partial(_transformer, 768, 6, 1, 256),
    "transformer 512 x 12, 8 x 256": partial(_transformer, 512, 12, 8, 256),
    "hybrid-lm 256 x 6, 1 x 256": partial(_hybrid, 256, 6, 1, 256, 0),
    "hybrid-lm 256 x 6, 4 x 512": partial(_hybrid, 256, 6, 4, 512, 1),
    "hybrid-lm 512 x 5, 2 x 512": partial(_hybrid, 512, 5, 2, 512, 2),
    "hybrid-lm 256 x 4, moe, 4 x 256": partial(_hybrid, 256, 4, 4, 256, 0, "moe"),
}


def blocks(module: nn.Module) -> list[str]:
    """The submodules that are checkpointed: a transformer's layers."""
    return [path for path, part in module.named_modules() if isinstance(part, Block)]


def forward(name: str) -> Callable[[], None]:
    """The network, and its forward in evaluation."""
    module, inputs = NETWORKS[name]()
    module.eval()

    def run() -> None:
        with torch.no_grad():
            module(*inputs)

    return run


def training(name: str) -> Callable[[], None]:
    """The network with AdamW, and a step of training; the name may ask for its blocks to be checkpointed."""
    module, inputs = NETWORKS[name.removeprefix(CHECKPOINTED)]()
    module.train()
    for path in blocks(module) if name.startswith(CHECKPOINTED) else ():
        part = module.get_submodule(path)
        part.forward = partial(checkpoint, part.forward, use_reentrant=False)
    optimizer = torch.optim.AdamW(module.parameters())

    def run() -> None:
        module(*inputs).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run
