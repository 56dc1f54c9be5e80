"""hybrid-lm: a decoder-only language model whose every layer chooses its mixer and its feed-forward block."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    Attention,
    GatedConvolution,
    LinearAttention,
    LowRankLinear,
    MixtureOfExperts,
    PreNorm,
    RMSNorm,
    SlidingWindowAttention,
    SparseLinear,
    SwiGLU,
)
from search_spaces.choice import Choice
from search_spaces.errors import SearchSpaceError
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

_WINDOW = 32
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


def hybrid_lm(
    *, layers: int = 6, width: int = 64, heads: int = 4, vocabulary: int = 256, seed: int = 0
) -> SearchSpace:
    """Tokens (batch, length) -> logits (batch, length, vocabulary), causal, at any length.

    Choices at `layers.<i>.mixer` and `layers.<i>.feedforward`. The initial weights depend on `seed` alone.
    Raises SearchSpaceError for sizes that do not fit each other.
    """
    if layers < 1 or not 1 <= vocabulary <= 256:
        raise SearchSpaceError(f"need at least one layer and 1 to 256 tokens, got {layers} and {vocabulary}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = HybridLM(layers, width, heads, vocabulary)
        _initialise(network, layers)
    return SearchSpace(
        name="hybrid-lm",
        network=network,
        example_inputs=partial(_example_tokens, vocabulary),
        dynamic={0: "batch", 1: "length"},
        input_names=("input_ids",),
        output_names=("logits",),
        references={"LLaMA-like": llama_like(layers)},
    )


def llama_like(layers: int) -> tuple[Architecture, ...]:
    """Stacks of 1 to `layers` layers of multi-head attention and SwiGLU; the layers above are skipped.

    As in LLaMA (Touvron et al. 2023, arXiv:2302.13971, section 2.2), pre-normalised, with rotary positions;
    its hidden width of 8/3 lies between two of the options here, and the nearer one is taken.
    """

    def stack(depth: int) -> Architecture:
        taken = {"mixer": "attention", "feedforward": "swiglu_2x"}
        return Architecture(
            {
                f"layers.{layer}.{part}": option if layer < depth else "skip"
                for layer in range(layers)
                for part, option in taken.items()
            }
        )

    return tuple(map(stack, range(1, layers + 1)))


def mixers(width: int, heads: int) -> Mapping[str, nn.Module]:
    """The alternatives by which a layer moves information between tokens."""
    return {
        "attention": PreNorm(width, Attention(width, heads, kv_heads=heads)),
        "grouped_query": PreNorm(width, Attention(width, heads, kv_heads=max(1, heads // 2))),
        "multi_query": PreNorm(width, Attention(width, heads, kv_heads=1)),
        "sliding_window": PreNorm(width, SlidingWindowAttention(width, heads, window=_WINDOW)),
        "linear_attention": PreNorm(width, LinearAttention(width, heads)),
        "convolution": PreNorm(width, GatedConvolution(width)),
        "skip": nn.Identity(),
    }


def feedforwards(width: int) -> Mapping[str, nn.Module]:
    """The alternatives by which a layer transforms each token."""
    low_rank = partial(LowRankLinear, rank=max(1, width // 4))
    return {
        "swiglu_1x": PreNorm(width, SwiGLU(width, width)),
        "swiglu_2x": PreNorm(width, SwiGLU(width, 2 * width)),
        "swiglu_4x": PreNorm(width, SwiGLU(width, 4 * width)),
        "moe": PreNorm(width, MixtureOfExperts(width, width, experts=4, active=2)),
        "sparse_2_4": PreNorm(width, SwiGLU(width, 4 * width, SparseLinear)),
        "low_rank": PreNorm(width, SwiGLU(width, 4 * width, low_rank)),
        "skip": nn.Identity(),
    }


class Layer(nn.Module):
    """A mixer, then a feed-forward block. (batch, length, width) -> the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.mixer = Choice(mixers(width, heads))
        self.feedforward = Choice(feedforwards(width))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.feedforward(self.mixer(x))
        return y


class HybridLM(nn.Module):
    """Embedding, layers, norm, head. Positions come from the mixers, so no length is too long.

    Embedding and head are two weights: tied, the exported file would hold the transpose beside it anyway.
    """

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = RMSNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def _initialise(network: HybridLM, layers: int) -> None:
    """Weights of variance 1 / inputs; what writes to the residual stream shrinks with the number of writers.

    Radford et al. 2019 ("Language Models are Unsupervised Multitask Learners", section 2.3) scale by
    1 / sqrt(writers): the stream then grows by at most as much as it holds, at any depth that is sampled. A
    tenth of that makes every option begin near the identity, so that options sampled below do not scramble
    what those above them learn on: 300 steps of uniform sampling then end 0.02 to 0.05 nats lower.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | SparseLinear):
            writes = ".out" in name
            scale = 0.1 * (2 * layers) ** -0.5 if writes else 1.0
            nn.init.normal_(module.weight, std=scale * module.weight.shape[1] ** -0.5)
    nn.init.normal_(network.head.weight, std=0.02)  # near-uniform predictions: the first losses are ln(256)


def _example_tokens(vocabulary: int, batch: int, length: int) -> tuple[Tensor]:
    """Text, and not noise, because the work of routed experts depends on what the tokens are."""
    sample = torch.tensor(list(_SAMPLE)) % vocabulary
    start = 17 * torch.arange(batch)[:, None]  # rows begin at different places
    return (sample[(start + torch.arange(length)) % len(sample)],)
