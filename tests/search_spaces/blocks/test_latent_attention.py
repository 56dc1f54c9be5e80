"""Latent attention against its equations, one head at a time, and its absorbed step against its forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hw_cost_models import static_cost
from search_spaces import Decoder, SearchSpaceError
from search_spaces.blocks import Attention, LatentAttention
from tests.search_spaces.attention_reference import assert_same, distances, random_input, turned
from tests.search_spaces.exporting import assert_prompts_agree, assert_steps_agree

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEADS, FEATURES = 16, 2, 8


def explicit(block: LatentAttention, x: Tensor) -> Tensor:
    """Eq. 9–19 of DeepSeek-V2, every head with keys and values of its own."""
    rank, rotary = block.rank, block.rotary_width
    projected = x @ block.queries_and_latent.weight.T
    queries, latent, shared = projected.split([HEADS * (FEATURES + rotary), rank, rotary], dim=-1)
    latent = F.rms_norm(latent, (rank,), block.norm.scale, eps=1e-6)
    shared = turned(shared[:, None])[:, 0]
    mixed = []
    for query, up in zip(queries.chunk(HEADS, dim=-1), block.up.weight.chunk(HEADS), strict=True):
        free, bound = query.split([FEATURES, rotary], dim=-1)
        query = torch.cat((free, turned(bound[:, None])[:, 0]), dim=-1)
        key, value = latent @ up[:FEATURES].T, latent @ up[FEATURES:].T
        key = torch.cat((key, shared), dim=-1)
        seen = distances(x.shape[1]) >= 0
        mixed.append(F.scaled_dot_product_attention(query, key, value, attn_mask=seen))
    return block.out(torch.cat(mixed, dim=-1))


@settings(max_examples=15, deadline=None)
@given(
    length=st.integers(1, 40),
    batch=st.integers(1, 3),
    rank=st.integers(1, 20),
    rotary=st.sampled_from([2, 4, 10]),
)
def test_equals_its_equations(length: int, batch: int, rank: int, rotary: int) -> None:
    x = random_input(batch, length, WIDTH)
    block = LatentAttention(WIDTH, HEADS, rank, rotary).double()
    assert_same(block, block(x), explicit(block, x), x)


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 20), batch=st.integers(1, 3), rank=st.integers(1, 20))
def test_the_absorbed_step_equals_the_expanded_forward(length: int, batch: int, rank: int) -> None:
    x = random_input(batch, length, WIDTH)
    block = LatentAttention(WIDTH, HEADS, rank, rotary_width=4).double()
    state, outputs = block.state(batch), []
    for token in x.split(1, dim=1):
        y, state = block.step(token, state)
        outputs.append(y)
    assert_same(block, torch.cat(outputs, dim=1), block(x), x)


def _state_bytes(block: Attention | LatentAttention, context: int) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in block.state(1, context))


def test_keeps_less_than_multi_query_attention_where_it_is_narrower_than_two_heads() -> None:
    narrow, published = (LatentAttention(WIDTH, HEADS, rank, 4) for rank in (8, 32))
    multi_query, all_heads = Attention(WIDTH, HEADS, 1), Attention(WIDTH, HEADS, HEADS)
    assert _state_bytes(narrow, 100) == 4 * 100 * (8 + 4) < _state_bytes(multi_query, 100) == 4 * 100 * 2 * 8
    assert _state_bytes(published, 100) == 2.25 * _state_bytes(multi_query, 100)  # DeepSeek-V2's table 1
    assert _state_bytes(LatentAttention(WIDTH, HEADS, 20, 4), 100) < _state_bytes(all_heads, 100)


def test_a_cached_token_costs_the_rank_and_not_the_heads_times_their_features() -> None:
    rank, rotary = 4, 2
    decoder = Decoder(torch.nn.Sequential(LatentAttention(WIDTH, HEADS, rank, rotary)))
    short, long = (
        static_cost(decoder, (torch.randn(1, 1, WIDTH), *decoder.state(1, context))).flops
        for context in (100, 200)
    )
    products = 2 * HEADS * (2 * rank + rotary)
    assert products <= (long - short) / 100 <= products + 20 * HEADS  # the rest is softmax
    written_out = 2 * rank * 2 * WIDTH
    assert (long - short) / 100 < written_out


def test_exports(tmp_path: Path) -> None:
    block = LatentAttention(WIDTH, HEADS, rank=6, rotary_width=4).eval()
    assert_prompts_agree(block, WIDTH, tmp_path)
    assert_steps_agree(block, WIDTH, tmp_path)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((3, 4, 4), "width 16 does not split into 3 heads"),
        ((0, 4, 4), "0 heads"),
        ((2, 0, 4), "got rank 0"),
        ((2, 4, 3), "a rotary width of 3"),
        ((2, 4, 0), "a rotary width of 0"),
    ],
)
def test_sizes_that_do_not_fit(sizes: tuple[int, int, int], message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        LatentAttention(WIDTH, *sizes)
