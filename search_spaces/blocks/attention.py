"""Softmax attention: multi-head, grouped-query and multi-query are one block with fewer key heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.rotary import rotate
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from search_spaces.decoding import State


class Attention(nn.Module):
    """Every token attends to itself and all before it. (batch, length, width) -> the same.

    Each of `kv_heads` key and value heads serves `heads / kv_heads` query heads: `heads` of them make
    multi-head attention (Vaswani et al. 2017), one makes multi-query attention (Shazeer 2019,
    arXiv:1911.02150), a number between them grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245).

    Raises SearchSpaceError when the heads do not divide each other or the width.
    """

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        check_heads(width, heads, kv_heads)
        self.heads = heads
        self.kv_heads = kv_heads
        self.head_width = width // heads
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.head_width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.prefill(x)[0]

    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """A whole prompt: its output, and the cache that it leaves."""
        query, key, value = rotary_heads(self.qkv(x), self.heads, self.kv_heads)
        shared = self.kv_heads != self.heads
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=shared)
        return self.out(mixed.transpose(1, 2).flatten(2)), (key, value)

    state_names = ("key", "value")

    def state(self, batch: int, context: int = 0) -> State:
        """Keys, turned by their positions, and values: two of (batch, kv_heads, context, head width)."""
        shape = (batch, self.kv_heads, context, self.head_width)
        return self.qkv.weight.new_zeros(shape), self.qkv.weight.new_zeros(shape)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One more token: (batch, 1, width) -> the same, and the cache one token longer."""
        keys, values = state
        query, key, value = rotary_heads(self.qkv(x), self.heads, self.kv_heads, start=keys.shape[2])
        keys, values = torch.cat((keys, key), dim=2), torch.cat((values, value), dim=2)
        return self.out(attend_to_all(query, keys, values)), (keys, values)


class BidirectionalAttention(nn.Module):
    """Every token attends to every token, as in an encoder. (batch, length, width) -> the same.

    Heads, positions and errors are those of `Attention`. It reads what comes later, so it has no decode step.
    """

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        check_heads(width, heads, kv_heads)
        self.heads = heads
        self.kv_heads = kv_heads
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * (width // heads), bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = rotary_heads(self.qkv(x), self.heads, self.kv_heads)
        shared = self.kv_heads != self.heads
        mixed = F.scaled_dot_product_attention(query, key, value, enable_gqa=shared)
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y


def attend_to_all(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One query token to all keys: (batch, heads, 1, features) -> (batch, 1, heads * features).

    The query heads that share a key head are the rows of one product, so no key is repeated.
    """
    batch, heads, _, features = query.shape
    grouped = query.reshape(batch, keys.shape[1], heads // keys.shape[1], features)
    return F.scaled_dot_product_attention(grouped, keys, values).reshape(batch, 1, heads * features)


def check_heads(width: int, heads: int, kv_heads: int) -> None:
    """Raises SearchSpaceError unless heads of an even width fill the width and share key heads evenly."""
    if heads < 1 or width % (2 * heads):
        raise SearchSpaceError(f"width {width} does not split into {heads} heads of an even width")
    if kv_heads < 1 or heads % kv_heads:
        raise SearchSpaceError(f"{heads} query heads cannot share {kv_heads} key heads evenly")


def rotary_heads(qkv: Tensor, heads: int, kv_heads: int, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Split one projection into query, key and value; turn query and key, in one go, by their positions.

    `start` is the position of the first token.

    (batch, length, (heads + 2 kv_heads) * features) -> three of (batch, heads or kv_heads, length, features).
    """
    split = torch.unflatten(qkv, -1, (heads + 2 * kv_heads, -1))
    turned = rotate(split[:, :, : heads + kv_heads], start).transpose(1, 2)
    value = split[:, :, heads + kv_heads :].transpose(1, 2)
    return turned[:, :heads], turned[:, heads:], value
