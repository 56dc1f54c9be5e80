"""How heads of a recurrent mixer forget: decays that depend on the token, and their products over tokens."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SHORTEST_STEP, _LONGEST_STEP = 1e-3, 1e-1
_FASTEST_RATE = 16.0
"""Where training begins, as in Mamba-2: steps log-uniform between these, rates uniform from 1 to this."""


class Decay(nn.Module):
    """A step Δ = softplus(x + bias) > 0 and the logarithm of a decay, -Δ · rate, for each token and head.

    (..., heads) -> two of the same. Gu and Dao 2023, arXiv:2312.00752, section 3.6, with one rate a head as
    Dao and Gu 2024, arXiv:2405.21060.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        steps = torch.empty(heads).uniform_(math.log(_SHORTEST_STEP), math.log(_LONGEST_STEP)).exp()
        self.bias = nn.Parameter(steps.expm1().log())
        self.log_rate = nn.Parameter(torch.empty(heads).uniform_(1, _FASTEST_RATE).log())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        steps = F.softplus(x + self.bias)
        return steps, steps * -self.log_rate.exp()


def decay_between(summed: Tensor) -> Tensor:
    """How much of what token s wrote is left at token t: (..., chunk) -> (..., chunk of t, chunk of s).

    `summed` are sums over the logarithms of the tokens' decays from the first of the chunk on. Exactly zero
    for s after t. A difference and not a quotient of decays, which underflow: no part of it exceeds one.
    """
    chunk = summed.shape[-1]
    future = torch.full((chunk, chunk), -torch.inf, dtype=summed.dtype, device=summed.device).triu(1)
    return (summed[..., :, None] - summed[..., None, :] + future).exp()
