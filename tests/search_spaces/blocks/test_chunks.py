"""Cutting, and states passed along, by hand."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.blocks.chunks import into_chunks, pass_states


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 20), chunk=st.integers(1, 8))
def test_chunks_are_the_tokens_in_order_and_zeros(length: int, chunk: int) -> None:
    x = torch.randn(2, length, 3)
    chunks = into_chunks(x, chunk)
    assert chunks.shape == (2, -(-length // chunk), chunk, 3)
    assert torch.equal(chunks.flatten(1, 2)[:, :length], x)
    assert chunks.flatten(1, 2)[:, length:].count_nonzero() == 0


def test_states_go_from_chunk_to_chunk() -> None:
    first, transitions, updates = torch.tensor([[7.0]]), torch.tensor([[[2.0], [3.0]]]), torch.ones(1, 2, 1)
    before, last = pass_states(lambda s, a, b: s * a + b, first, transitions, updates)
    assert before.tolist() == [[[7], [15]]]
    assert last.tolist() == [[46]]
