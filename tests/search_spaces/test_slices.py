"""Choices of which some options are slices of another: what runs, what learns and what is kept."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from search_spaces import Architecture, Choice, Mixture, SearchSpaceError, Slice, bind, choices, select
from search_spaces.auxiliary import collect_loads
from search_spaces.blocks import MLP, Attention, MixtureOfExperts, PreNorm, SwiGLU

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH = 8
ROUNDING = {"atol": 1e-12, "rtol": 1e-12}
"""In fp64: sums are the same, in another order."""


def _input() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 6, WIDTH, dtype=torch.float64, requires_grad=True)


def _gradients(y: Tensor, *leaves: Tensor) -> list[Tensor]:
    slope = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    found = torch.autograd.grad((y * slope).sum(), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


class Network(nn.Module):
    """Two choices; in the first, widths stand between options of their own weights."""

    def __init__(self) -> None:
        super().__init__()
        block, attention = PreNorm(WIDTH, SwiGLU(WIDTH, 16)), Attention(WIDTH, 4, 4)
        narrow: dict[str, nn.Module | Slice] = {"quarter": Slice(block, hidden=4), "mlp": MLP(WIDTH, 4)}
        self.first = Choice(
            {**narrow, "middle": Slice(block, hidden=8), "whole": block, "skip": nn.Identity()}
        )
        self.second = Choice({"one": Slice(attention, kv_heads=1), "all": attention})

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return y


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network().double()


def _weights(first: dict[str, float], second: dict[str, float]) -> dict[str, dict[str, Tensor]]:
    return {
        path: {name: torch.tensor(w, dtype=torch.float64, requires_grad=True) for name, w in options.items()}
        for path, options in (("first", first), ("second", second))
    }


def test_the_weights_are_there_once(network: Network) -> None:
    assert choices(network)["first"].options == ("quarter", "mlp", "middle", "whole", "skip")
    inner = sum(p.numel() for p in SwiGLU(WIDTH, 16).parameters()) + WIDTH
    mlp = sum(p.numel() for p in MLP(WIDTH, 4).parameters())
    attention = sum(p.numel() for p in Attention(WIDTH, 4, 4).parameters())
    assert sum(p.numel() for p in network.parameters()) == inner + mlp + attention
    assert sum(t.numel() for t in network.state_dict().values()) == inner + mlp + attention
    assert not any("middle" in name or "one" in name for name in network.state_dict())


def test_a_copy_of_the_network_has_slices_of_its_own_weights(network: Network) -> None:
    twin, x = copy.deepcopy(network), _input()
    taken = Mixture.of(Architecture({"first": "middle", "second": "one"}))
    before = bind(network, taken)(x)
    with torch.no_grad():
        for p in twin.parameters():
            p.mul_(2)
    assert torch.equal(bind(network, taken)(x), before)
    assert not torch.equal(bind(twin, taken)(x), before)
    assert {id(p) for p in bind(twin, taken).parameters()} <= {id(p) for p in twin.parameters()}


def test_a_view_runs_the_current_weights_and_teaches_the_whole(network: Network) -> None:
    """As a plain network of that size does, over several steps of an optimiser."""
    taken = Architecture({"first": "middle", "second": "one"})
    view, plain, x = bind(network, Mixture.of(taken)), select(network, taken), _input()
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (network, plain)]
    for _ in range(3):
        for module, optimizer in zip((view, plain), optimizers, strict=True):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(view(x), plain(x), **ROUNDING)
    again = select(network, taken)
    for ours, theirs in zip(again.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, **ROUNDING)


class Detached(MLP):
    """Slices that are copies: training one would not train the block."""

    def sliced(self, sizes: Mapping[str, int]) -> nn.Module:
        part = copy.copy(super().sliced(sizes))
        up = copy.copy(part.get_submodule("up"))
        up._parameters = {n: nn.Parameter(t.detach().clone()) for n, t in up.named_parameters()}
        part._modules = {**part._modules, "up": up}
        return part


def test_a_slice_that_does_not_train_the_block_is_refused() -> None:
    with pytest.raises(SearchSpaceError, match=r"slice of Detached has a 'up.weight' of its own"):
        Slice(Detached(8, 32), hidden=8)
    frozen = Detached(8, 32).requires_grad_(False)
    Slice(frozen, hidden=8)
    with torch.no_grad():
        Slice(MLP(8, 32), hidden=8)


def test_widths_and_other_options_are_one_weighted_sum(network: Network) -> None:
    """Whatever the weights add up to, also with their gradients, and with options that run as they are."""
    x, first = _input(), network.first
    weights = _weights({"middle": 0.2, "mlp": 0.1, "whole": 0.4, "skip": 0.5, "quarter": 0.3}, {"all": 1.0})
    mixture = Mixture({"first": weights["first"], "second": {"all": None}})
    found = bind(network, mixture)(x)
    sum_ = torch.stack([w * first.option(name)(x) for name, w in weights["first"].items()]).sum(0)
    expected = network.second.option("all")(sum_)
    leaves = (*weights["first"].values(), x, *network.parameters())
    for ours, theirs in zip(
        (found, *_gradients(found, *leaves)), (expected, *_gradients(expected, *leaves)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, **ROUNDING)
    as_it_is = Mixture({"first": {"middle": None, "whole": None}, "second": {"all": None}})
    both = first.option("middle")(x) + first.option("whole")(x)
    torch.testing.assert_close(bind(network, as_it_is)(x), network.second.option("all")(both), **ROUNDING)


@pytest.mark.parametrize("name", ["middle", "mlp", "skip"])
def test_one_hot_over_all_options_is_that_option(network: Network, name: str) -> None:
    """Of widths that weigh nothing together, too: their gradients are finite."""
    x = _input()
    one_hot = {option: float(option == name) for option in network.first.options}
    weights = _weights(one_hot, {"one": 1.0, "all": 0.0})
    found = bind(network, Mixture(weights))(x)
    plain = select(network, Architecture({"first": name, "second": "one"}))
    torch.testing.assert_close(found, plain(x), **ROUNDING)
    leaves = (x, *weights["first"].values(), *weights["second"].values(), *network.parameters())
    assert all(torch.isfinite(g).all() for g in _gradients(found, *leaves))


def test_a_width_under_a_weight_is_weighed_against_its_input(network: Network) -> None:
    x, weight = _input(), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    found = bind(network.first, Mixture({"": {"middle": weight}}))(x)
    half = network.first.option("middle")(x)
    torch.testing.assert_close(found, x + 0.7 * (half - x), **ROUNDING)


def test_activation_checkpointing_gives_the_same_gradients(network: Network) -> None:
    mixtures = (
        Mixture.of(Architecture({"first": "middle", "second": "one"})),
        Mixture(_weights({"middle": 0.4, "whole": 0.6}, {"one": 0.5, "all": 0.5})),
    )
    for mixture in mixtures:
        x, view = _input(), bind(network, mixture)
        leaves = [x, *network.parameters(), *(w for ws in mixture.weights.values() for w in ws.values() if w)]
        plain = _gradients(view(x), *leaves)
        again = _gradients(checkpoint(view, x, use_reentrant=False), *leaves)
        assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


def test_loads_are_told_as_of_the_routers_of_the_network() -> None:
    block = PreNorm(WIDTH, MixtureOfExperts(WIDTH, 6, 4, 2))
    choice = Choice({"two": Slice(block, experts=2), "four": block})
    half = torch.tensor(0.5)
    for running, experts in (({"two": None}, 2), ({"two": half, "four": half}, 4)):
        with collect_loads() as loads:
            bind(choice, Mixture({"": running}))(_input().float())
        ((router, shares),) = loads
        assert router is block.inner.router
        assert shares.shape == (experts,)
