"""encoder: a classifier of texts whose every layer chooses a mixer that reads both sides, and the rest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.blocks import (
    Bidirectional,
    BidirectionalAttention,
    BidirectionalLinearAttention,
    CentredConvolution,
    GatedDeltaNet,
    LocalAttention,
    PreNorm,
    RMSNorm,
    StateSpace,
)
from search_spaces.errors import SearchSpaceError
from search_spaces.space import SearchSpace
from search_spaces.stack import Layer, example_tokens, feedforwards, initialise, stacks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search_spaces.architecture import Architecture

_WINDOW = 32


def encoder(
    *,
    layers: int = 4,
    width: int = 64,
    heads: int = 4,
    classes: int = 16,
    vocabulary: int = 256,
    seed: int = 0,
) -> SearchSpace:
    """Tokens (batch, length) -> logits (batch, classes), at any length; attention is meant for up to 4,096.

    Choices at `layers.<i>.mixer` and `layers.<i>.feedforward`. The initial weights depend on `seed` alone.
    Raises SearchSpaceError for sizes that do not fit each other.
    """
    if layers < 1 or classes < 2 or not 1 <= vocabulary <= 256:
        raise SearchSpaceError(
            "need at least one layer, two classes and 1 to 256 tokens, "
            f"got {layers}, {classes} and {vocabulary}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Encoder(layers, width, heads, classes, vocabulary)
        initialise(network, network.head, layers)
    return SearchSpace(
        name="encoder",
        network=network,
        example_inputs=partial(example_tokens, vocabulary),
        dynamic={0: "batch", 1: "length"},
        input_names=("input_ids",),
        output_names=("logits",),
        references={"BERT-like": bert_like(layers)},
    )


def bert_like(layers: int) -> tuple[Architecture, ...]:
    """Stacks of 1 to `layers` layers of multi-head attention and a feed-forward block; above, skips.

    As BERT (Devlin et al. 2019, arXiv:1810.04805, section 3) and its miniatures (Turc et al. 2019,
    arXiv:1908.08962), but pre-normalised, with rotary positions and SwiGLU: of the widths here, the one whose
    weights are nearest to BERT's 8 width^2.
    """
    return stacks(layers, mixer="attention", feedforward="swiglu_2x")


def mixers(width: int, heads: int) -> Mapping[str, nn.Module]:
    """The alternatives by which a layer moves information between tokens, in both directions."""
    blocks = {
        "attention": BidirectionalAttention(width, heads, kv_heads=heads),
        "grouped_query": BidirectionalAttention(width, heads, kv_heads=max(1, heads // 2)),
        "multi_query": BidirectionalAttention(width, heads, kv_heads=1),
        "local_attention": LocalAttention(width, heads, kv_heads=heads, window=_WINDOW),
        "linear_attention": BidirectionalLinearAttention(width, heads),
        "gated_delta": Bidirectional(GatedDeltaNet(width, heads), GatedDeltaNet(width, heads)),
        "state_space": Bidirectional(StateSpace(width, heads), StateSpace(width, heads)),
        "convolution": CentredConvolution(width),
    }
    return {**{name: PreNorm(width, block) for name, block in blocks.items()}, "skip": nn.Identity()}


class Encoder(nn.Module):
    """Embedding, layers, norm, mean over the tokens, head. Positions come from the mixers."""

    def __init__(self, layers: int, width: int, heads: int, classes: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Layer(mixers(width, heads), feedforwards(width)) for _ in range(layers))
        self.norm = RMSNorm(width)
        self.head = nn.Linear(width, classes, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(self.norm(x).mean(dim=1))
        return logits
