"""The chunked gated delta rule against the recurrence that defines it."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from search_spaces import SearchSpaceError
from search_spaces.blocks import GatedDeltaNet
from tests.search_spaces import exporting
from tests.search_spaces.blocks import recurrent_mixers

WIDTH, HEADS, FEATURES = 12, 2, 6


def recurrent(block: GatedDeltaNet, x: Tensor) -> Tensor:
    """Token by token and head by head, S as in the paper, its decay and its erasure as matrices."""
    mixed, gate, decays, strengths = block.inputs(x).split((3 * WIDTH, WIDTH, HEADS, HEADS), dim=-1)
    decays = torch.exp(-(1 + (decays + block.decay.bias).exp()).log() * block.decay.log_rate.exp())
    strengths = 1 / (1 + (-strengths).exp())
    identity = torch.eye(FEATURES, dtype=x.dtype)
    states = [x.new_zeros(x.shape[0], FEATURES, FEATURES)] * HEADS
    outputs = []
    for t in range(x.shape[1]):
        seen = range(max(0, t - block.kernel + 1), t + 1)
        qkv = sum(mixed[:, s] * block.taps[s - t - 1] for s in seen)
        qkv = (qkv * qkv.sigmoid()).unflatten(-1, (3, HEADS, FEATURES))
        heads = []
        for head in range(HEADS):
            query, key, value = qkv[:, :, head].unbind(1)
            query, key = (part / (part.square().sum(-1, keepdim=True) + 1e-6).sqrt() for part in (query, key))
            a, b = decays[:, t, head, None, None], strengths[:, t, head, None, None]
            erase = identity - b * key[:, :, None] * key[:, None]
            states[head] = a * states[head] @ erase + b * value[:, :, None] * key[:, None]
            read = (states[head] @ query[:, :, None])[..., 0]
            heads.append(read * (read.square().mean(-1, keepdim=True) + 1e-6) ** -0.5 * block.norm.scale)
        outputs.append(block.out(torch.cat(heads, dim=-1) * gate[:, t] * gate[:, t].sigmoid()))
    return torch.stack(outputs, dim=1)


def _block(chunk: int, kernel: int = 4) -> GatedDeltaNet:
    torch.manual_seed(chunk)
    block = GatedDeltaNet(WIDTH, HEADS, kernel, chunk).double()
    torch.nn.init.normal_(block.decay.bias, -2)  # decays strong enough to forget, weak enough to remember
    torch.nn.init.normal_(block.norm.scale)
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


def test_right_where_one_token_repeats_and_overwrites_itself_in_full() -> None:
    block = _block(64)
    x = torch.randn(1, 1, WIDTH, dtype=torch.float64).expand(1, 100, WIDTH)
    block.decay.log_rate.data.fill_(-20)  # nothing decays
    block.inputs.weight.data[-HEADS:] = 100 * x[0, 0]  # b = 1
    with torch.no_grad():
        torch.testing.assert_close(block.float()(x.float()), recurrent(block.double(), x).float())


def test_finite_where_everything_is_forgotten_at_once() -> None:
    block = GatedDeltaNet(WIDTH, HEADS, chunk=16)
    torch.nn.init.constant_(block.decay.bias, 1e4)
    x = torch.zeros(1, 40, WIDTH)
    x[:, ::3] = 1  # keys of length zero between
    x.requires_grad_()
    y = block(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert all(tensor.grad.isfinite().all() for tensor in (x, *block.parameters()))


def test_costs_the_same_for_every_token() -> None:
    recurrent_mixers.assert_linear_cost(GatedDeltaNet(WIDTH, HEADS, chunk=8), WIDTH, chunk=8)


def test_exports_prefill_and_step(tmp_path: Path) -> None:
    torch.manual_seed(0)
    block = GatedDeltaNet(WIDTH, HEADS)
    exporting.assert_prompts_agree(block, WIDTH, tmp_path)
    exporting.assert_steps_agree(block, WIDTH, tmp_path)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"heads": 5}, "width 12 does not split into 5 heads"),
        ({"kernel": 0}, "got 0 and 32"),
        ({"chunk": 0}, "got 4 and 0"),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        GatedDeltaNet(**{"width": WIDTH, "heads": HEADS, **sizes})
