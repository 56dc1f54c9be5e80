"""Attention to the tokens within a window, at a cost linear in the length.

Computed in bands (Beltagy et al. 2020, "Longformer", arXiv:2004.05150, section 3.1): blocks as long as the
window attend to themselves and to the blocks beside them. Masking full attention would give the same numbers,
but costs more than full attention does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.attention import attend_to_all, check_heads, rotary_heads
from search_spaces.blocks.blockwise import additive_mask, in_a_row, into_blocks, joint_softmax, scaled_scores
from search_spaces.blocks.rotary import rotate
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from search_spaces.decoding import State


class SlidingWindowAttention(nn.Module):
    """Every token attends to itself and the `window - 1` before it. (batch, length, width) -> the same.

    And to `sinks` learnable tokens, a key and a value a head each, which take up the attention that belongs
    nowhere (Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks", arXiv:2309.17453,
    section 3.3). They have no position: every query meets them unturned, as if they stood where it stands, so
    they look the same from everywhere and cost no state.

    Raises SearchSpaceError for a window below one, sinks below none or heads that do not divide the width.
    """

    def __init__(self, width: int, heads: int, window: int, sinks: int = 0) -> None:
        super().__init__()
        check_heads(width, heads, heads)
        _check_window(window)
        if sinks < 0:
            raise SearchSpaceError(f"a window has no sinks or some, got {sinks}")
        self.heads = heads
        self.window = window
        self.sinks = sinks
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        if sinks:
            shape = (heads, sinks, width // heads)
            self.sink_keys = nn.Parameter(torch.randn(shape) * shape[2] ** -0.5)
            self.sink_values = nn.Parameter(torch.randn(shape) * shape[2] ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self._attend(self.qkv(x))

    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """A whole prompt: its output, and the state that it leaves."""
        qkv = self.qkv(x)
        _, key, value = self._unturned(qkv)
        return self._attend(qkv), (_last(key, self.window - 1), _last(value, self.window - 1))

    def _attend(self, qkv: Tensor) -> Tensor:
        batch, length, _ = qkv.shape
        query, key, value = (
            into_blocks(part, self.window) for part in rotary_heads(qkv, self.heads, self.heads)
        )  # (batch * heads, blocks, window, features)
        key, value, seen = _with_previous(key), _with_previous(value), self._band(query)
        if self.sinks:
            to_sinks = into_blocks(self._to_sinks(self._unturned(qkv)[0]), self.window)
            weights, sunk = joint_softmax(scaled_scores(query, key) + additive_mask(seen, query), to_sinks)
            mixed = in_a_row(weights @ value, batch, self.heads)
            mixed = mixed + in_a_row(sunk, batch, self.heads) @ self.sink_values
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
            mixed = in_a_row(mixed, batch, self.heads)
        y: Tensor = self.out(mixed[:, :, :length].transpose(1, 2).flatten(2))
        return y

    state_names = ("key", "value")

    def state(self, batch: int, context: int = 0) -> State:
        """The last `window - 1` keys, not turned, and values: (batch, heads, tokens, features) each.

        Only differences of positions matter, so keys are turned anew at every step, by their places in the
        window: the state needs no count of the tokens before it.
        """
        features = self.out.in_features // self.heads
        shape = (batch, self.heads, min(context, self.window - 1), features)
        return self.out.weight.new_zeros(shape), self.out.weight.new_zeros(shape)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One more token: (batch, 1, width) -> the same, and the state with it."""
        keys, values = state
        unturned, key, value = self._unturned(self.qkv(x))
        keys, values = torch.cat((keys, key), dim=2), torch.cat((values, value), dim=2)
        turned = rotate(keys.transpose(1, 2)).transpose(1, 2)
        query = rotate(unturned.transpose(1, 2), start=keys.shape[2] - 1).transpose(1, 2)
        if self.sinks:
            weights, sunk = joint_softmax(scaled_scores(query, turned), self._to_sinks(unturned))
            mixed = (weights @ values + sunk @ self.sink_values).transpose(1, 2).flatten(2)
        else:
            mixed = attend_to_all(query, turned, values)
        kept = self.window - 1
        return self.out(mixed), (_last(keys, kept), _last(values, kept))

    def _unturned(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """Query, key and value, not turned: three of (batch, heads, length, features)."""
        parts = qkv.reshape(*qkv.shape[:2], 3, self.heads, -1).unbind(2)
        return tuple(part.transpose(1, 2) for part in parts)

    def _to_sinks(self, unturned: Tensor) -> Tensor:
        """Scores of the sinks for queries without position: (batch, heads, length, sinks)."""
        return scaled_scores(unturned, self.sink_keys)

    def _band(self, query: Tensor) -> Tensor:
        """Which keys of a (previous block, own block) pair a query may see: (1, blocks, window, 2 window).

        Relative to the pair's first key, the query at row i stands at window + i and sees i + 1 … window + i.
        The first block has no block before it.
        """
        row = torch.arange(self.window, device=query.device)[:, None]
        column = torch.arange(2 * self.window, device=query.device)
        band = (row < column) & (column <= row + self.window)
        block = torch.arange(query.shape[1], device=query.device)[:, None, None]
        return (band & ((block > 0) | (column >= self.window)))[None]


class LocalAttention(nn.Module):
    """Every token attends to itself and the `window - 1` on either side, as in an encoder.

    (batch, length, width) -> the same. Heads and positions are those of `Attention`. It reads what comes
    later, so it has no decode step. Raises SearchSpaceError for a window below one or heads that do not fit.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, window: int) -> None:
        super().__init__()
        check_heads(width, heads, kv_heads)
        _check_window(window)
        self.heads = heads
        self.kv_heads = kv_heads
        self.window = window
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * (width // heads), bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        sharing = self.heads // self.kv_heads
        query, key, value = (
            into_blocks(part, self.window) for part in rotary_heads(self.qkv(x), self.heads, self.kv_heads)
        )  # (batch * heads or kv_heads, blocks, window, features)
        rows = torch.unflatten(query, 0, (batch * self.kv_heads, sharing)).transpose(1, 2).flatten(2, 3)
        mask = additive_mask(self._band(query, length), like=query)
        mixed = F.scaled_dot_product_attention(
            rows, _with_neighbours(key), _with_neighbours(value), attn_mask=mask
        )
        mixed = torch.unflatten(mixed, 2, (sharing, self.window)).transpose(1, 2).flatten(0, 1)
        mixed = in_a_row(mixed, batch, self.heads)[:, :, :length]
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y

    def _band(self, query: Tensor, length: int) -> Tensor:
        """Which keys of the (previous, own, next) blocks a query may see: (1, blocks, rows, 3 window).

        The rows are the block's queries of every head that shares the keys. Relative to the first key, the
        query at row i stands at window + i and sees i + 1 … 2 window + i - 1, where there are tokens.
        """
        row = torch.arange(self.window, device=query.device).repeat(self.heads // self.kv_heads)[:, None]
        column = torch.arange(3 * self.window, device=query.device)
        band = (row < column) & (column < row + 2 * self.window)
        block = torch.arange(query.shape[1], device=query.device)[:, None, None]
        position = (block - 1) * self.window + column
        return (band & (position >= 0) & (position < length))[None]


def _check_window(window: int) -> None:
    if window < 1:
        raise SearchSpaceError(f"a window holds at least the token itself, got {window}")


def _last(x: Tensor, count: int) -> Tensor:
    """The last tokens, at most so many, of (batch, heads, tokens, features)."""
    return x[:, :, -count:] if count else x[:, :, :0]


def _with_previous(blocks: Tensor) -> Tensor:
    """Each block behind the one before it: (n, blocks, window, f) -> (n, blocks, 2 window, f)."""
    previous = F.pad(blocks, (0, 0, 0, 0, 1, 0))[:, :-1]
    return torch.cat((previous, blocks), dim=2)


def _with_neighbours(blocks: Tensor) -> Tensor:
    """Each block between those beside it: (n, blocks, window, f) -> (n, blocks, 3 window, f)."""
    framed = F.pad(blocks, (0, 0, 0, 0, 1, 1))
    return torch.cat((framed[:, :-2], blocks, framed[:, 2:]), dim=2)
