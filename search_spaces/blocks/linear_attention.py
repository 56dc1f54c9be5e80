"""Linear attention: a state of fixed size in place of a cache that grows.

With φ(x) = elu(x) + 1 (Katharopoulos et al. 2020, "Transformers are RNNs", arXiv:2006.16236, eq. 16–20):

    S_t = S_{t-1} + φ(k_t) v_tᵀ      z_t = z_{t-1} + φ(k_t)      y_t = φ(q_t)ᵀ S_t / φ(q_t)ᵀ z_t

Computed chunk by chunk (Hua et al. 2022, arXiv:2202.10447, section 3.2): inside a chunk as masked attention,
across chunks through the running sum of the chunks' states; there is no loop over time. Where every token may
read all others, S and z are sums over all of them, and there are no chunks either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.attention import check_heads
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from search_spaces.decoding import State

_EPSILON = 1e-6
"""Keeps y_t finite where every φ(k) has underflowed to zero."""


class LinearAttention(nn.Module):
    """Every token reads a running summary of all before it. (batch, length, width) -> the same.

    `chunk` changes the speed and not the result. Raises SearchSpaceError for a chunk below one or heads that
    do not divide the width.
    """

    def __init__(self, width: int, heads: int, chunk: int = 32) -> None:
        super().__init__()
        check_heads(width, heads, heads)
        if chunk < 1:
            raise SearchSpaceError(f"a chunk holds at least one token, got {chunk}")
        self.heads = heads
        self.chunk = chunk
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._attend(self.qkv(x))

    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """A whole prompt: its output, and the sums over it."""
        qkv = self.qkv(x)
        _, key, value = (
            part.transpose(1, 2) for part in qkv.reshape(*x.shape[:2], 3, self.heads, -1).unbind(2)
        )
        sums = (F.elu(key) + 1).transpose(-1, -2) @ F.pad(value, (0, 1), value=1.0)
        return self._attend(qkv), (sums,)

    def _attend(self, qkv: Tensor) -> Tensor:
        length, width = qkv.shape[1], self.out.in_features
        padded = F.pad(qkv, (0, 0, 0, -length % self.chunk))
        query, key = self._chunks(F.elu(padded[..., : 2 * width]) + 1, parts=2)
        (value,) = self._chunks(padded[..., 2 * width :], parts=1)
        mixed = _attend(query, key, value).reshape(qkv.shape[0], self.heads, -1, width // self.heads)
        y: Tensor = self.out(mixed[:, :, :length].transpose(1, 2).flatten(2))
        return y

    state_names = ("sums",)

    def state(self, batch: int, context: int = 0) -> State:
        """[S | z], (batch, heads, features, features + 1), whatever the context."""
        features = self.out.in_features // self.heads
        return (self.out.weight.new_zeros(batch, self.heads, features, features + 1),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One more token, by the recurrence: (batch, 1, width) -> the same, and the sums with it."""
        batch, _, width = x.shape
        query, key, value = self.qkv(x).reshape(batch, 3, self.heads, -1).unbind(1)
        query, key = F.elu(query) + 1, F.elu(key) + 1
        sums = state[0] + key[..., None] * F.pad(value, (0, 1), value=1.0)[:, :, None]
        summed = (query[:, :, None] @ sums)[:, :, 0]
        mixed = summed[..., :-1] / (summed[..., -1:] + _EPSILON)
        return self.out(mixed.reshape(batch, 1, width)), (sums,)

    def _chunks(self, x: Tensor, parts: int) -> Tensor:
        """(batch, length, parts * width) -> (parts, batch, heads, chunks, chunk, features)."""
        features = x.shape[2] // (parts * self.heads)
        split = x.reshape(x.shape[0], -1, self.chunk, parts, self.heads, features)
        return split.permute(3, 0, 4, 1, 2, 5)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """y_t for every token, from φ(q), φ(k) and v, all of shape (batch, heads, chunks, chunk, features)."""
    value = F.pad(value, (0, 1), value=1.0)  # a column of ones turns S into [S | z]
    scores = query @ key.transpose(-1, -2)
    causal = torch.ones(scores.shape[-2:], dtype=scores.dtype, device=scores.device).tril()
    states = key.transpose(-1, -2) @ value
    before = F.pad(states, (0, 0, 0, 0, 1, 0)).cumsum(dim=2)[:, :, :-1]  # exactly causal: no subtraction
    summed = (scores * causal) @ value + query @ before
    return summed[..., :-1] / (summed[..., -1:] + _EPSILON)


class BidirectionalLinearAttention(nn.Module):
    """Every token reads a summary of all tokens. (batch, length, width) -> the same.

    Raises SearchSpaceError for heads that do not divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        check_heads(width, heads, heads)
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        split = torch.unflatten(self.qkv(x), -1, (3, self.heads, -1))
        query, key = (F.elu(split[:, :, :2]) + 1).permute(2, 0, 3, 1, 4).unbind()
        value = F.pad(split[:, :, 2], (0, 1), value=1.0).transpose(1, 2)  # a column of ones: [S | z]
        summed = query @ (key.transpose(-1, -2) @ value)
        mixed = summed[..., :-1] / (summed[..., -1:] + _EPSILON)
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y
