"""Choices under mixtures, against modules written out by hand."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from search_spaces import (
    Architecture,
    Choice,
    Mixture,
    SearchSpaceError,
    UnboundChoiceError,
    bind,
    capture_inputs,
    check,
    choices,
    parents,
    select,
    twins,
)

X = torch.linspace(-1, 1, 12).reshape(3, 4)


class Stack(nn.Module):
    """Two choices, the second with another choice nested in its first option."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = Choice({"linear": nn.Linear(4, 4), "tanh": nn.Tanh(), "skip": nn.Identity()})
        inner = Choice({"narrow": nn.Linear(4, 4), "0.5x": nn.Linear(4, 4)})
        self.second = Choice({"nested": nn.Sequential(nn.Linear(4, 4), inner), "skip": nn.Identity()})

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


NESTED = "second.nested.1"
ARCHITECTURES = [
    Architecture({"first": "linear", "second": "nested", NESTED: "0.5x"}),
    Architecture({"first": "tanh", "second": "nested", NESTED: "narrow"}),
    Architecture({"first": "skip", "second": "skip"}),
]


def test_paths_and_nesting() -> None:
    network = Stack()
    assert list(choices(network)) == ["first", "second", NESTED]
    assert parents(network) == {"first": None, "second": None, NESTED: ("second", "nested")}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_selected_network_equals_the_one_hot_view_bit_for_bit(architecture: Architecture) -> None:
    network = Stack()
    check(network, architecture)
    selected = select(network, architecture)
    assert torch.equal(bind(network, Mixture.of(architecture))(X), selected(X))
    assert not any(isinstance(module, Choice) for module in selected.modules())


def test_selected_network_has_weights_of_its_own() -> None:
    network = Stack()
    selected = select(network, ARCHITECTURES[0])
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        for parameter in selected.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_single_path_view_holds_the_option_itself_and_nothing_else() -> None:
    network = Stack()
    view = bind(network, Mixture.of(ARCHITECTURES[0]))
    assert view.first is network.first.option("linear")
    assert set(view.parameters()) <= set(network.parameters())


def test_forward_leaves_nothing_behind() -> None:
    network = Stack()
    attributes = {path: set(vars(module)) for path, module in network.named_modules()}
    weight = torch.tensor(1.0, requires_grad=True)
    bind(network, Mixture({"first": {"linear": weight}, "second": {"skip": None}}))(X).sum().backward()
    capture_inputs(network, (X,))
    assert {path: set(vars(module)) for path, module in network.named_modules()} == attributes
    assert isinstance(network.first, Choice)
    assert not any(module._forward_pre_hooks for module in network.modules())
    with pytest.raises(UnboundChoiceError, match="linear, tanh, skip"):
        network(X)


def test_soft_mixture_is_the_weighted_sum() -> None:
    network = Stack()
    weights = {name: torch.tensor(value) for name, value in zip(("linear", "tanh"), (0.3, 0.7), strict=True)}
    mixed = bind(network, Mixture({"first": weights, "second": {"skip": None}}))(X)
    torch.testing.assert_close(mixed, 0.3 * network.first.option("linear")(X) + 0.7 * X.tanh())


def test_single_path_gradient_is_what_the_option_adds_to_its_input() -> None:
    network = Stack()
    weight = torch.tensor(1.0, requires_grad=True)
    mixture = Mixture({"first": {"linear": weight}, "second": {"skip": None}})
    output = bind(network, mixture)(X)
    plain = network.first.option("linear")(X)
    assert torch.equal(output, plain)
    slope = torch.arange(12.0).reshape(3, 4)
    (output * slope).sum().backward()
    torch.testing.assert_close(weight.grad, (slope * (plain - X)).sum())


def test_single_path_weight_leaves_the_gradient_of_the_weights_alone() -> None:
    network = Stack()
    weighted = Mixture({"first": {"linear": torch.tensor(1.0, requires_grad=True)}, "second": {"skip": None}})
    gradients = []
    for mixture in (weighted, Mixture.of(Architecture({"first": "linear", "second": "skip"}))):
        network.zero_grad()
        bind(network, mixture)(X).square().sum().backward()
        gradients.append(network.first.option("linear").weight.grad.clone())
    assert torch.equal(*gradients)


class Checkpointed(nn.Module):
    """A user's network that recomputes its layers in the backward pass."""

    def __init__(self, body: nn.Module, recompute: bool) -> None:
        super().__init__()
        self.body = body
        self.recompute = recompute

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.body, x, use_reentrant=False) if self.recompute else self.body(x)


def test_activation_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        network = Checkpointed(Stack(), recompute)
        weight = torch.tensor(1.0, requires_grad=True)
        soft = {
            "narrow": torch.tensor(0.4, requires_grad=True),
            "0.5x": torch.tensor(0.6, requires_grad=True),
        }
        weights = {"body.first": {"linear": weight}, "body.second": {"nested": None}, f"body.{NESTED}": soft}
        loss = bind(network, Mixture(weights))(X).square().sum()
        bind(network, Mixture({"body.first": {"skip": None}, "body.second": {"skip": None}}))(X)
        loss.backward()
        leaves = [weight, *soft.values(), *network.parameters()]
        gradients.append([leaf.grad for leaf in leaves if leaf.grad is not None])
    assert len(gradients[0]) == 3 + 8
    assert all(torch.equal(plain, again) for plain, again in zip(*gradients, strict=True))


def test_a_choice_used_twice_takes_one_decision() -> None:
    shared = Choice({"linear": nn.Linear(4, 4), "skip": nn.Identity()})
    network = nn.Sequential(shared, nn.Tanh(), shared)
    assert list(choices(network)) == ["0"]
    selected = select(network, Architecture({"0": "linear"}))
    assert selected[0] is selected[2]
    linear = shared.option("linear")
    assert torch.equal(selected(X), linear(linear(X).tanh()))


def test_a_choice_inside_two_options_has_a_path_in_each_and_is_one() -> None:
    shared = Choice({"linear": nn.Linear(4, 4), "skip": nn.Identity()})
    outer = Choice({"plain": nn.Sequential(shared), "squashed": nn.Sequential(nn.Tanh(), shared)})
    network = nn.Sequential(outer, nn.Tanh())
    found = choices(network)
    assert list(found) == ["0", "0.plain.0", "0.squashed.1"]
    assert twins(found) == {"0": "0", "0.plain.0": "0.plain.0", "0.squashed.1": "0.plain.0"}
    assert parents(network)["0.squashed.1"] == ("0", "squashed")
    linear = shared.option("linear")
    for name, path, inner in (
        ("plain", "0.plain.0", linear(X)),
        ("squashed", "0.squashed.1", linear(X.tanh())),
    ):
        assert torch.equal(select(network, Architecture({"0": name, path: "linear"}))(X), inner.tanh())
    with pytest.raises(SearchSpaceError, match=r"'0.plain.0' is decided but not reached"):
        select(network, Architecture({"0": "squashed", "0.squashed.1": "skip", "0.plain.0": "skip"}))
    captured = capture_inputs(network, (X,))
    assert torch.equal(captured["0.squashed.1"][0], X.tanh())
    assert torch.equal(captured["0.plain.0"][0], X)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([nn.Tanh(), nn.Identity()], r'Choice\(\{"a": a, "b": b\}\), got a list'),
        (
            {"tanh": torch.tanh, "skip": nn.Identity()},
            "option 'tanh' is a builtin_function_or_method, and not",
        ),
    ],
)
def test_options_that_are_none(options: Any, said: str) -> None:
    with pytest.raises(SearchSpaceError, match=said):
        Choice(options)


def test_a_network_that_is_a_choice() -> None:
    network = Choice({"a.b": nn.Linear(4, 4), "50%": nn.Identity()})
    assert torch.equal(select(network, Architecture({"": "50%"}))(X), X)
    assert network.extract("a.b") is not network.option("a.b")
    network.load_state_dict(network.state_dict())


def test_context_reaches_every_option() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return x * scale

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scaling = Choice({"once": Scaled(), "same": Scaled()})

        def forward(self, x: Tensor) -> Tensor:
            return self.scaling(x, x + 1)

    even = {name: torch.tensor(0.5) for name in ("once", "same")}
    torch.testing.assert_close(bind(Network(), Mixture({"scaling": even}))(X), X * (X + 1))
    assert [tuple(t.shape) for t in capture_inputs(Network(), (X,))["scaling"]] == [(3, 4), (3, 4)]


def test_captured_inputs_are_those_of_each_choice() -> None:
    captured = capture_inputs(Stack(), (X,))
    assert set(captured) == {"first", "second", NESTED}
    assert torch.equal(captured["first"][0], X)
    assert not any(t.requires_grad for inputs in captured.values() for t in inputs)


def test_options_must_agree_in_shape() -> None:
    network = nn.Sequential(Choice({"wide": nn.Linear(4, 8), "skip": nn.Identity()}))
    with pytest.raises(SearchSpaceError, match=r"choice '0': option 'skip' returns shape \(3, 4\).*\(3, 8\)"):
        capture_inputs(network, (X,))


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ({"first": "skip"}, "does not decide choice 'second'"),
        ({"first": "skip", "second": "nested"}, f"does not decide choice '{NESTED}'"),
        ({"first": "skip", "second": "skip", NESTED: "narrow"}, "decided but not reached"),
        ({"first": "skip", "second": "skip", "third": "skip"}, "no choice 'third'; the choices are first"),
        ({"first": "relu", "second": "skip"}, "no option 'relu'; the options are linear, tanh, skip"),
    ],
)
def test_an_architecture_that_does_not_fit_is_named(decisions: dict[str, str], message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        select(Stack(), Architecture(decisions))


def test_a_mixture_that_does_not_fit_is_named() -> None:
    with pytest.raises(SearchSpaceError, match="says nothing about choice 'second'"):
        bind(Stack(), Mixture({"first": {"skip": None}}))
    with pytest.raises(SearchSpaceError, match="no option 'relu'"):
        bind(Stack(), Mixture({"first": {"relu": None}, "second": {"skip": None}}))


def test_what_cannot_be_a_choice() -> None:
    with pytest.raises(SearchSpaceError, match="at least two options"):
        Choice({"only": nn.Identity()})
    for name in ("", "training", "forward", "options"):
        with pytest.raises(SearchSpaceError, match="cannot name an option"):
            Choice({name: nn.Identity(), "skip": nn.Identity()})
    with pytest.raises(SearchSpaceError, match="Linear holds no Choice"):
        choices(nn.Linear(2, 2))
