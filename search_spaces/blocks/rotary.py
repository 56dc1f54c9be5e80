"""Rotary positions: the position of a token as an angle by which its query and key are turned.

Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding", arXiv:2104.09864, eq. 34.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BASE = 10_000.0
"""RoFormer, section 3.3: the slowest pair of features turns once in about 2π · 10 000 tokens."""


def rotate(x: Tensor, start: int = 0) -> Tensor:
    """Turn each head's features by their position. (batch, length, heads, even features) -> same.

    `start` is the position of the first token.

    The angles are computed for the length at hand and not kept in a table, so no length is too long and
    an exported graph keeps its length free.
    """
    length, features = x.shape[1], x.shape[3]
    half = torch.arange(features // 2, device=x.device, dtype=torch.float32)
    frequencies = _BASE ** (-2.0 / features * half)
    positions = start + torch.arange(length, device=x.device, dtype=torch.float32)
    angles = (positions[:, None] * frequencies)[:, None]  # (length, 1, features / 2)
    cosine = torch.cat((angles.cos(), angles.cos()), dim=-1).to(x.dtype)
    sine = torch.cat((-angles.sin(), angles.sin()), dim=-1).to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cosine, torch.cat((second, first), dim=-1), sine)
