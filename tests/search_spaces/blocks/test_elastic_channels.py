"""Slices of inverted residuals: against blocks built at that expansion, and masked forwards against them."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hw_cost_models.structure import structure_key
from search_spaces import Choice, Mixture, Slice, bind
from search_spaces.blocks import FusedMBConv, MBConv
from search_spaces.elastic import altered
from search_spaces.view import view

INPUTS = 4
ROUNDING = {"atol": 1e-12, "rtol": 1e-12}
"""In fp64: sums are the same, in another order."""


def _block(expansion: int, *, excited: bool = False, fused: bool = False, stride: int = 1) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"kernel": 3, "expansion": expansion, "stride": stride}
    block = (
        FusedMBConv(INPUTS, INPUTS, **sizes) if fused else MBConv(INPUTS, INPUTS, **sizes, excited=excited)
    )
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):  # of a network that has learnt
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return block.double()


def _input() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, INPUTS, 5, 5, dtype=torch.float64, requires_grad=True)


def _gradients(y: Tensor, *leaves: Tensor) -> list[Tensor]:
    slope = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    found = torch.autograd.grad((y * slope).sum(), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


kinds = st.fixed_dictionaries({"fused": st.just(True), "stride": st.integers(1, 2)}) | st.fixed_dictionaries(
    {"excited": st.booleans(), "stride": st.integers(1, 2)}
)


@settings(max_examples=15)
@given(kind=kinds, widths=st.lists(st.integers(1, 16), min_size=1, max_size=4), data=st.data())
def test_masked_equals_sliced(kind: dict[str, int], widths: list[int], data: st.DataObject) -> None:
    """In training, too; outputs and the gradients of all weights: of those outside, zero."""
    block = _block(4, **kind).train(data.draw(st.booleans()))
    parts = [{"hidden": width} for width in (16, *widths)]
    taken = data.draw(st.integers(0, len(widths)))
    shares = torch.eye(len(parts), dtype=torch.float64)[taken]
    x, found = _input(), []
    for module in (block.sliced(parts[taken]), block.masked(parts, shares)):
        y = module(x)
        found.append([y, *_gradients(y, x, *block.parameters())])
    for sliced, masked in zip(*found, strict=True):
        torch.testing.assert_close(masked, sliced, **ROUNDING)


@pytest.mark.parametrize("kind", [{}, {"fused": True}, {"stride": 2}])
def test_in_evaluation_masked_widths_are_the_weighted_sum(kind: dict[str, int]) -> None:
    block, x = _block(4, **kind).eval(), _input()
    shares = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    parts = [{"hidden": width} for width in (5, 12, 16)]
    plain = torch.stack([w * block.sliced(part)(x) for w, part in zip(shares, parts, strict=True)]).sum(0)
    torch.testing.assert_close(block.masked(parts, shares)(x), plain, **ROUNDING)


@pytest.mark.parametrize("kind", [{}, {"excited": True}, {"fused": True}])
def test_extracted_is_a_plain_block_of_that_expansion(kind: dict[str, int]) -> None:
    """Statistics are its own as weights are: training it changes nothing of the whole."""
    block, built, x = _block(4, **kind), _block(2, **kind), _input()
    plain = Choice({"e2": Slice(block, hidden=2 * INPUTS), "e4": block}).extract("e2")
    assert structure_key(plain, (x,)) == structure_key(built, (x,))
    built.load_state_dict(plain.state_dict())
    before = copy.deepcopy(block.state_dict())
    assert torch.equal(built(x), plain(x))
    assert not torch.equal(plain.expand.norm.running_mean, before["expand.norm.running_mean"][: 2 * INPUTS])
    assert all(torch.equal(before[name], value) for name, value in block.state_dict().items())


@pytest.mark.parametrize("kind", [{}, {"fused": True}])
def test_statistics_of_a_slice_are_the_wholes(kind: dict[str, int]) -> None:
    """A training step of a slice moves those of its channels as that of a plain block does, and no others."""
    block, x, hidden = _block(4, **kind), _input(), 2 * INPUTS
    choice = Choice({"e2": Slice(block, hidden=hidden), "e4": block})
    plain, before = choice.extract("e2"), copy.deepcopy(block.state_dict())
    for module in (plain, bind(choice, Mixture({"": {"e2": None}}))):
        module(x)
    for name, buffer in plain.named_buffers():
        found = block.state_dict()[name]
        if found.shape == buffer.shape:
            torch.testing.assert_close(found, buffer)
        else:
            torch.testing.assert_close(found[:hidden], buffer)
            assert torch.equal(found[hidden:], before[name][hidden:])
            assert not torch.equal(found[:hidden], before[name][:hidden])


def test_a_slice_of_a_block_without_statistics_normalises_by_the_batch() -> None:
    """As the plain block does in training."""
    block, x = _block(4, excited=True).eval(), _input()
    choice = Choice({"e2": Slice(block, hidden=2 * INPUTS), "e4": block})

    def forgetful(_: str, module: nn.Module) -> nn.Module | None:
        is_norm = isinstance(module, nn.BatchNorm2d)
        return altered(module, running_mean=None, running_var=None) if is_norm else None

    found = view(bind(choice, Mixture({"": {"e2": None}})), forgetful)(x)
    torch.testing.assert_close(found, choice.extract("e2").train()(x), **ROUNDING)
