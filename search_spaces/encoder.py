"""encoder: a classifier of texts whose every layer chooses a mixer that reads both sides, and the rest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    Bidirectional,
    BidirectionalAttention,
    BidirectionalLinearAttention,
    CentredConvolution,
    EarlyExit,
    GatedDeltaNet,
    LocalAttention,
    NoExit,
    RMSNorm,
    StateSpace,
)
from search_spaces.blocks.early_exit import finish
from search_spaces.choice import Choice
from search_spaces.errors import SearchSpaceError
from search_spaces.space import SearchSpace
from search_spaces.stack import (
    Layer,
    example_tokens,
    feedforwards,
    initialise,
    of_shared_heads,
    residual,
    stacks,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search_spaces.elastic import Option

_WINDOW = 32
_THRESHOLDS = (0.8, 0.95)


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

    Choices at `layers.<i>.mixer` and `layers.<i>.feedforward`, and at `exit`, where there are two layers or
    more: whether an example leaves after half of them when an early head is so confident of its class. What
    such a network takes depends on its data. Heads that are not trained are never confident, so it is priced
    at its worst, where all examples stay; what it saves shows when it is trained. The verdict on a winner is
    about the example text, of which a trained head may be confident.

    The initial weights depend on `seed` alone.
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
        initialise(network, [m.linear for m in network.modules() if isinstance(m, SequenceHead)], layers)
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
    return tuple(
        Architecture({**stack, "exit": "none"} if layers > 1 else stack)
        for stack in stacks(layers, mixer="attention", feedforward="swiglu_2x")
    )


def mixers(width: int, heads: int) -> Mapping[str, Option]:
    """The alternatives by which a layer moves information between tokens, in both directions."""
    blocks: dict[str, Option] = {
        **of_shared_heads(BidirectionalAttention(width, heads, kv_heads=heads), heads),
        "local_attention": LocalAttention(width, heads, kv_heads=heads, window=_WINDOW),
        "linear_attention": BidirectionalLinearAttention(width, heads),
        "gated_delta": Bidirectional(GatedDeltaNet(width, heads), GatedDeltaNet(width, heads)),
        "state_space": Bidirectional(StateSpace(width, heads), StateSpace(width, heads)),
        "convolution": CentredConvolution(width),
    }
    return residual(width, blocks)


def exits(head: nn.Module) -> Mapping[str, nn.Module]:
    """Whether examples leave half-way, and how confident the early head must be; it is shared."""
    return {
        "none": NoExit(),
        **{f"exit_{threshold}": EarlyExit(head, threshold) for threshold in _THRESHOLDS},
    }


class SequenceHead(nn.Module):
    """Norm, mean over the tokens, linear. (batch, length, width) -> logits (batch, classes)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.linear = nn.Linear(width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.norm(x).mean(dim=1))
        return logits


class Encoder(nn.Module):
    """Embedding, layers, head; examples may leave half-way. Positions come from the mixers."""

    def __init__(self, layers: int, width: int, heads: int, classes: int, vocabulary: int) -> None:
        super().__init__()
        self.classes = classes
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Layer(mixers(width, heads), feedforwards(width)) for _ in range(layers))
        self.exit = Choice(exits(SequenceHead(width, classes)), inline=True) if layers > 1 else NoExit()
        self.head = SequenceHead(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        layers = list(self.layers)
        half = len(layers) // 2
        for layer in layers[:half]:
            x = layer(x)

        def rest(x: Tensor) -> Tensor:
            for layer in layers[half:]:
                x = layer(x)
            logits: Tensor = self.head(x)
            return logits

        return finish(self.exit, x, self.classes, rest, training=self.training)
