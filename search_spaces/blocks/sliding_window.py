"""Causal attention to the last `window` tokens, at a cost linear in the length.

Computed in bands (Beltagy et al. 2020, "Longformer", arXiv:2004.05150, section 3.1): blocks as long as the
window attend to themselves and to the block before. Masking full attention would give the same numbers, but
costs more than full attention does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.attention import attend_to_all, check_heads, rotary_heads
from search_spaces.blocks.rotary import rotate
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from search_spaces.decoding import State


class SlidingWindowAttention(nn.Module):
    """Every token attends to itself and the `window - 1` before it. (batch, length, width) -> the same.

    Raises SearchSpaceError for a window below one or heads that do not divide the width.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        check_heads(width, heads, heads)
        if window < 1:
            raise SearchSpaceError(f"a window holds at least the token itself, got {window}")
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._attend(self.qkv(x))

    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """A whole prompt: its output, and the state that it leaves."""
        qkv = self.qkv(x)
        _, key, value = (part.transpose(1, 2) for part in self._heads(qkv))
        return self._attend(qkv), (_last(key, self.window - 1), _last(value, self.window - 1))

    def _attend(self, qkv: Tensor) -> Tensor:
        batch, length, _ = qkv.shape
        query, key, value = (
            self._blocks(part) for part in rotary_heads(qkv, self.heads, self.heads)
        )  # (batch * heads, blocks, window, features)
        mixed = F.scaled_dot_product_attention(
            query, _with_previous(key), _with_previous(value), attn_mask=self._band(query)
        )
        mixed = mixed.reshape(batch, self.heads, -1, mixed.shape[-1])[:, :, :length]
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
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
        query, key, value = (part.transpose(1, 2) for part in self._heads(self.qkv(x)))
        keys, values = torch.cat((keys, key), dim=2), torch.cat((values, value), dim=2)
        turned = rotate(keys.transpose(1, 2)).transpose(1, 2)
        query = rotate(query.transpose(1, 2), start=keys.shape[2] - 1).transpose(1, 2)
        y: Tensor = self.out(attend_to_all(query, turned, values))
        kept = self.window - 1
        return y, (_last(keys, kept), _last(values, kept))

    def _heads(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """Query, key and value, not turned: three of (batch, length, heads, features)."""
        return qkv.reshape(*qkv.shape[:2], 3, self.heads, -1).unbind(2)

    def _blocks(self, part: Tensor) -> Tensor:
        """(batch, heads, length, features) -> (batch * heads, blocks, window, features), zeros at the end."""
        missing = -part.shape[2] % self.window
        padded = F.pad(part, (0, 0, 0, missing)).flatten(0, 1)
        return padded.reshape(padded.shape[0], -1, self.window, part.shape[-1])

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


def _last(x: Tensor, count: int) -> Tensor:
    """The last tokens, at most so many, of (batch, heads, tokens, features)."""
    return x[:, :, -count:] if count else x[:, :, :0]


def _with_previous(blocks: Tensor) -> Tensor:
    """Each block behind the one before it: (n, blocks, window, f) -> (n, blocks, 2 window, f)."""
    previous = F.pad(blocks, (0, 0, 0, 0, 1, 0))[:, :-1]
    return torch.cat((previous, blocks), dim=2)
