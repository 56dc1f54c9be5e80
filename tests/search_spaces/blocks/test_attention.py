"""Attention against softmax written out, with rotary positions as complex numbers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from search_spaces import SearchSpaceError
from search_spaces.blocks import Attention, SlidingWindowAttention

WIDTH, HEADS, FEATURES = 16, 4, 4


def turned(x: Tensor) -> Tensor:
    """RoFormer's eq. 34: the pair (j, j + features / 2) times exp(i m θ_j). (batch, heads, length, f)."""
    first, second = x.chunk(2, dim=-1)
    theta = torch.tensor([10_000 ** (-2 * j / FEATURES) for j in range(FEATURES // 2)])
    angle = torch.arange(x.shape[2])[:, None] * theta
    product = torch.complex(first, second) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((product.real, product.imag), dim=-1)


def explicit(block: Attention | SlidingWindowAttention, x: Tensor, kv_heads: int, window: int) -> Tensor:
    """Softmax over a full matrix, masked to the `window` last positions, keys repeated for their queries."""
    batch, length, _ = x.shape
    parts = block.qkv(x).split((WIDTH, kv_heads * FEATURES, kv_heads * FEATURES), dim=-1)
    query, key, value = (t.reshape(batch, length, -1, FEATURES).transpose(1, 2) for t in parts)
    key, value = (t.repeat_interleave(HEADS // kv_heads, dim=1) for t in (turned(key), value))
    distance = torch.arange(length)[:, None] - torch.arange(length)
    seen = (distance >= 0) & (distance < window)
    scores = (turned(query) @ key.transpose(2, 3) / FEATURES**0.5).masked_fill(~seen, -torch.inf)
    return block.out((scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, WIDTH))


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 40), batch=st.integers(1, 3), kv_heads=st.sampled_from([1, 2, 4]))
def test_attention_equals_explicit_softmax(length: int, batch: int, kv_heads: int) -> None:
    torch.manual_seed(length)
    block, x = Attention(WIDTH, HEADS, kv_heads), torch.randn(batch, length, WIDTH)
    torch.testing.assert_close(block(x), explicit(block, x, kv_heads, window=length))


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 40), batch=st.integers(1, 3), window=st.integers(1, 12))
def test_banded_window_equals_masked_attention(length: int, batch: int, window: int) -> None:
    torch.manual_seed(length)
    block, x = SlidingWindowAttention(WIDTH, HEADS, window), torch.randn(batch, length, WIDTH)
    torch.testing.assert_close(block(x), explicit(block, x, HEADS, window))


def test_banded_window_gives_the_gradients_of_masked_attention() -> None:
    torch.manual_seed(0)
    block, x = SlidingWindowAttention(WIDTH, HEADS, window=4), torch.randn(2, 11, WIDTH)
    gradients = [
        torch.autograd.grad(output.square().sum(), list(block.parameters()))
        for output in (block(x), explicit(block, x, HEADS, window=4))
    ]
    for banded, masked in zip(*gradients, strict=True):
        torch.testing.assert_close(banded, masked)


def test_a_window_as_long_as_the_text_is_full_attention() -> None:
    full, window = Attention(WIDTH, HEADS, HEADS), SlidingWindowAttention(WIDTH, HEADS, window=50)
    window.load_state_dict(full.state_dict())
    x = torch.randn(2, 33, WIDTH)
    torch.testing.assert_close(window(x), full(x))


@pytest.mark.parametrize(
    ("heads", "kv_heads", "message"),
    [
        (3, 3, "width 16 does not split into 3 heads"),
        (16, 16, "heads of an even width"),
        (0, 1, "0 heads"),
        (4, 3, "4 query heads cannot share 3 key heads"),
        (4, 0, "cannot share 0"),
    ],
)
def test_heads_that_do_not_fit(heads: int, kv_heads: int, message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        Attention(WIDTH, heads, kv_heads)


def test_a_window_must_hold_the_token() -> None:
    with pytest.raises(SearchSpaceError, match="got 0"):
        SlidingWindowAttention(WIDTH, HEADS, window=0)
