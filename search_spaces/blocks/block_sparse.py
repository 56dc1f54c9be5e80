"""Causal attention to the own block and to summaries of the blocks before it.

The "fixed" pattern of Child et al. 2019, "Generating Long Sequences with Sparse Transformers",
arXiv:1904.10509, section 4.2, its two sets of positions merged in every head (section 5.1): token i sees

    {j ≤ i : ⌊j / l⌋ = ⌊i / l⌋}  and  {j ≤ i : j mod l ≥ l - c}

for blocks of l tokens, whose last c learn to sum up their block for what comes later. With l near the root of
the length n the scores take n^1.5 in time and memory; no matrix of n by n is ever made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.attention import check_heads, rotary_heads
from search_spaces.blocks.blockwise import additive_mask, in_a_row, into_blocks, joint_softmax, scaled_scores
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from search_spaces.decoding import State


class BlockSparseAttention(nn.Module):
    """Every token attends to its block up to itself and to the last `summary` tokens of each block before.

    (batch, length, width) -> the same; length · (block + length / block · summary) scores a head. Raises
    SearchSpaceError for a summary that is not a part of its block or heads that do not divide the width.
    """

    def __init__(self, width: int, heads: int, block: int, summary: int) -> None:
        super().__init__()
        check_heads(width, heads, heads)
        if not 1 <= summary <= block:
            raise SearchSpaceError(f"a summary is 1 to {block} tokens of its block of {block}, got {summary}")
        self.heads = heads
        self.block = block
        self.summary = summary
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._attend(*rotary_heads(self.qkv(x), self.heads, self.heads))

    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """A whole prompt: its output, and the state that it leaves."""
        query, key, value = rotary_heads(self.qkv(x), self.heads, self.heads)
        earlier, place = (x.shape[1] - 1) // self.block, (x.shape[1] - 1) % self.block
        first = self.block * torch.arange(earlier, device=x.device)[:, None]
        summaries = (first + torch.arange(self.block - self.summary, self.block, device=x.device)).flatten()
        own = self.block * earlier + torch.arange(place + 1, device=x.device)
        state = tuple(part.index_select(2, tokens) for tokens in (summaries, own) for part in (key, value))
        return self._attend(query, key, value), state

    def _attend(self, *heads: Tensor) -> Tensor:
        """From query, key and value, (batch, heads, length, features) each."""
        batch, _, length, _ = heads[0].shape
        query, key, value = (into_blocks(part, self.block) for part in heads)
        mixed = F.scaled_dot_product_attention(
            query,
            self._with_summaries(key),
            self._with_summaries(value),
            attn_mask=additive_mask(self._seen(query), like=query),
        )
        mixed = in_a_row(mixed, batch, self.heads)[:, :, :length]
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y

    def _with_summaries(self, blocks: Tensor) -> Tensor:
        """Each block before the summaries of all: (n, blocks, block, f) -> (n, blocks, block + all, f).

        The copies take features / block of what the scores take, and let one kernel do the rest.
        """
        summaries = blocks[:, :, -self.summary :].flatten(1, 2)[:, None]
        return torch.cat((blocks, summaries.expand(-1, blocks.shape[1], -1, -1)), dim=2)

    def _seen(self, query: Tensor) -> Tensor:
        """Which of its block and of all summaries a query may see: (1, blocks, block, block + all)."""
        row = torch.arange(self.block, device=query.device)
        block = torch.arange(query.shape[1], device=query.device)
        own = row <= row[:, None]
        before = block.repeat_interleave(self.summary) < block[:, None]
        parts = own.expand(query.shape[1], -1, -1), before[:, None].expand(-1, self.block, -1)
        return torch.cat(parts, dim=2)[None]

    state_names = ("summary_key", "summary_value", "key", "value")

    def state(self, batch: int, context: int = 0) -> State:
        """Keys, turned by their positions, and values of the summaries, then of the block of the last token.

        (batch, heads, tokens, features) each. A full block is summed up when the next token comes.
        """
        earlier = max(0, context - 1) // self.block
        features = self.out.in_features // self.heads
        sizes = (earlier * self.summary,) * 2 + (context - earlier * self.block,) * 2
        return tuple(self.out.weight.new_zeros(batch, self.heads, size, features) for size in sizes)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One more token: (batch, 1, width) -> the same, and the state with it.

        What is kept is gathered by computed places and not branched over, so that an exported graph holds
        for every number of cached tokens.
        """
        summaries, own = state[:2], state[2:]
        full, kept = own[0].shape[2] // self.block, own[0].shape[2] % self.block  # full: none or one
        position = summaries[0].shape[2] // self.summary * self.block + own[0].shape[2]
        query, *new = rotary_heads(self.qkv(x), self.heads, self.heads, start=position)
        summed_up = self.block - self.summary + torch.arange(full * self.summary, device=x.device)
        current = full * self.block + torch.arange(kept, device=x.device)
        summary_key, summary_value = (
            torch.cat((old, part.index_select(2, summed_up)), dim=2)
            for old, part in zip(summaries, own, strict=True)
        )
        key, value = (
            torch.cat((part.index_select(2, current), token), dim=2)
            for part, token in zip(own, new, strict=True)
        )
        weights, to_summaries = joint_softmax(scaled_scores(query, key), scaled_scores(query, summary_key))
        mixed = (weights @ value + to_summaries @ summary_value).transpose(1, 2).flatten(2)
        return self.out(mixed), (summary_key, summary_value, key, value)
