"""The chunked state space against the recurrence that defines it."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from search_spaces import SearchSpaceError
from search_spaces.blocks import StateSpace
from tests.search_spaces import exporting
from tests.search_spaces.blocks import recurrent_mixers

WIDTH, HEADS, STATE, INNER = 8, 2, 3, 16


def recurrent(block: StateSpace, x: Tensor) -> Tensor:
    """Token by token and head by head, the convolution as a sum over what is there."""
    gate, convolved, steps = block.inputs(x).split((INNER, INNER + 2 * STATE, HEADS), dim=-1)
    steps = (1 + (steps + block.decay.bias).exp()).log()
    decay = torch.exp(-steps * block.decay.log_rate.exp())
    outputs = []
    states = [x.new_zeros(x.shape[0], INNER // HEADS, STATE)] * HEADS
    for t in range(x.shape[1]):
        seen = range(max(0, t - block.kernel + 1), t + 1)
        mixed = block.bias + sum(convolved[:, s] * block.taps[s - t - 1] for s in seen)
        value, key, query = (mixed * mixed.sigmoid()).split((INNER, STATE, STATE), dim=-1)
        heads = []
        for head, own in enumerate(value.chunk(HEADS, dim=-1)):
            written = torch.einsum("bp,bn->bpn", own, key) * steps[:, t, head, None, None]
            states[head] = decay[:, t, head, None, None] * states[head] + written
            heads.append(torch.einsum("bpn,bn->bp", states[head], query) + block.skip[head] * own)
        passed = torch.cat(heads, dim=-1) * gate[:, t] * gate[:, t].sigmoid()
        normed = passed * (passed.square().mean(-1, keepdim=True) + 1e-6) ** -0.5 * block.norm.scale
        outputs.append(block.out(normed))
    return torch.stack(outputs, dim=1)


def _block(chunk: int, kernel: int = 4) -> StateSpace:
    torch.manual_seed(chunk)
    block = StateSpace(WIDTH, HEADS, STATE, kernel=kernel, chunk=chunk).double()
    torch.nn.init.normal_(block.bias)
    torch.nn.init.normal_(block.decay.bias)  # steps long enough to forget, short enough to remember
    return block


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 30), batch=st.integers(1, 3), chunk=st.integers(1, 12), kernel=st.integers(1, 5))
def test_chunks_equal_the_recurrence(length: int, batch: int, chunk: int, kernel: int) -> None:
    block = _block(chunk, kernel)
    x = torch.randn(batch, length, WIDTH, dtype=torch.float64)
    recurrent_mixers.assert_equal_with_gradients(block, lambda x: recurrent(block, x), x)


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 40), data=st.data())
def test_causal_to_the_bit(length: int, data: st.DataObject) -> None:
    now = data.draw(st.integers(0, length - 1))
    recurrent_mixers.assert_causal(_block(8), torch.randn(2, length, WIDTH, dtype=torch.float64), now)


def test_finite_where_everything_is_forgotten_at_once() -> None:
    block = StateSpace(WIDTH, HEADS, STATE, chunk=16)
    torch.nn.init.constant_(block.decay.bias, 1e4)  # decays of exp(-10 000): their products divide by zero
    x = torch.randn(1, 40, WIDTH, requires_grad=True)
    y = block(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert all(tensor.grad.isfinite().all() for tensor in (x, *block.parameters()))


def test_costs_the_same_for_every_token() -> None:
    recurrent_mixers.assert_linear_cost(StateSpace(WIDTH, HEADS, STATE, chunk=8), WIDTH, chunk=8)


def test_exports_prefill_and_step(tmp_path: Path) -> None:
    torch.manual_seed(0)
    block = StateSpace(WIDTH, HEADS, STATE)
    exporting.assert_prompts_agree(block, WIDTH, tmp_path)
    exporting.assert_steps_agree(block, WIDTH, tmp_path)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"heads": 3}, "16 inner features do not split into 3 heads"),
        ({"heads": 0}, "0 heads"),
        ({"expansion": 0}, "0 inner features"),
        ({"state_width": 0}, "got 0, 4 and 32"),
        ({"kernel": 0}, "got 64, 0 and 32"),
        ({"chunk": 0}, "got 64, 4 and 0"),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        StateSpace(**{"width": WIDTH, "heads": HEADS, **sizes})
