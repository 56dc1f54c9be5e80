"""What every space of the catalogue promises as a whole; one that is added joins by itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hw_cost_models.trace import static_cost
from search_spaces import Architecture, Choice, Mixture, bind, check, choices, select
from search_spaces.catalogue import SPACES
from tests.search_spaces.catalogue_options import decodes, space
from tests.search_spaces.covering import covering

SIZES = ((1, 1), (3, 2), (2, 7), (1, 130))

every_space = pytest.mark.parametrize("name", SPACES)


def one_hot(network: nn.Module, architecture: Architecture) -> Mixture:
    """All options run at every choice; where the architecture does not reach, the first counts."""
    return Mixture(
        {
            path: {
                option: torch.tensor(float(option == architecture.get(path, choice.options[0])))
                for option in choice.options
            }
            for path, choice in choices(network).items()
        }
    )


@every_space
def test_example_inputs_fit_at_any_size(name: str) -> None:
    found = space(name)
    network = select(found.network, covering(found.network)[0]).eval()
    for batch, length in SIZES:
        inputs, sizes = found.example_inputs(batch, length), {"batch": batch, "length": length}
        assert len(inputs) == len(found.input_names)
        for x, again in zip(inputs, found.example_inputs(batch, length), strict=True):
            assert torch.equal(x, again), "the same on every call"
            free = {d: of for d, of in found.dynamic.items() if of in sizes and d < x.dim()}
            assert {d: x.shape[d] for d in free} == {d: sizes[of] for d, of in free.items()}
        with torch.no_grad():
            y = network(*inputs)
        outputs = (y,) if isinstance(y, torch.Tensor) else y
        assert len(outputs) == len(found.output_names)
        assert all(len(y) == batch and torch.isfinite(y).all() for y in outputs)


@pytest.mark.parametrize("name", [name for name in SPACES if decodes(space(name))])
def test_a_language_model_answers_at_every_token_from_what_came_before(name: str) -> None:
    network, inputs = space(name).network, space(name).example_inputs(2, 70)
    changed = tuple(torch.cat((x[:, :41], x[:, :-41]), dim=1) for x in inputs)
    assert not torch.equal(changed[0][:, 41], inputs[0][:, 41])
    for architecture in covering(network):
        chosen = select(network, architecture).eval()
        with torch.no_grad():
            before, after = chosen(*inputs), chosen(*changed)
        assert before.shape[:2] == (2, 70)
        torch.testing.assert_close(after[:, :41], before[:, :41], atol=1e-6, rtol=1e-6)
        assert not torch.equal(after[:, 41], before[:, 41])


@every_space
def test_the_supernet_under_a_one_hot_mixture_is_the_network_that_select_gives(name: str) -> None:
    network, inputs = space(name).network.eval(), space(name).example_inputs(2, 33)
    for architecture in covering(network):
        chosen = select(network, architecture)
        assert not any(isinstance(part, Choice) for part in chosen.modules())
        with torch.no_grad():
            expected = chosen(*inputs)
            for mixture in (Mixture.of(architecture), one_hot(network, architecture)):
                found = bind(network, mixture)(*inputs)
                torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@every_space
def test_selected_networks_share_no_weight_with_the_supernet(name: str) -> None:
    network = space(name).network
    theirs = {p.data_ptr() for p in network.parameters()}
    for architecture in covering(network):
        assert not theirs & {p.data_ptr() for p in select(network, architecture).parameters()}


@every_space
def test_every_network_has_a_price(name: str) -> None:
    network, inputs = space(name).network, space(name).example_inputs(1, 40)
    for architecture in covering(network):
        chosen = select(network, architecture)
        cost = static_cost(chosen, inputs)
        assert cost.flops > 0
        assert 0 < cost.parameters <= sum(p.numel() for p in chosen.parameters())


@every_space
def test_references_are_architectures_of_the_space(name: str) -> None:
    found = space(name)
    assert found.references, "what a winner has to beat"
    for sizes in found.references.values():
        costs = []
        for architecture in sizes:
            check(found.network, architecture)
            assert all(rule.allows(architecture) for rule in found.rules)
            costs.append(static_cost(select(found.network, architecture), found.example_inputs(1, 16)).flops)
        assert costs == sorted(set(costs)), "each size is larger than the one before"


@every_space
def test_every_option_stands_in_some_covering_architecture(name: str) -> None:
    network = space(name).network
    taken = {(choices(network)[p].options, o) for a in covering(network) for p, o in a.items()}
    assert taken == {(c.options, o) for c in choices(network).values() for o in c.options}
