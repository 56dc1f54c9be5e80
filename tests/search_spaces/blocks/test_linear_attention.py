"""Chunked linear attention against the recurrence that defines it, and both-sided against scores in full."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from search_spaces import SearchSpaceError
from search_spaces.blocks import BidirectionalLinearAttention, LinearAttention
from search_spaces.decoding import Stateful
from tests.search_spaces import exporting
from tests.search_spaces.blocks import recurrent_mixers

WIDTH, HEADS, FEATURES = 16, 2, 8


def recurrent(block: LinearAttention, x: Tensor) -> Tensor:
    """Token by token, with a state of one matrix and one vector a head."""
    batch, length, _ = x.shape
    query, key, value = (t.reshape(batch, length, HEADS, FEATURES) for t in block.qkv(x).chunk(3, dim=-1))
    query, key = (torch.where(t > 0, t + 1, t.exp()) for t in (query, key))
    state, total = torch.zeros(batch, HEADS, FEATURES, FEATURES), torch.zeros(batch, HEADS, FEATURES)
    outputs = []
    for t in range(length):
        state = state + key[:, t, :, :, None] * value[:, t, :, None, :]
        total = total + key[:, t]
        read = (query[:, t, :, :, None] * state).sum(2) / (query[:, t] * total).sum(-1, keepdim=True)
        outputs.append(read.flatten(1))
    return block.out(torch.stack(outputs, dim=1))


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 40), batch=st.integers(1, 3), chunk=st.integers(1, 16))
def test_chunks_equal_the_recurrence(length: int, batch: int, chunk: int) -> None:
    torch.manual_seed(length)
    block, x = LinearAttention(WIDTH, HEADS, chunk), torch.randn(batch, length, WIDTH)
    torch.testing.assert_close(block(x), recurrent(block, x), atol=1e-5, rtol=1e-4)


def test_finite_where_all_features_underflow() -> None:
    block = LinearAttention(WIDTH, HEADS)
    torch.nn.init.constant_(block.qkv.weight, -100.0)
    x = torch.ones(1, 5, WIDTH, requires_grad=True)
    block(x).sum().backward()
    assert x.grad.isfinite().all()


def test_a_chunk_must_hold_a_token() -> None:
    with pytest.raises(SearchSpaceError, match="got 0"):
        LinearAttention(WIDTH, HEADS, chunk=0)


def in_full(block: BidirectionalLinearAttention, x: Tensor) -> Tensor:
    """Every score of every pair of tokens, each row over its sum and the 1e-6 that keeps it from zero."""
    query, key, value = (t.unflatten(-1, (HEADS, FEATURES)) for t in block.qkv(x).chunk(3, dim=-1))
    query, key = (torch.where(t > 0, t + 1, t.exp()) for t in (query, key))
    scores = torch.einsum("bthf,bshf->bhts", query, key)
    shares = scores / (scores.sum(-1, keepdim=True) + 1e-6)
    return block.out(torch.einsum("bhts,bshf->bthf", shares, value).flatten(2))


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 40), batch=st.integers(1, 3))
def test_both_sided_equals_scores_in_full(length: int, batch: int) -> None:
    torch.manual_seed(length)
    block, x = BidirectionalLinearAttention(WIDTH, HEADS), torch.randn(batch, length, WIDTH)
    recurrent_mixers.assert_equal_with_gradients(block.double(), lambda x: in_full(block, x), x.double())


def test_both_sided_costs_the_same_for_every_token() -> None:
    recurrent_mixers.assert_linear_cost(BidirectionalLinearAttention(WIDTH, HEADS), WIDTH, chunk=32)


def test_both_sided_exports_and_has_no_next_token(tmp_path: Path) -> None:
    torch.manual_seed(0)
    block = BidirectionalLinearAttention(WIDTH, HEADS)
    assert not isinstance(block, Stateful)
    exporting.assert_prompts_agree(block, WIDTH, tmp_path)


def test_both_sided_heads_divide_the_width() -> None:
    with pytest.raises(SearchSpaceError, match="width 16 does not split into 3 heads"):
        BidirectionalLinearAttention(WIDTH, heads=3)
