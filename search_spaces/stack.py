"""Stacks of layers over tokens, as language models and encoders share them: each chooses two blocks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    MLP,
    BlockDiagonalLinear,
    LowRankLinear,
    MixtureOfExperts,
    MonarchLinear,
    PreNorm,
    SparseLinear,
    SwiGLU,
)
from search_spaces.choice import Choice
from search_spaces.elastic import Slice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from search_spaces.elastic import Option

_Z_LOSS = 0.001
"""ST-MoE (Zoph et al. 2022, arXiv:2202.08906), section 3.2."""
_WRITERS = (".out", ".out.up", ".out.second")
"""What writes to the residual stream: a block's last layer, or the second half of one that is a product."""
_SAMPLE = b'''def mean(values: list[float]) -> float:
    """The arithmetic mean. Raises ValueError when there is nothing to average."""
    if not values:
        raise ValueError("mean of an empty list")
    return sum(values) / len(values)


class Counter:
    # Counts how often each word of a text occurs, whatever its case.
    def __init__(self) -> None:
        self.counts = {}

    def update(self, text):
        for word in text.lower().split():
            self.counts[word] = self.counts.get(word, 0) + 1
'''


def feedforwards(width: int) -> Mapping[str, Option]:
    """The alternatives by which a layer transforms each token."""
    experts = partial(MixtureOfExperts, width, active=2, z_loss=_Z_LOSS)
    swiglu = SwiGLU(width, 4 * width)
    blocks: dict[str, Option] = {
        "bottleneck": MLP(width, width // 2),
        "gelu_4x": MLP(width, 4 * width),
        "swiglu_1x": Slice(swiglu, hidden=width),
        "swiglu_2x": Slice(swiglu, hidden=2 * width),
        "swiglu_4x": swiglu,
        "moe": experts(hidden=width, experts=4),
        "moe_shared": experts(hidden=width // 2, experts=6, shared=1),
        "moe_null": experts(hidden=width, experts=4, null=2),
        "sparse_2_4": SwiGLU(width, 4 * width, SparseLinear),
        "sparse_1_4": SwiGLU(width, 4 * width, partial(SparseLinear, keep=1)),
        "monarch": SwiGLU(width, 4 * width, partial(MonarchLinear, blocks=4)),
        "low_rank": SwiGLU(width, 4 * width, partial(LowRankLinear, rank=max(1, width // 4))),
    }
    return residual(width, blocks)


def of_shared_heads(attention: nn.Module, heads: int) -> dict[str, Option]:
    """Multi-head attention, and the slices of it whose queries share keys and values."""
    return {
        "attention": attention,
        "grouped_query": Slice(attention, kv_heads=max(1, heads // 2)),
        "multi_query": Slice(attention, kv_heads=1),
    }


def residual(width: int, blocks: Mapping[str, Option]) -> Mapping[str, Option]:
    """Every block as x + block(norm(x)), slices of one as slices of that, and the identity as `skip`."""
    whole = {id(b): PreNorm(width, b) for b in blocks.values() if not isinstance(b, Slice)}
    options = {
        name: Slice(whole[id(block.block)], **block.sizes) if isinstance(block, Slice) else whole[id(block)]
        for name, block in blocks.items()
    }
    return {**options, "skip": nn.Identity()}


class Layer(nn.Module):
    """A mixer, then a feed-forward block. (batch, length, width) -> the same."""

    def __init__(self, mixers: Mapping[str, Option], feedforwards: Mapping[str, Option]) -> None:
        super().__init__()
        self.mixer = Choice(mixers)
        self.feedforward = Choice(feedforwards)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.feedforward(self.mixer(x))
        return y


def stacks(layers: int, mixer: str, feedforward: str) -> tuple[Architecture, ...]:
    """Architectures of which 1 to `layers` layers take these options; the layers above are skipped."""
    taken = {"mixer": mixer, "feedforward": feedforward}
    return tuple(
        Architecture(
            {
                f"layers.{layer}.{part}": option if layer < depth else "skip"
                for layer in range(layers)
                for part, option in taken.items()
            }
        )
        for depth in range(1, layers + 1)
    )


def initialise(network: nn.Module, heads: Iterable[nn.Linear], layers: int) -> None:
    """Weights of variance 1 / inputs; what writes to the residual stream shrinks with the number of writers.

    Radford et al. 2019 ("Language Models are Unsupervised Multitask Learners", section 2.3) scale by
    1 / sqrt(writers): the stream then grows by at most as much as it holds, at any depth that is sampled. A
    tenth of that makes every option begin near the identity, so that options sampled below do not scramble
    what those above them learn on: 300 steps of uniform sampling then end 0.02 to 0.05 nats lower. A slice
    begins nearer still: its last layer adds up fewer inputs, of the variance that suits the whole.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | SparseLinear | BlockDiagonalLinear):
            scale = 0.1 * (2 * layers) ** -0.5 if name.endswith(_WRITERS) else 1.0
            nn.init.normal_(module.weight, std=scale * module.weight.shape[-1] ** -0.5)
    for head in heads:
        nn.init.normal_(
            head.weight, std=0.02
        )  # near-uniform predictions: the first losses are those of a guess


def example_tokens(vocabulary: int, batch: int, length: int) -> tuple[Tensor]:
    """Text, and not noise, because the work of routed experts depends on what the tokens are."""
    sample = torch.tensor(list(_SAMPLE)) % vocabulary
    start = 17 * torch.arange(batch)[:, None]  # rows begin at different places
    return (sample[(start + torch.arange(length)) % len(sample)],)
