"""The choice of precision in every option, over one set of weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from search_spaces import (
    Architecture,
    Choice,
    SearchSpace,
    SearchSpaceError,
    bind,
    check,
    choices,
    encoder,
    finalised,
    hybrid_lm,
    mobile_vision,
    parents,
    select,
    twins,
)
from search_spaces.choice import Mixture
from search_spaces.precision import with_precisions
from search_spaces.quantised import is_quantised, quantised

ALL = ("fp32", "int8", "int4")


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return with_precisions(hybrid_lm(layers=1, width=32, heads=2), ALL)


class Outer(nn.Module):
    """An option that holds a choice: precisions are for what is nested in it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(32, 32)
        self.inner = Choice({"wide": nn.Linear(32, 32), "skip": nn.Identity()})

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(self.first(x))
        return y


def _small(options: dict[str, nn.Module]) -> SearchSpace:
    return SearchSpace(
        "small", nn.Sequential(Choice(options)), lambda batch, length: (torch.ones(batch, 32),)
    )


def test_every_option_with_something_to_quantise_is_a_choice(space: SearchSpace) -> None:
    found, nesting = choices(space.network), parents(space.network)
    plain = hybrid_lm(layers=1, width=32, heads=2)
    assert {p: found[p].options for p in choices(plain.network)} == {
        p: choice.options for p, choice in choices(plain.network).items()
    }
    added = {path: choice for path, choice in found.items() if path not in choices(plain.network)}
    assert all(choice.options == ALL for choice in added.values())
    assert nesting["layers.0.mixer.attention"] == ("layers.0.mixer", "attention")
    assert "layers.0.mixer.grouped_query" in added  # a slice
    assert not {path for path in added if path.endswith((".skip", ".monarch", ".low_rank"))}


def test_what_options_share_stays_shared() -> None:
    space = with_precisions(mobile_vision(resolution=8, scaled_to=(4,), width=32), ("fp32", "int8"))
    found, nesting = choices(space.network), parents(space.network)
    first = twins(found)
    small = [path for path in found if path.startswith("resolution.4px.")]
    assert [first[path] for path in small] == [path.replace(".4px.", ".8px.") for path in small]
    nested = [path for path in small if found[path].options == ("fp32", "int8")]
    assert nested
    assert all(nesting[path] == tuple(path.rsplit(".", 1)) for path in nested)


def test_all_share_one_set_of_weights(space: SearchSpace) -> None:
    plain = hybrid_lm(layers=1, width=32, heads=2)
    count = sum(p.numel() for p in plain.network.parameters())
    assert sum(p.numel() for p in space.network.parameters()) == count
    assert sum(p.numel() for p in copy.deepcopy(space.network).parameters()) == count


def test_what_it_is_made_of_stays_as_it_was() -> None:
    plain = hybrid_lm(layers=1, width=32, heads=2)
    before = list(choices(plain.network))
    with_precisions(plain, ALL)
    assert list(choices(plain.network)) == before
    assert not is_quantised(plain.network)


@pytest.mark.parametrize("mixer", ["attention", "grouped_query", "convolution"])
@pytest.mark.parametrize("precision", ALL)
def test_an_architecture_is_the_plain_one_quantised(space: SearchSpace, mixer: str, precision: str) -> None:
    plain = hybrid_lm(layers=1, width=32, heads=2)
    taken = {"layers.0.mixer": mixer, "layers.0.feedforward": "skip"}
    tokens = space.example_inputs(2, 9)
    expected = select(plain.network, Architecture(taken)).eval()
    expected.layers[0].mixer = quantised(expected.layers[0].mixer, precision)
    network = select(space.network, Architecture({**taken, f"layers.0.mixer.{mixer}": precision})).eval()
    assert torch.equal(network(*tokens), expected.eval()(*tokens))
    assert torch.equal(finalised(network)(*tokens), network(*tokens))
    assert is_quantised(network) == (precision != "fp32")


def test_gradients_of_every_precision_reach_the_same_weights(space: SearchSpace) -> None:
    taken = {"layers.0.mixer": "attention", "layers.0.feedforward": "skip"}
    weight = select(space.network, Architecture({**taken, "layers.0.mixer.attention": "fp32"}))
    assert weight.layers[0].mixer.inner.qkv.weight.requires_grad
    shared = hybrid_lm(layers=1, width=32, heads=2)
    several = with_precisions(shared, ALL)
    for precision in ALL:
        mixture = Mixture.of(Architecture({**taken, "layers.0.mixer.attention": precision}))
        shared.network.zero_grad()
        bind(several.network, mixture)(*several.example_inputs(2, 9)).square().sum().backward()
        held = shared.network.layers[0].mixer.option("attention").inner.qkv.weight
        assert held.grad is not None
        assert held.grad.abs().sum() > 0


def test_references_come_in_each_precision(space: SearchSpace) -> None:
    assert list(space.references) == ["LLaMA-like", "LLaMA-like int8", "LLaMA-like int4"]
    for name, precision in zip(space.references, ALL, strict=True):
        (architecture,) = space.references[name]
        check(space.network, architecture)
        assert {v for path, v in architecture.items() if path.count(".") == 3} == {precision}


def test_choices_that_are_inline_or_hold_others() -> None:
    classifier = with_precisions(encoder(layers=2, width=32, heads=2), ("fp32", "int8"))
    assert classifier.network.exit.inline
    assert "exit.none" not in choices(classifier.network)
    found = choices(with_precisions(_small({"outer": Outer(), "skip": nn.Identity()}), ALL).network)
    assert list(found) == ["0", "0.outer.inner", "0.outer.inner.wide"]


def test_a_convolution_comes_in_int8_alone() -> None:
    layers = {"conv": nn.Conv1d(1, 1, 3, padding=1), "linear": nn.Linear(32, 32)}
    found = choices(with_precisions(_small(layers), ALL).network)
    assert (found["0.conv"].options, found["0.linear"].options) == (("fp32", "int8"), ALL)


@pytest.mark.parametrize(
    ("precisions", "said"),
    [
        (("fp32", "int7"), "no precision 'int7'; the precisions are fp32, int8, int4"),
        (("int8",), "precisions int8: give two or three, each once"),
        (("int8", "int8"), "precisions int8,int8: give two or three, each once"),
        ((), "precisions none: give two or three"),
    ],
)
def test_precisions_that_cannot_be(precisions: tuple[str, ...], said: str) -> None:
    with pytest.raises(SearchSpaceError, match=said):
        with_precisions(hybrid_lm(layers=1, width=32, heads=2), precisions)


def test_a_space_with_nothing_to_quantise() -> None:
    with pytest.raises(SearchSpaceError, match="'small' has nothing to compute in fp32 or int8: no option"):
        with_precisions(_small({"tanh": nn.Tanh(), "skip": nn.Identity()}), ("fp32", "int8"))
