"""Banded windows against attention under an explicit mask: to one side, with or without sinks, and both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hw_cost_models import static_cost
from search_spaces import SearchSpaceError
from search_spaces.blocks import Attention, BidirectionalAttention, LocalAttention, SlidingWindowAttention
from search_spaces.decoding import Stateful
from tests.search_spaces.attention_reference import (
    assert_same,
    distances,
    masked_attention,
    random_input,
    split_heads,
    turned,
)
from tests.search_spaces.exporting import assert_prompts_agree, assert_steps_agree

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEADS = 16, 4


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 40), batch=st.integers(1, 3), window=st.integers(1, 12))
def test_a_window_equals_masked_attention(length: int, batch: int, window: int) -> None:
    x = random_input(batch, length, WIDTH)
    block = SlidingWindowAttention(WIDTH, HEADS, window).double()
    seen = (distances(length) >= 0) & (distances(length) < window)
    assert_same(block, block(x), masked_attention(block, x, HEADS, seen), x)


def with_sinks(block: SlidingWindowAttention, x: Tensor) -> Tensor:
    """One attention over [sinks | sequence]: a query and a sink meet unturned, in features of their own."""
    batch, length, _ = x.shape
    query, key, value = split_heads(block.qkv(x), HEADS, HEADS)
    sinks = block.sink_keys.shape[1]
    keys, values = (s.expand(batch, HEADS, sinks, -1) for s in (block.sink_keys, block.sink_values))
    both = F.scaled_dot_product_attention(
        torch.cat((query, turned(query)), dim=-1),
        torch.cat((F.pad(keys, (0, 4)), F.pad(turned(key), (4, 0))), dim=2),
        torch.cat((values, value), dim=2),
        attn_mask=F.pad(
            (distances(length) >= 0) & (distances(length) < block.window), (sinks, 0), value=True
        ),
        scale=4**-0.5,
    )
    return block.out(both.transpose(1, 2).flatten(2))


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 40), window=st.integers(1, 12), sinks=st.integers(1, 5))
def test_sinks_equal_attention_to_sinks_and_sequence(length: int, window: int, sinks: int) -> None:
    x = random_input(2, length, WIDTH)
    block = SlidingWindowAttention(WIDTH, HEADS, window, sinks).double()
    assert_same(block, block(x), with_sinks(block, x), x)


def test_sinks_cost_parameters_and_no_state() -> None:
    without, with_them = (SlidingWindowAttention(WIDTH, HEADS, 5, sinks) for sinks in (0, 3))
    assert set(with_them.state_dict()) - set(without.state_dict()) == {"sink_keys", "sink_values"}
    assert [t.shape for t in with_them.state(2, 9)] == [t.shape for t in without.state(2, 9)]


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 40), window=st.integers(1, 12), kv_heads=st.sampled_from([1, 2, 4]))
def test_a_window_to_both_sides_equals_masked_attention(length: int, window: int, kv_heads: int) -> None:
    x = random_input(2, length, WIDTH)
    block = LocalAttention(WIDTH, HEADS, kv_heads, window).double()
    seen = distances(length).abs() < window
    assert_same(block, block(x), masked_attention(block, x, kv_heads, seen), x)


def test_a_window_as_long_as_the_text_is_full_attention() -> None:
    x = torch.randn(2, 33, WIDTH)
    for full, window in (
        (Attention(WIDTH, HEADS, HEADS), SlidingWindowAttention(WIDTH, HEADS, window=50)),
        (BidirectionalAttention(WIDTH, HEADS, 2), LocalAttention(WIDTH, HEADS, 2, window=50)),
    ):
        window.load_state_dict(full.state_dict())
        torch.testing.assert_close(window(x), full(x))


def test_what_reads_the_future_has_no_decode_step() -> None:
    assert isinstance(SlidingWindowAttention(WIDTH, HEADS, 5), Stateful)
    assert not isinstance(LocalAttention(WIDTH, HEADS, HEADS, 5), Stateful)


def test_a_window_with_sinks_exports(tmp_path: Path) -> None:
    block = SlidingWindowAttention(WIDTH, HEADS, window=8, sinks=2).eval()
    assert_prompts_agree(block, WIDTH, tmp_path)
    assert_steps_agree(block, WIDTH, tmp_path)


def test_a_window_to_both_sides_exports(tmp_path: Path) -> None:
    assert_prompts_agree(LocalAttention(WIDTH, HEADS, 2, window=8).eval(), WIDTH, tmp_path)


@pytest.mark.parametrize(
    "block", [SlidingWindowAttention(WIDTH, HEADS, 8, sinks=2), LocalAttention(WIDTH, HEADS, 2, 8)]
)
def test_twice_the_length_costs_twice_as_much(block: torch.nn.Module) -> None:
    once, twice = (static_cost(block, (torch.randn(1, length, WIDTH),)).flops for length in (64, 128))
    assert twice == pytest.approx(2 * once, rel=0.01)


@pytest.mark.parametrize("build", [SlidingWindowAttention, lambda *a: LocalAttention(*a[:2], HEADS, a[2])])
def test_a_window_must_hold_the_token(build: type[SlidingWindowAttention]) -> None:
    with pytest.raises(SearchSpaceError, match="got 0"):
        build(WIDTH, HEADS, 0)


def test_sinks_cannot_be_fewer_than_none() -> None:
    with pytest.raises(SearchSpaceError, match="got -1"):
        SlidingWindowAttention(WIDTH, HEADS, 4, sinks=-1)
