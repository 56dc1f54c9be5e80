"""Slices of one weight: against blocks built at that size, and masked forwards against them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hw_cost_models.structure import structure_key
from search_spaces import Choice, Mixture, SearchSpaceError, Slice, bind
from search_spaces.auxiliary import collect
from search_spaces.blocks import (
    MLP,
    Attention,
    BidirectionalAttention,
    GeGLU,
    MixtureOfExperts,
    PreNorm,
    SparseLinear,
    SwiGLU,
)
from search_spaces.elastic import elastic

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 8
ROUNDING = {"atol": 1e-12, "rtol": 1e-12}
"""In fp64: sums are the same, in another order."""


@st.composite
def feedforwards(draw: st.DrawFn) -> tuple[nn.Module, list[dict[str, int]]]:
    """A block and parts of it, the whole among them."""
    whole = draw(st.integers(2, 24))
    kind = draw(st.sampled_from([MLP, SwiGLU, GeGLU]))
    block = kind(WIDTH, whole, draw(st.sampled_from([nn.Linear, _without_bias])))
    hidden = draw(st.lists(st.integers(1, whole), min_size=1, max_size=4))
    return block, [{}, *({"hidden": h} for h in hidden)]


@st.composite
def attentions(draw: st.DrawFn) -> tuple[nn.Module, list[dict[str, int]]]:
    group, kv_heads = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    kind = draw(st.sampled_from([Attention, BidirectionalAttention]))
    steps = draw(st.lists(st.integers(1, kv_heads), min_size=1, max_size=4))
    parts = [
        {"heads": step * kept * group, "kv_heads": kept}
        for step in steps
        for kept in [draw(st.integers(1, kv_heads // step))]
    ]
    return kind(WIDTH, group * kv_heads, kv_heads, head_width=4), [{}, *parts]


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[nn.Module, list[dict[str, int]]]:
    experts, hidden, null = draw(st.integers(1, 5)), draw(st.integers(1, 8)), draw(st.integers(0, 2))
    fewest = draw(st.integers(1, experts))
    block = MixtureOfExperts(
        WIDTH, hidden, experts, draw(st.integers(1, fewest + null)), null=null, shared=draw(st.integers(0, 2))
    )
    sizes = st.fixed_dictionaries(
        {}, optional={"experts": st.integers(fewest, experts), "hidden": st.integers(1, hidden)}
    )
    return block, [{}, *draw(st.lists(sizes, min_size=1, max_size=4))]


elastic_blocks = st.one_of(feedforwards(), attentions(), mixtures()).flatmap(
    lambda drawn: st.sampled_from([drawn, (PreNorm(WIDTH, drawn[0]), drawn[1])])
)


def _without_bias(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


def _input(length: int = 6) -> Tensor:
    torch.manual_seed(length)
    return torch.randn(2, length, WIDTH, dtype=torch.float64, requires_grad=True)


def _whole(block: nn.Module, sizes: dict[str, int]) -> dict[str, int]:
    return {**elastic(block).sizes(), **sizes}


def _gradients(y: Tensor, *leaves: Tensor) -> list[Tensor]:
    slope = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    found = torch.autograd.grad((y * slope).sum(), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


@settings(max_examples=60)
@given(drawn=elastic_blocks, length=st.integers(1, 6), data=st.data())
def test_masked_equals_sliced(
    drawn: tuple[nn.Module, list[dict[str, int]]], length: int, data: st.DataObject
) -> None:
    """Outputs, losses that routers report, and the gradients of all weights: of those outside, zero."""
    block, parts = drawn[0].double(), [_whole(drawn[0], sizes) for sizes in drawn[1]]
    taken = data.draw(st.integers(0, len(parts) - 1))
    shares = torch.eye(len(parts), dtype=torch.float64)[taken]
    x, found = _input(length), []
    for module in (elastic(block).sliced(parts[taken]), elastic(block).masked(parts, shares)):
        with collect() as losses:
            y = module(x)
        found.append([y, *losses, *_gradients(sum(losses, y), x, *block.parameters())])
    for sliced, masked in zip(*found, strict=True):
        torch.testing.assert_close(masked, sliced, **ROUNDING)


@settings(max_examples=15)
@given(drawn=feedforwards(), data=st.data())
def test_masked_widths_are_the_weighted_sum(
    drawn: tuple[nn.Module, list[dict[str, int]]], data: st.DataObject
) -> None:
    block, parts = drawn[0].double(), drawn[1]
    weights = data.draw(st.lists(st.floats(0.01, 1), min_size=len(parts), max_size=len(parts)))
    _assert_weighted_sum(block, parts, weights)


def test_masked_heads_and_experts_widths_are_the_weighted_sum() -> None:
    torch.manual_seed(0)
    heads = [{"heads": h, "kv_heads": h} for h in (1, 2, 3, 4)]
    _assert_weighted_sum(Attention(WIDTH, 4, 4, 2).double(), heads, [0.1, 0.2, 0.3, 0.4])
    experts = MixtureOfExperts(WIDTH, 6, 3, 2, shared=1).double()
    _assert_weighted_sum(experts, [{"hidden": h} for h in (2, 3, 6)], [0.5, 0.2, 0.3])


def _assert_weighted_sum(block: nn.Module, parts: Sequence[dict[str, int]], weights: list[float]) -> None:
    """With the gradients of the weights, which are those of the outputs."""
    w, x = torch.tensor(weights, dtype=torch.float64, requires_grad=True), _input()
    shares, sizes = w / w.sum(), [_whole(block, part) for part in parts]
    masked = w.sum() * elastic(block).masked(sizes, shares)(x)
    plain = sum(a * elastic(block).sliced(s)(x) for a, s in zip(w, sizes, strict=True))
    assert isinstance(plain, Tensor)
    leaves = (w, x, *block.parameters())
    for ours, theirs in zip(
        (masked, *_gradients(masked, *leaves)), (plain, *_gradients(plain, *leaves)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, **ROUNDING)


def _extract(block: nn.Module, **sizes: int) -> nn.Module:
    return Choice({"part": Slice(block, **sizes), "whole": block}).extract("part")


BUILT = {
    "MLP": (MLP(WIDTH, 12), {"hidden": 5}, MLP(WIDTH, 5)),
    "SwiGLU": (PreNorm(WIDTH, SwiGLU(WIDTH, 12)), {"hidden": 5}, PreNorm(WIDTH, SwiGLU(WIDTH, 5))),
    "GeGLU": (GeGLU(WIDTH, 12, nn.Linear), {"hidden": 12}, GeGLU(WIDTH, 12, nn.Linear)),
    "grouped": (Attention(WIDTH, 4, 4), {"kv_heads": 2}, Attention(WIDTH, 4, 2)),
    "multi": (BidirectionalAttention(WIDTH, 4, 4), {"kv_heads": 1}, BidirectionalAttention(WIDTH, 4, 1)),
    "heads": (Attention(WIDTH, 4, 2), {"heads": 2, "kv_heads": 1}, Attention(WIDTH, 2, 1, head_width=2)),
    "experts": (
        MixtureOfExperts(WIDTH, 12, 5, 2, null=1, shared=2),
        {"hidden": 5, "experts": 3},
        MixtureOfExperts(WIDTH, 5, 3, 2, null=1, shared=2),
    ),
}


@pytest.mark.parametrize("name", BUILT)
def test_extracted_is_a_plain_block_of_that_size(name: str) -> None:
    """The same structure, parameters that learn, none of them the whole's; the output of the slice."""
    block, sizes, built = BUILT[name]
    plain, x = _extract(block, **sizes), _input().float()
    assert structure_key(plain, (x,)) == structure_key(built, (x,))
    assert torch.equal(plain(x), elastic(block).sliced(_whole(block, sizes))(x))
    assert all(isinstance(p, nn.Parameter) and p.is_leaf and p.requires_grad for p in plain.parameters())
    theirs = {p.untyped_storage().data_ptr() for p in block.parameters()}
    assert not theirs & {p.untyped_storage().data_ptr() for p in plain.parameters()}
    assert all(p.untyped_storage().nbytes() == p.nbytes for p in plain.parameters())
    built.load_state_dict(plain.state_dict())
    assert torch.equal(built(x), plain(x))
    assert torch.equal(_extract(block.eval(), **sizes).eval()(x), plain.eval()(x))
    assert not any(module.training for module in _extract(block, **sizes).modules())
    block.train()


def test_a_width_is_the_first_units() -> None:
    block = SwiGLU(WIDTH, 12)
    part = _extract(block, hidden=5)
    gate, up = block.gate_up.weight.chunk(2)
    assert torch.equal(part.gate_up.weight, torch.cat((gate[:5], up[:5])))
    assert torch.equal(part.out.weight, block.out.weight[:, :5])


@pytest.mark.parametrize(("heads", "kv_heads"), [(8, 2), (8, 1), (8, 4), (4, 1), (6, 3), (4, 2)])
def test_a_group_of_query_heads_keeps_the_key_head_of_its_first(heads: int, kv_heads: int) -> None:
    """Head by head: of the whole's query head h, and the key head that serves its group's first."""
    torch.manual_seed(0)
    block, x = BidirectionalAttention(WIDTH, 8, 4, head_width=2).double(), _input()
    weight = block.qkv.weight.unflatten(0, (16, 2))
    expected = torch.zeros_like(x)
    for head in range(heads):
        first = head // (heads // kv_heads) * (heads // kv_heads)
        alone = BidirectionalAttention(WIDTH, 1, 1, head_width=2).double()
        with torch.no_grad():
            rows = [weight[head], weight[8 + first // 2], weight[12 + first // 2]]
            alone.qkv.weight.copy_(torch.cat(rows))
            alone.out.weight.copy_(block.out.weight[:, 2 * head : 2 * head + 2])
        expected = expected + alone(x)
    found = elastic(block).sliced({"heads": heads, "kv_heads": kv_heads})(x)
    torch.testing.assert_close(found, expected, **ROUNDING)


def test_null_experts_stay_in_every_slice() -> None:
    block = MixtureOfExperts(WIDTH, 6, 4, 2, null=2)
    part = _extract(block, experts=2)
    assert torch.equal(part.router.weight, block.router.weight[[0, 1, 4, 5]])
    assert torch.equal(part.experts[1].out.weight, block.experts[1].out.weight)


def _flops(module: nn.Module, length: int) -> int:
    """Forward and backward, of matrix products with tokens: weights are small beside them."""
    with FlopCounterMode(display=False) as counter:
        module(torch.randn(1, length, WIDTH, requires_grad=True)).sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", [MLP, SwiGLU])
def test_a_width_costs_that_width_and_eight_at_once_cost_the_widest(kind: type[MLP | SwiGLU]) -> None:
    block, widths = kind(WIDTH, 64), range(8, 72, 8)
    options = {str(h): Slice(block, hidden=h) for h in widths if h < 64}
    choice = Choice({**options, "64": block})
    for h in widths:
        running = bind(choice, Mixture({"": {str(h): None}}))
        assert _flops(running, 50) == _flops(kind(WIDTH, h), 50)
    even = Mixture({"": {name: torch.tensor(0.125, requires_grad=True) for name in choice.options}})
    extra = 3 * 2 * 8 * 64  # the mask, made of eight shares
    assert 0 <= _flops(bind(choice, even), 500) - _flops(block, 500) <= extra
    block.requires_grad_(False)
    assert 0 <= _flops(bind(choice, even), 500) - _flops(block, 500) <= extra, "nor for the mixture alone"


def test_a_frozen_block_has_frozen_slices() -> None:
    block = MLP(WIDTH, 12).requires_grad_(False)
    assert not any(p.requires_grad for p in _extract(block, hidden=4).parameters())


class Holding(MLP):
    """Elastic, and with a choice inside."""

    def __init__(self) -> None:
        super().__init__(WIDTH, 8)
        self.inner = Choice({"a": nn.Identity(), "b": nn.Tanh()})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Slice(MLP(WIDTH, 8), width=4), "MLP has no 'width' to slice, but hidden"),
        (lambda: Slice(MLP(WIDTH, 8), hidden=9), "a slice of MLP takes 1 to 8 hidden, got 9"),
        (lambda: Slice(MLP(WIDTH, 8), hidden=0), "takes 1 to 8 hidden, got 0"),
        (lambda: Slice(nn.Linear(2, 2), hidden=1), "Linear cannot be sliced: it lacks `sizes`"),
        (lambda: Slice(PreNorm(WIDTH, nn.Tanh()), hidden=1), "Tanh cannot be sliced"),
        (lambda: Slice(SwiGLU(WIDTH, 8, SparseLinear), hidden=4), "only dense layers .* a SparseLinear"),
        (
            lambda: Slice(Attention(WIDTH, 4, 2), heads=2),
            "2 query heads with 2 key heads: .* multiple of the 2",
        ),
        (lambda: Slice(Attention(WIDTH, 4, 4), kv_heads=3), "4 query heads with 3 key heads"),
        (lambda: Slice(MixtureOfExperts(WIDTH, 8, 4, 2), experts=1), "2 active of 1 experts"),
        (
            lambda: Choice({"a": Slice(MLP(WIDTH, 8), hidden=4), "b": nn.Identity()}),
            "option 'a' is a slice of a block that is not an option itself",
        ),
        (
            lambda: Choice({"a": Slice(block := Holding(), hidden=4), "b": block}),
            "option 'a' is a slice of a block that holds a choice",
        ),
    ],
)
def test_what_cannot_be_sliced(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(SearchSpaceError, match=message):
        make()
