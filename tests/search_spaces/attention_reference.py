"""Attention written out: rotary positions as complex numbers, softmax over a full matrix under a mask."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
"""Blocks and reference round their angles to fp32, each in its own way."""


def turned(x: Tensor) -> Tensor:
    """RoFormer's eq. 34: the pair (j, j + features / 2) times exp(i m θ_j). (batch, heads, length, f)."""
    first, second = x.chunk(2, dim=-1)
    features = x.shape[-1]
    theta = torch.tensor([10_000 ** (-2 * j / features) for j in range(features // 2)], dtype=x.dtype)
    angle = torch.arange(x.shape[2])[:, None] * theta
    product = torch.complex(first, second) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((product.real, product.imag), dim=-1)


def split_heads(qkv: Tensor, heads: int, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value, not turned, keys and values repeated: three of (batch, heads, length, f)."""
    batch, length, width = qkv.shape
    features = width // (heads + 2 * kv_heads)
    parts = qkv.split([count * features for count in (heads, kv_heads, kv_heads)], dim=-1)
    query, key, value = (t.reshape(batch, length, -1, features).transpose(1, 2) for t in parts)
    return query, *(t.repeat_interleave(heads // kv_heads, dim=1) for t in (key, value))


def masked_attention(block: nn.Module, x: Tensor, kv_heads: int, seen: Tensor) -> Tensor:
    """What a block with `qkv` and `out` computes when query i sees the keys j of `seen[i, j]`."""
    query, key, value = split_heads(block.qkv(x), block.heads, kv_heads)
    mixed = F.scaled_dot_product_attention(turned(query), turned(key), value, attn_mask=seen)
    return block.out(mixed.transpose(1, 2).flatten(2))


def distances(length: int) -> Tensor:
    """How far before query i key j stands: (length, length)."""
    return torch.arange(length)[:, None] - torch.arange(length)


def assert_same(block: nn.Module, y: Tensor, reference: Tensor, x: Tensor) -> None:
    """Outputs, and the gradients of the input and of every parameter."""
    torch.testing.assert_close(y, reference, **TOLERANCE)
    weight = torch.randn(y.shape, dtype=y.dtype)
    ours, theirs = (
        torch.autograd.grad((output * weight).sum(), [x, *block.parameters()]) for output in (y, reference)
    )
    for fast, naive in zip(ours, theirs, strict=True):
        torch.testing.assert_close(fast, naive, **TOLERANCE)


def random_input(batch: int, length: int, width: int) -> Tensor:
    torch.manual_seed(length)
    return torch.randn(batch, length, width, dtype=torch.float64, requires_grad=True)
