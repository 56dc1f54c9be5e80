"""Quantisation-aware blocks: what they train is what ships."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces import finalised
from search_spaces.blocks import (
    Attention,
    LatentAttention,
    LinearAttention,
    MixtureOfExperts,
    PreNorm,
    SparseLinear,
    SwiGLU,
)
from search_spaces.elastic import Sliced
from search_spaces.integers import Int4Linear, Int8Linear
from search_spaces.quantised import EightBits, Part, in_floats, is_quantised, quantised

WIDTH = 32


def _x(seed: int = 0, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(2, 9, WIDTH, generator=torch.Generator().manual_seed(seed))


def _blocks() -> dict[str, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            "attention": PreNorm(WIDTH, Attention(WIDTH, 2, 2)),
            "swiglu": PreNorm(WIDTH, SwiGLU(WIDTH, 2 * WIDTH)),
            "sparse": PreNorm(WIDTH, SwiGLU(WIDTH, 2 * WIDTH, SparseLinear)),
            "experts": PreNorm(WIDTH, MixtureOfExperts(WIDTH, WIDTH, experts=4, active=2)),
            "linear_attention": PreNorm(WIDTH, LinearAttention(WIDTH, 2)),
            "latent": PreNorm(WIDTH, LatentAttention(WIDTH, 2, rank=WIDTH, rotary_width=8)),
        }


BLOCKS = _blocks()


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("name", BLOCKS)
def test_what_trains_is_what_ships(name: str, precision: str) -> None:
    """Exactly, wherever its ranges have come to lie; and it is near the block in floats, and not the same."""
    block = quantised(copy.deepcopy(BLOCKS[name]), precision).train()
    for step in range(5):
        block(_x(step, spread=1 + step))
    block.eval()
    ships = finalised(block)
    assert {type(m) for m in ships.modules()} & {Int8Linear, Int4Linear}
    with torch.no_grad():
        trained, floats = block(_x(9)), in_floats(block)(_x(9))
        assert torch.equal(ships(_x(9)), trained)
    added = (floats - _x(9)).square().mean()
    assert 0 < (trained - floats).square().mean() < 0.02 * added


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_weights_are_shared_and_gradients_go_straight_through(precision: str) -> None:
    layer = nn.Linear(WIDTH, WIDTH)
    twin = quantised(layer, precision)
    assert {id(p) for p in twin.parameters()} == {id(p) for p in layer.parameters()}
    x = _x()
    (found,) = torch.autograd.grad(twin(x).sum(), layer.weight)
    (floats,) = torch.autograd.grad(layer(x).sum(), layer.weight)
    torch.testing.assert_close(found, floats, atol=0.3, rtol=0.02)  # but for the rounding of the inputs
    assert not is_quantised(layer)
    assert in_floats(twin) is layer


def test_in_floats_is_the_block_itself() -> None:
    block = BLOCKS["swiglu"]
    assert quantised(block, "fp32") is block
    assert torch.equal(in_floats(quantised(block, "int4"))(_x()), block(_x()))


def test_zeros_stay_zeros() -> None:
    """Of a sparse weight, in both precisions, whatever the block's zero point."""
    for precision in ("int8", "int4"):
        layer = SparseLinear(64, 32)
        weight = finalised(quantised(layer, precision)).weight
        assert torch.equal(weight[finalised(layer).weight == 0], torch.zeros(32 * 32))


def test_routers_and_layers_that_are_narrower_than_a_block_stay_in_floats() -> None:
    experts = quantised(BLOCKS["experts"], "int8")
    assert type(experts.inner.router) is nn.Linear
    assert not is_quantised(quantised(nn.Linear(64, 31), "int4"))
    assert not is_quantised(quantised(nn.Linear(31, 64), "int8"))
    assert not is_quantised(quantised(nn.Conv2d(64, 64, 3), "int4"))
    assert is_quantised(quantised(nn.Conv2d(3, 8, 3), "int8"))


@settings(max_examples=10, deadline=None)
@given(st.floats(-5, 3), st.floats(0.1, 8), st.booleans())
def test_the_range_is_that_of_what_was_seen(low: float, width: float, negative: bool) -> None:
    """The first batch is the range, with zero in it; what follows moves it a twentieth of the way."""
    eight = EightBits().train()
    first = torch.linspace(low, low + width, 50) * (-1 if negative else 1)
    eight(first)
    least, most = min(first.min().item(), 0.0), max(first.max().item(), 0.0)
    step = (most - least) / 255
    assert eight.scale.item() == pytest.approx(step, rel=1e-4)
    with torch.no_grad():
        rounded = eight.eval()(first)
    assert (rounded - first).abs().max() <= 0.51 * step
    assert eight(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    eight.train()(torch.tensor([least, most + 20.0]))
    assert eight.high.item() == pytest.approx(0.95 * first.max().item() + 0.05 * (most + 20), abs=1e-4)


def test_an_expert_that_no_token_reaches_sees_nothing() -> None:
    eight = EightBits().train()
    assert eight(torch.zeros(0, WIDTH)).shape == (0, WIDTH)
    assert torch.isinf(eight.low)


def test_a_frozen_range_stays() -> None:
    eight = EightBits().eval()
    before = copy.deepcopy(eight.state_dict())
    eight(_x(spread=30.0))
    assert all(torch.equal(before[k], v) for k, v in eight.state_dict().items())


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_slice_is_the_slice_quantised(precision: str) -> None:
    """It follows the block's weights, its copy does not, and both ship as the same integers."""
    block = copy.deepcopy(BLOCKS["swiglu"])
    held = Part(block, {"hidden": WIDTH}, precision)
    part = held.as_option().eval()
    expected = quantised(copy.deepcopy(Sliced(block, {"hidden": WIDTH})), precision).eval()
    assert torch.equal(part(_x()), expected(_x()))
    part.train()(_x(spread=2.0))
    plain = copy.deepcopy(part.eval())
    assert torch.equal(plain(_x()), part(_x()))
    assert torch.equal(finalised(nn.Sequential(part))(_x()), part(_x()))
    assert sum(p.numel() for p in plain.parameters()) == WIDTH + 3 * WIDTH * WIDTH
    both = copy.deepcopy(nn.ModuleList([block, held]))
    assert both[1].block is both[0]
    with torch.no_grad():
        block.inner.out.weight.mul_(2.0)
    assert not torch.equal(plain(_x()), part(_x()))
