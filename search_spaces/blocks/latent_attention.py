"""Causal attention whose cache is one low-rank latent a token, shared by the keys and values of all heads.

DeepSeek-AI 2024, "DeepSeek-V2", arXiv:2405.04434, section 2.1. With a latent c_t = W_DKV x_t, `rank` wide:

    k_t,i = [W_UK,i c_t ; R_t W_KR x_t]     v_t,i = W_UV,i c_t     q_t,i = [W_Q,i x_t ; R_t W_QR,i x_t]

(eq. 9–11 and 14–19). The rotation R_t by the position is kept out of the latent, so that a score is
(W_UK,iᵀ q_t,i)ᵀ c_s: a decode step carries the up-projections over to the query and to the output, and reads
the latents as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.residual import RMSNorm
from search_spaces.blocks.rotary import rotate
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from search_spaces.decoding import State


class LatentAttention(nn.Module):
    """Every token attends to itself and all before it. (batch, length, width) -> the same.

    Each head has `width / heads` features without position, and as many values, and `rotary_width` features
    that are turned; the turned key is one for all heads. Queries are not compressed, as in DeepSeek-V2-Lite
    (appendix B); the latent is normalised (section 3.1.2).

    Raises SearchSpaceError for heads that do not divide the width, a rank below one or turned features that
    do not come in pairs.
    """

    def __init__(self, width: int, heads: int, rank: int, rotary_width: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise SearchSpaceError(f"width {width} does not split into {heads} heads")
        if rank < 1:
            raise SearchSpaceError(f"a latent has at least one feature, got rank {rank}")
        if rotary_width < 2 or rotary_width % 2:
            raise SearchSpaceError(f"turned features come in pairs, got a rotary width of {rotary_width}")
        self.heads = heads
        self.rank = rank
        self.rotary_width = rotary_width
        self.features = width // heads
        queries = heads * (self.features + rotary_width)
        self.queries_and_latent = nn.Linear(width, queries + rank + rotary_width, bias=False)
        self.norm = RMSNorm(rank)
        self.up = nn.Linear(rank, 2 * width, bias=False)  # W_UK and W_UV of head 0, then of head 1, …
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.prefill(x)[0]

    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """A whole prompt, with keys and values written out: its output, and the cache that it leaves."""
        query, turned, latent, shared = self._project(x, start=0)
        key, value = self.up(latent).reshape(*x.shape[:2], self.heads, -1).chunk(2, dim=-1)
        key = torch.cat((key, shared[:, :, None].expand(-1, -1, self.heads, -1)), dim=-1)
        query = torch.cat((query, turned), dim=-1)
        mixed = _attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        return self.out(mixed.transpose(1, 2).flatten(2)), (latent, shared)

    state_names = ("latent", "rotary_key")

    def state(self, batch: int, context: int = 0) -> State:
        """Latents, (batch, context, rank), and turned keys, (batch, context, rotary_width).

        That is less than the 2 · width / heads features a token of multi-query attention where `rank` and
        `rotary_width` together are less. DeepSeek-V2 takes 4 and 1/2 times width / heads, which is what
        grouped-query attention with 2.25 key heads keeps, and scores no worse than all heads (table 1).
        """
        weight = self.up.weight
        return weight.new_zeros(batch, context, self.rank), weight.new_zeros(
            batch, context, self.rotary_width
        )

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One more token: (batch, 1, width) -> the same, and the cache one token longer.

        Each cached token costs each head rank + rotary_width multiplications for its score and rank for its
        share: no key and no value is written out.
        """
        latents, shared_keys = state
        query, turned, latent, shared = self._project(x, start=latents.shape[1])
        latents, shared_keys = torch.cat((latents, latent), dim=1), torch.cat((shared_keys, shared), dim=1)
        up_key, up_value = self.up.weight.reshape(self.heads, -1, self.rank).chunk(2, dim=1)
        carried = (query.transpose(0, 2)[:, 0] @ up_key).transpose(0, 1)  # (batch, heads, rank)
        scores = carried @ latents.transpose(1, 2) + turned[:, 0] @ shared_keys.transpose(1, 2)
        weights = (scores * (self.features + self.rotary_width) ** -0.5).softmax(dim=-1)
        read = (weights @ latents).transpose(0, 1)  # (heads, batch, rank)
        mixed = (read @ up_value.transpose(1, 2)).transpose(0, 1).flatten(1)
        return self.out(mixed[:, None]), (latents, shared_keys)

    def _project(self, x: Tensor, start: int) -> tuple[Tensor, ...]:
        """Queries without position and turned ones, latents and turned keys, for tokens from `start` on.

        (batch, length, width) -> two of (batch, length, heads, features or rotary_width), and two of
        (batch, length, rank or rotary_width).
        """
        batch, length, _ = x.shape
        queries, latent, shared = self.queries_and_latent(x).split_with_sizes(
            (self.heads * (self.features + self.rotary_width), self.rank, self.rotary_width), dim=-1
        )
        query, turned = queries.reshape(batch, length, self.heads, -1).split_with_sizes(
            (self.features, self.rotary_width), dim=-1
        )
        both = rotate(torch.cat((turned, shared[:, :, None]), dim=2), start)
        return query, both[:, :, :-1], self.norm(latent), both[:, :, -1]


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention with values narrower than keys, all (batch, heads, length, their features).

    PyTorch's fused kernels want one width: with zeros behind the values they take less than a third of the
    time, forward and backward, and memory linear in the length. An exported graph has no use for the zeros.
    """
    if torch.compiler.is_exporting():
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    padded = F.pad(value, (0, key.shape[-1] - value.shape[-1]))
    return F.scaled_dot_product_attention(query, key, padded, is_causal=True)[..., : value.shape[-1]]
