"""A supernet against plain modules, and its expected costs against sums over all architectures."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hw_cost_models.cost import Cost
from nas.budget import METRICS, Budget
from nas.controllers import CONTROLLERS, Controller, Darts
from nas.supernet import Supernet, run_with_auxiliary
from search_spaces import Architecture, Choice, Mixture, choices, parents, select
from search_spaces.rules import tied
from tests.nas.toys import (
    FIRST,
    INNER,
    OPTIONS,
    SECOND,
    Toy,
    ToyTask,
    architecture,
    architectures,
    flat_table,
    toy_table,
)

X = torch.linspace(-2, 1, 12).reshape(3, 4)
BUDGET = Budget(latency_ms=5.0, memory_mb=1.2, params_m=0.25)
LATENCY, MEMORY, PARAMETERS = (
    next(m for m in METRICS if m.name == name) for name in ("latency_ms", "memory_mb", "params_m")
)


def _with_alpha(values: dict[str, list[float]], budget: Budget = BUDGET) -> Supernet:
    supernet = Supernet(Toy(), toy_table(), budget, Darts())
    with torch.no_grad():
        for path, alpha in supernet.alphas().items():
            alpha.copy_(torch.tensor(values[path]))
    return supernet


def _chances(values: dict[str, list[float]]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for path, names in OPTIONS.items():
        total = sum(math.exp(v) for v in values[path])
        found |= {(path, name): math.exp(v) / total for name, v in zip(names, values[path], strict=True)}
    return found


_values = st.fixed_dictionaries(
    {path: st.lists(st.floats(-4, 4), min_size=len(o), max_size=len(o)) for path, o in OPTIONS.items()}
)


def test_a_parameter_is_a_weight_or_an_architecture_parameter() -> None:
    supernet = Supernet(Toy())
    weights, alphas = list(supernet.weights()), list(supernet.architecture_parameters())
    assert {id(p) for p in weights}.isdisjoint(id(a) for a in alphas)
    assert {id(p) for p in supernet.parameters()} == {id(p) for p in [*weights, *alphas]}
    assert [len(a) for a in alphas] == [len(names) for names in OPTIONS.values()]
    assert list(supernet.alphas()) == list(OPTIONS)
    assert all(a is b for a, b in zip(supernet.alphas().values(), alphas, strict=True))


def test_a_choice_that_options_share_has_one_parameter() -> None:
    shared = Choice({"linear": nn.Linear(4, 4), "skip": nn.Identity()})
    outer = Choice({"plain": nn.Sequential(shared), "squashed": nn.Sequential(nn.Tanh(), shared)})
    supernet = Supernet(nn.Sequential(outer))
    assert len(list(supernet.architecture_parameters())) == 2
    alphas = supernet.alphas()
    assert alphas["0.plain.0"] is alphas["0.squashed.1"]
    with torch.no_grad():
        alphas["0.plain.0"].copy_(torch.tensor([2.0, 0.0]))
    scores = supernet.log_probabilities().options
    assert scores["0.plain.0", "linear"] == scores["0.squashed.1", "linear"] > -0.2
    draws = torch.Generator().manual_seed(0)
    for _ in range(20):
        mixture = supernet.sample(draws)
        assert mixture.weights["0.plain.0"] == mixture.weights["0.squashed.1"]
        supernet((X,), mixture)


def test_both_are_in_the_state() -> None:
    supernet, other = Supernet(Toy(0)), Supernet(Toy(1))
    with torch.no_grad():
        for number, alpha in enumerate(supernet.architecture_parameters()):
            alpha.fill_(number + 0.5)
    other.load_state_dict(supernet.state_dict())
    for name, parameter in supernet.named_parameters():
        assert torch.equal(dict(other.named_parameters())[name], parameter)
    assert [a[0].item() for a in other.architecture_parameters()] == [0.5, 1.5, 2.5]


class Awkward(nn.Module):
    """Choices whose paths are also names of methods, or differ in a dot only."""

    def __init__(self) -> None:
        super().__init__()
        inner = Choice({"a": nn.Identity(), "b": nn.Linear(4, 4)})
        self.update = Choice({"keys": nn.Sequential(inner), "skip": nn.Identity()})
        self.values = Choice({"x": nn.Linear(4, 4), "y": nn.Identity()})

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.values(self.update(x))
        return y


def test_choices_may_be_called_anything() -> None:
    supernet = Supernet(Awkward())
    assert list(supernet.alphas()) == ["update", "update.keys.0", "values"]
    assert sum(1 for _ in supernet.architecture_parameters()) == 3
    alone = Supernet(Choice({"x": nn.Linear(4, 4), "y": nn.Identity()}))
    assert list(alone.alphas()) == [""]
    for net in (supernet, alone):
        net.load_state_dict(net.state_dict())
        net((X,), net.sample(torch.Generator().manual_seed(0)))


def test_tied_choices_are_one() -> None:
    network = nn.ModuleList(Choice({"x": nn.Linear(4, 4), "y": nn.Identity()}) for _ in range(3))
    table = flat_table(*({"x": 2.0, "y": 1.0} for _ in range(3)))
    options = {(path[1:], option): cost for (path, option), cost in table.options.items()}
    table = replace(
        table, options=options, nesting=dict.fromkeys("012"), rules=(tied(network, "[01]"),)
    )  # paths as in the network
    supernet = Supernet(network, table, Budget(latency_ms=10.0))
    assert sum(1 for _ in supernet.architecture_parameters()) == 2
    assert supernet.alphas()["0"] is supernet.alphas()["1"]
    with torch.no_grad():
        supernet.alphas()["0"][0] += 1.0
    draws = torch.Generator().manual_seed(0)
    mixtures = [supernet.sample(draws) for _ in range(30)]
    assert all(m.weights["0"] == m.weights["1"] for m in mixtures)
    assert any(m.weights["0"].keys() != m.weights["2"].keys() for m in mixtures)
    p = 1 / (1 + math.exp(-1))
    assert supernet.cost(mixtures[0]).item() == pytest.approx((2 * (p + 1) + 1.5) / 10)
    scores = supernet.log_probabilities()
    assert scores.of(Architecture({"0": "x", "1": "x", "2": "y"})) == pytest.approx(math.log(p / 2))


@settings(max_examples=50)
@given(values=_values)
def test_expected_sums_are_those_over_all_architectures(values: dict[str, list[float]]) -> None:
    supernet, chances, table = _with_alpha(values), _chances(values), toy_table()
    found = supernet.cost(supernet.sample(torch.Generator())).tolist()
    for figure, metric, limit in ((found[0], LATENCY, 5.0), (found[2], PARAMETERS, 0.25)):
        expected = sum(
            math.prod(chances[d] for d in a.items()) * metric.of(table.cost(a)) for a in architectures()
        )
        assert figure == pytest.approx(expected / limit, rel=1e-5)


@settings(max_examples=50)
@given(values=_values)
def test_expected_memory_is_expected_weights_and_the_largest_expected_peak(
    values: dict[str, list[float]],
) -> None:
    """In MB, by hand from the toy's costs; never more than the expectation of the largest peak."""
    c, table = _chances(values), toy_table()
    nested = c[SECOND, "nested"]
    weights = 0.5 + c[FIRST, "linear"] * 0.1 + c[FIRST, "tanh.x2"] * 0.4
    weights += nested * (0.2 + c[INNER, "narrow"] * 0.05 + c[INNER, "wide"] * 0.3)
    first = c[FIRST, "linear"] * 0.03 + c[FIRST, "tanh.x2"] * 0.09
    inner = nested * (c[INNER, "narrow"] * 0.01 + c[INNER, "wide"] * 0.07)
    supernet = _with_alpha(values)
    found = supernet.cost(supernet.sample(torch.Generator()))[1].item()
    assert found == pytest.approx((weights + max(0.04, first, nested * 0.02, inner)) / 1.2, rel=1e-5)
    exact = sum(math.prod(c[d] for d in a.items()) * MEMORY.of(table.cost(a)) for a in architectures())
    assert found <= exact / 1.2 * (1 + 1e-6)


class Deep(nn.Module):
    """A choice in an option of a choice in an option of a choice."""

    def __init__(self) -> None:
        super().__init__()
        innermost = Choice({"p": nn.Linear(4, 4), "q": nn.Identity()})
        middle = Choice({"m": nn.Sequential(innermost), "n": nn.Identity()})
        self.outer = Choice({"x": nn.Sequential(middle), "y": nn.Identity()})


@settings(max_examples=20)
@given(values=st.lists(st.floats(-3, 3), min_size=6, max_size=6), costs=st.lists(st.floats(0, 9), min_size=6))
def test_what_is_nested_twice_counts_where_it_is_reached(values: list[float], costs: list[float]) -> None:
    network = Deep()
    nesting, options = parents(network), {path: c.options for path, c in choices(network).items()}
    decisions = [(path, option) for path, names in options.items() for option in names]
    table = replace(
        toy_table(),
        options={d: Cost(latency_ms=ms) for d, ms in zip(decisions, costs, strict=False)},
        nesting=nesting,
    )
    supernet = Supernet(network, table, Budget(latency_ms=1.0), Darts())
    with torch.no_grad():
        for alpha, pair in zip(
            supernet.architecture_parameters(), (values[:2], values[2:4], values[4:]), strict=True
        ):
            alpha.copy_(torch.tensor(pair))
    p = supernet.sample(torch.Generator()).probabilities
    chances = {(path, o): p[path][i].item() for path, names in options.items() for i, o in enumerate(names)}
    expected = sum(
        math.prod(chances[d] for d in a.items()) * table.figures(a)["latency_ms"]
        for a in architectures(options, nesting)
    )
    assert supernet.cost(supernet.sample(torch.Generator())).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("taken", architectures(), ids=lambda a: "-".join(a.values()))
def test_cost_of_a_certain_architecture_is_the_tables(taken: Architecture) -> None:
    certain = {p: [60.0 if taken.get(p) == o else 0.0 for o in names] for p, names in OPTIONS.items()}
    supernet = _with_alpha(certain)
    found = supernet.cost(supernet.sample(torch.Generator())).tolist()
    figures, limits = toy_table().figures(taken), BUDGET.limits()
    assert found == pytest.approx([figures[name] / limit for name, limit in limits.items()], rel=1e-5)


def test_cost_without_limits_is_empty() -> None:
    supernet = Supernet(Toy(), toy_table())
    assert supernet.cost(supernet.sample(torch.Generator())).shape == (0,)


@pytest.mark.parametrize("taken", architectures(), ids=lambda a: "-".join(a.values()))
def test_one_hot_is_the_selected_network_bit_for_bit(taken: Architecture) -> None:
    supernet = Supernet(Toy())
    plain = select(supernet.network, taken)
    output, auxiliary = supernet((X,), Mixture.of(taken))
    expected, plain_auxiliary = run_with_auxiliary(plain, (X,))
    assert torch.equal(output, expected)
    assert torch.equal(output, plain(X))
    assert torch.equal(auxiliary, plain_auxiliary)
    (output.square().sum() + auxiliary).backward()
    (expected.square().sum() + plain_auxiliary).backward()
    shared = [p.grad for p in supernet.weights() if p.grad is not None]
    own = [p.grad for p in plain.parameters() if p.grad is not None]
    assert len(shared) == len(own) == len(list(plain.parameters()))
    assert all(any(torch.equal(a, b) for b in own) for a in shared)


def test_auxiliary_loss_comes_back_and_stays_nowhere() -> None:
    supernet = Supernet(Toy())
    first, second = supernet.network.layers
    with torch.no_grad():
        hidden = second.option("nested")[0](first.option("linear")(X))
        expected = second.option("nested")[1].option("narrow").linear(hidden).square().mean()
    with_gate = Mixture.of(architecture("linear", "nested", "narrow"))
    for _ in range(2):
        assert supernet((X,), with_gate)[1].item() == pytest.approx(expected.item())
    silent = supernet((X,), Mixture.of(architecture("linear", "skip")))[1]
    assert (silent.item(), silent.shape) == (0.0, ())


@pytest.mark.parametrize("controller", CONTROLLERS.values(), ids=CONTROLLERS)
def test_users_modules_are_left_alone(controller: Controller) -> None:
    network = Toy()
    before = {name: dict(vars(module)) for name, module in network.named_modules()}
    children = {name: dict(module._modules) for name, module in network.named_modules()}
    state = copy.deepcopy(network.state_dict())
    supernet = Supernet(network, toy_table(), BUDGET, controller)
    output, _ = supernet((X,), supernet.sample(torch.Generator()))
    output.sum().backward()
    for name, module in network.named_modules():
        assert vars(module).keys() == before[name].keys()
        assert module._modules == children[name]
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_a_loop_of_ones_own() -> None:
    """Latency must fall under its limit, though the task prefers more; only the loss ties the two."""
    torch.manual_seed(0)
    supernet, task = Supernet(Toy(), toy_table(), Budget(latency_ms=2.0)), ToyTask()
    draws = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(supernet.parameters(), lr=0.05)
    duals = torch.ones(1)
    first = last = math.inf
    for step in range(60):
        (x,), target = task.sample("train", 16, draws)
        mixture = supernet.sample(draws)
        output, auxiliary = supernet((x,), mixture)
        usage = supernet.cost(mixture)
        optimizer.zero_grad()
        (task.loss(output, target) + auxiliary + usage @ duals).backward()
        optimizer.step()
        last = usage.item()
        first = last if step == 0 else first
    # Uniform probabilities: 1 + 6/3 + (1 + 3.5/2)/2 = 4.375 ms of 2.
    assert first == pytest.approx(4.375 / 2)
    assert last < 1
