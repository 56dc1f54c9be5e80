"""Attention over all tokens against softmax under an explicit mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_cost_models import static_cost
from search_spaces import SearchSpaceError
from search_spaces.blocks import Attention, BidirectionalAttention
from search_spaces.decoding import Stateful
from tests.search_spaces.attention_reference import assert_same, distances, masked_attention, random_input
from tests.search_spaces.exporting import assert_prompts_agree

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEADS = 16, 4
both = pytest.mark.parametrize("kind", [Attention, BidirectionalAttention])


@both
@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 40), batch=st.integers(1, 3), kv_heads=st.sampled_from([1, 2, 4]))
def test_equals_explicit_softmax(
    kind: type[Attention | BidirectionalAttention], length: int, batch: int, kv_heads: int
) -> None:
    x = random_input(batch, length, WIDTH)
    block = kind(WIDTH, HEADS, kv_heads).double()
    seen = (distances(length) >= 0) | (kind is BidirectionalAttention)
    assert_same(block, block(x), masked_attention(block, x, kv_heads, seen), x)


def test_what_reads_the_future_has_no_decode_step() -> None:
    assert isinstance(Attention(WIDTH, HEADS, HEADS), Stateful)
    assert not isinstance(BidirectionalAttention(WIDTH, HEADS, HEADS), Stateful)


def test_bidirectional_attention_exports(tmp_path: Path) -> None:
    assert_prompts_agree(BidirectionalAttention(WIDTH, HEADS, 2).eval(), WIDTH, tmp_path)


def test_bidirectional_attention_is_priced() -> None:
    x = torch.randn(2, 10, WIDTH)
    projections = 2 * 2 * 10 * WIDTH * (WIDTH + 2 * 8 + WIDTH)
    scores_and_sums = 2 * 2 * HEADS * 10 * 10 * 4 * 2
    matmuls = projections + scores_and_sums
    assert matmuls <= static_cost(BidirectionalAttention(WIDTH, HEADS, 2), (x,)).flops <= 1.3 * matmuls


@both
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
def test_heads_that_do_not_fit(
    kind: type[Attention | BidirectionalAttention], heads: int, kv_heads: int, message: str
) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        kind(WIDTH, heads, kv_heads)
