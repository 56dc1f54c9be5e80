"""hybrid-lm: a decoder-only language model whose every layer chooses its mixer and its feed-forward block."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.blocks import (
    Attention,
    BlockSparseAttention,
    GatedConvolution,
    GatedDeltaNet,
    LatentAttention,
    LinearAttention,
    RMSNorm,
    SlidingWindowAttention,
    StateSpace,
)
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

    from search_spaces.architecture import Architecture
    from search_spaces.elastic import Option

_WINDOW = 32
_SINKS = 4
"""As many initial tokens as StreamingLLM (Xiao et al. 2023, arXiv:2309.17453), section 3.2, keeps."""
_ROTARY = 8


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
        initialise(network, [network.head], layers)
    return SearchSpace(
        name="hybrid-lm",
        network=network,
        example_inputs=partial(example_tokens, vocabulary),
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
    return stacks(layers, mixer="attention", feedforward="swiglu_2x")


def mixers(width: int, heads: int) -> Mapping[str, Option]:
    """The alternatives by which a layer moves information between tokens."""
    blocks: dict[str, Option] = {
        **of_shared_heads(Attention(width, heads, kv_heads=heads), heads),
        "latent": LatentAttention(width, heads, rank=max(1, width // 4), rotary_width=_ROTARY),
        "sliding_window": SlidingWindowAttention(width, heads, window=_WINDOW, sinks=_SINKS),
        "sliding_window_4x": SlidingWindowAttention(width, heads, window=4 * _WINDOW, sinks=_SINKS),
        "block_sparse": BlockSparseAttention(width, heads, block=_WINDOW, summary=1),
        "linear_attention": LinearAttention(width, heads),
        "gated_delta": GatedDeltaNet(width, heads),
        "state_space": StateSpace(width, heads),
        "convolution": GatedConvolution(width),
    }
    return residual(width, blocks)


class HybridLM(nn.Module):
    """Embedding, layers, norm, head. Positions come from the mixers, so no length is too long.

    Embedding and head are two weights: tied, the exported file would hold the transpose beside it anyway.
    """

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Layer(mixers(width, heads), feedforwards(width)) for _ in range(layers))
        self.norm = RMSNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(self.norm(x))
        return logits
