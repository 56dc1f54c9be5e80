"""Two directions against two readings, one of them token by token from the end."""

from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import Decoder
from search_spaces.blocks import Bidirectional, GatedDeltaNet, PreNorm, StateSpace
from search_spaces.decoding import Stateful
from tests.search_spaces import exporting
from tests.search_spaces.blocks import recurrent_mixers

WIDTH = 8


MAKERS = {"state space": partial(StateSpace, WIDTH, 2, 3), "gated delta": partial(GatedDeltaNet, WIDTH, 2)}


def _block(kind: str = "state space") -> Bidirectional:
    torch.manual_seed(0)
    return Bidirectional(MAKERS[kind](chunk=8), MAKERS[kind](chunk=8))


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=10, deadline=None)
@given(length=st.integers(1, 30), batch=st.integers(1, 3))
def test_is_one_reading_and_one_from_the_end(kind: str, length: int, batch: int) -> None:
    block = _block(kind).double()
    steps = MAKERS[kind]().double()
    steps.load_state_dict(block.backwards.state_dict())
    x = torch.randn(batch, length, WIDTH, dtype=torch.float64)
    state, expected = steps.state(batch), block.forwards(x)
    for t in reversed(range(length)):
        y, state = steps.step(x[:, t : t + 1], state)
        expected[:, t] += y[:, 0]
    torch.testing.assert_close(block(x), expected)


def test_every_token_reads_every_other_and_every_weight_learns() -> None:
    block, x = _block(), torch.randn(1, 20, WIDTH, requires_grad=True)
    for token in (0, 19):
        (block(x)[:, token] ** 2).sum().backward()
        assert (x.grad.abs().sum(-1) > 0).all()
        x.grad = None
    assert all(p.grad.abs().sum() > 0 for p in block.parameters())


def test_nothing_in_it_decodes() -> None:
    network = deepcopy(PreNorm(WIDTH, _block()))
    assert not any(isinstance(module, Stateful) for module in network.modules())
    assert Decoder(network).state_names == []


def test_costs_the_same_for_every_token() -> None:
    recurrent_mixers.assert_linear_cost(_block(), WIDTH, chunk=8)


def test_exports(tmp_path: Path) -> None:
    exporting.assert_prompts_agree(_block(), WIDTH, tmp_path)
