"""Decays and states between chunks, against products and loops."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.blocks.chunks import decay_between, into_chunks, pass_states


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 20), chunk=st.integers(1, 8))
def test_chunks_are_the_tokens_in_order_and_zeros(length: int, chunk: int) -> None:
    x = torch.randn(2, length, 3)
    chunks = into_chunks(x, chunk)
    assert chunks.shape == (2, -(-length // chunk), chunk, 3)
    assert torch.equal(chunks.flatten(1, 2)[:, :length], x)
    assert chunks.flatten(1, 2)[:, length:].count_nonzero() == 0


def test_decay_is_the_product_of_the_decays_on_the_way() -> None:
    torch.manual_seed(0)
    decays = torch.rand(2, 6, dtype=torch.float64)
    between = decay_between(decays.log().cumsum(-1))
    for t in range(6):
        for s in range(6):
            expected = decays[:, s + 1 : t + 1].prod(-1) if s <= t else torch.zeros(2, dtype=torch.float64)
            torch.testing.assert_close(between[:, t, s], expected)


def test_what_is_forgotten_at_once_divides_nothing() -> None:
    logarithms = torch.full((4,), -1e5, requires_grad=True)
    between = decay_between(logarithms.cumsum(-1))
    assert torch.equal(between, torch.eye(4))
    between.sum().backward()
    assert logarithms.grad.isfinite().all()


def test_states_go_from_chunk_to_chunk() -> None:
    first, transitions, updates = torch.tensor([[7.0]]), torch.tensor([[[2.0], [3.0]]]), torch.ones(1, 2, 1)
    before, last = pass_states(lambda s, a, b: s * a + b, first, transitions, updates)
    assert before.tolist() == [[[7], [15]]]
    assert last.tolist() == [[46]]
