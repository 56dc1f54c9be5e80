"""Attention to own block and summaries against attention under the mask of the paper's two sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hw_cost_models import static_cost
from search_spaces import Decoder, SearchSpaceError
from search_spaces.blocks import Attention, BlockSparseAttention
from tests.search_spaces.attention_reference import assert_same, masked_attention, random_input
from tests.search_spaces.exporting import assert_prompts_agree, assert_steps_agree

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEADS = 16, 2


def fixed_pattern(length: int, block: int, summary: int) -> Tensor:
    """Child et al., section 4.2: pairs (i, j) in A(1) or A(2), one by one."""
    return torch.tensor(
        [
            [j <= i and (j // block == i // block or j % block >= block - summary) for j in range(length)]
            for i in range(length)
        ]
    )


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 40), batch=st.integers(1, 3), data=st.data())
def test_equals_masked_attention(length: int, batch: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 12))
    summary = data.draw(st.integers(1, size))
    x = random_input(batch, length, WIDTH)
    block = BlockSparseAttention(WIDTH, HEADS, size, summary).double()
    assert_same(block, block(x), masked_attention(block, x, HEADS, fixed_pattern(length, size, summary)), x)


@pytest.mark.parametrize(("size", "summary"), [(40, 1), (5, 5)])
def test_one_block_or_whole_summaries_are_full_attention(size: int, summary: int) -> None:
    full, sparse = Attention(WIDTH, HEADS, HEADS), BlockSparseAttention(WIDTH, HEADS, size, summary)
    sparse.load_state_dict(full.state_dict())
    x = torch.randn(2, 33, WIDTH)
    torch.testing.assert_close(sparse(x), full(x))


def test_memory_is_that_of_own_blocks_and_summaries() -> None:
    block = BlockSparseAttention(WIDTH, HEADS, block=32, summary=2)
    scores = {length: 4 * HEADS * length * (32 + length // 32 * 2) for length in (1024, 4096)}
    near, far = (static_cost(block, (torch.randn(1, n, WIDTH),)).peak_activation_bytes for n in scores)
    assert far - near < 2 * (scores[4096] - scores[1024])
    assert far < 4 * HEADS * 4096**2 / 10, "a tenth of one full matrix a head"


def test_a_step_costs_the_summaries_and_not_the_context() -> None:
    block = BlockSparseAttention(WIDTH, HEADS, block=32, summary=2)
    decoder = Decoder(nn.Sequential(block))
    near, far = (
        static_cost(decoder, (torch.randn(1, 1, WIDTH), *decoder.state(1, context))).flops
        for context in (1024, 4096)
    )
    products = 2 * 2 * WIDTH * (4096 - 1024) // 32 * 2
    assert products <= far - near <= 1.5 * products  # the rest is softmax


@pytest.mark.parametrize(
    ("context", "summaries", "own"), [(0, 0, 0), (1, 0, 1), (8, 0, 8), (9, 3, 1), (16, 3, 8), (4096, 1533, 8)]
)
def test_state_is_the_own_block_and_the_summaries_before_it(context: int, summaries: int, own: int) -> None:
    state = BlockSparseAttention(WIDTH, HEADS, block=8, summary=3).state(2, context)
    assert [tuple(t.shape) for t in state] == [(2, HEADS, n, 8) for n in (summaries, summaries, own, own)]


def test_exports(tmp_path: Path) -> None:
    block = BlockSparseAttention(WIDTH, HEADS, block=8, summary=3).eval()
    assert_prompts_agree(block, WIDTH, tmp_path)
    assert_steps_agree(block, WIDTH, tmp_path)


@pytest.mark.parametrize(("block", "summary"), [(4, 0), (4, 5), (0, 0), (0, 1)])
def test_a_summary_is_part_of_its_block(block: int, summary: int) -> None:
    with pytest.raises(SearchSpaceError, match=f"block of {block}, got {summary}"):
        BlockSparseAttention(WIDTH, HEADS, block, summary)
