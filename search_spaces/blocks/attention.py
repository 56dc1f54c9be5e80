"""Softmax attention: multi-head, grouped-query and multi-query are one block with fewer key heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.rotary import rotate
from search_spaces.elastic import altered, masked, reweighted
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces.decoding import State
    from search_spaces.elastic import Sizes


class _Heads(nn.Module):
    """What attention blocks share: heads, the layers into and out of them, and slices of both.

    A slice has the first `heads` query heads, and of the key heads that serve them every so many: a group of
    query heads keeps the key head of its first one. Where grouped-query attention is made from multi-head
    attention, that is the "first" of Ainslie et al. 2023, arXiv:2305.13245, section 2.1.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, head_width: int | None = None) -> None:
        super().__init__()
        check_heads(width if head_width is None else heads * head_width, heads, kv_heads)
        self.heads = heads
        self.kv_heads = kv_heads
        self.head_width = width // heads if head_width is None else head_width
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.head_width, bias=False)
        self.out = nn.Linear(heads * self.head_width, width, bias=False)

    def sizes(self) -> Sizes:
        return {"heads": self.heads, "kv_heads": self.kv_heads}

    def sliced(self, sizes: Sizes) -> Self:
        heads, kv_heads = sizes["heads"], sizes["kv_heads"]
        step = self._step(sizes)

        def rows(t: Tensor) -> Tensor:
            query, key, value = self._by_head(t)
            served = slice(None, kv_heads * step, step)
            return torch.cat((query[:heads], key[served], value[served])).flatten(0, 1)

        inputs = heads * self.head_width
        return altered(
            self,
            heads=heads,
            kv_heads=kv_heads,
            qkv=reweighted(self.qkv, rows=rows),
            out=reweighted(self.out, columns=lambda t: t[:, :inputs]),
        )

    def masked(self, sizes: Sequence[Sizes], shares: Tensor) -> Self:
        """Exact for heads alone. Key heads are mixed as weights are: each is the shares' mean of what it is
        in every part."""
        out = masked(self.out, [s["heads"] for s in sizes], shares, each=self.head_width)
        if all(self._step(s) == 1 for s in sizes):
            return altered(self, out=out)
        mixing = self._mixing(sizes, shares)

        def rows(t: Tensor) -> Tensor:
            query, key, value = self._by_head(t)
            mixed = (torch.tensordot(mixing, part, dims=1) for part in (key, value))
            return torch.cat((query, *mixed)).flatten(0, 1)

        return altered(self, qkv=reweighted(self.qkv, rows=rows), out=out)

    def _mixing(self, sizes: Sequence[Sizes], shares: Tensor) -> Tensor:
        """What of each key head goes into each, (kv_heads, kv_heads): in a part, all of its group's first.

        Of key heads that a part lacks the query heads do not count there: they stay what they are.
        """
        own, group = range(self.kv_heads), self.heads // self.kv_heads
        firsts = [
            [g - g % step if g * group < part["heads"] else g for g in own]
            for part, step in zip(sizes, map(self._step, sizes), strict=True)
        ]
        taken = F.one_hot(torch.tensor(firsts, device=shares.device), self.kv_heads)
        mixing: Tensor = torch.tensordot(shares, taken.to(shares), dims=1)
        return mixing

    def _step(self, sizes: Sizes) -> int:
        """How many key heads one of a part stands for."""
        heads, kv_heads, group = sizes["heads"], sizes["kv_heads"], self.heads // self.kv_heads
        if heads % kv_heads or heads // kv_heads % group:
            raise SearchSpaceError(
                f"a slice of {heads} query heads with {kv_heads} key heads: each key head must serve a "
                f"multiple of the {group} that it serves in the whole"
            )
        return heads // kv_heads // group

    def _by_head(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        by_head = torch.unflatten(rows, 0, (-1, self.head_width))
        return by_head.tensor_split((self.heads, self.heads + self.kv_heads))  # type: ignore[return-value]


class Attention(_Heads):
    """Every token attends to itself and all before it. (batch, length, width) -> the same.

    Each of `kv_heads` key and value heads serves `heads / kv_heads` query heads: `heads` of them make
    multi-head attention (Vaswani et al. 2017), one makes multi-query attention (Shazeer 2019,
    arXiv:1911.02150), a number between them grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245).
    Heads fill the width unless `head_width` says how wide each is. Elastic in `heads` and `kv_heads`.

    Raises SearchSpaceError when the heads do not divide each other or the width.
    """

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


class BidirectionalAttention(_Heads):
    """Every token attends to every token, as in an encoder. (batch, length, width) -> the same.

    Heads, positions, sizes and errors are those of `Attention`. It reads what comes later, so it has no
    decode step.
    """

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
