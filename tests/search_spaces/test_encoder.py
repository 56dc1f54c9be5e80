"""Every option of encoder: shape-preserving, reading both sides, trainable, and the same in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hw_cost_models import export_onnx, static_cost
from search_spaces import Architecture, SearchSpaceError, Stateful, choices, encoder, select
from tests.search_spaces.covering import covering

WIDTH = 64
SPACE = encoder(layers=1)
FOUND = choices(SPACE.network)
OPTIONS = {
    f"{path.split('.')[-1]}/{name}": choice.extract(name)
    for path, choice in FOUND.items()
    for name in choice.options
}
MIXERS = [name for name in OPTIONS if name.startswith("mixer/") and name != "mixer/skip"]
every_option = pytest.mark.parametrize("name", OPTIONS)


@every_option
@settings(max_examples=6, deadline=None)
@given(batch=st.integers(1, 3), length=st.integers(1, 150))
def test_shape_at_any_length_and_texts_that_do_not_meet(name: str, batch: int, length: int) -> None:
    torch.manual_seed(length)
    x = torch.randn(batch, length, WIDTH)
    with torch.no_grad():
        together = OPTIONS[name](x)
        apart = torch.cat([OPTIONS[name](text) for text in x.split(1)])
    assert together.shape == x.shape
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("changed", [0, 9])
def test_mixers_read_both_sides(name: str, changed: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 10, WIDTH)
    perturbed = x.clone()
    perturbed[:, changed] = torch.randn(WIDTH)
    neighbour = 1 if changed == 0 else 8
    with torch.no_grad():
        assert not torch.equal(OPTIONS[name](perturbed)[:, neighbour], OPTIONS[name](x)[:, neighbour])


@every_option
def test_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 100, WIDTH, requires_grad=True)
    (OPTIONS[name](x) * torch.randn(2, 100, WIDTH)).sum().backward()
    assert x.grad.abs().min() > 0
    assert all(p.grad.abs().sum() > 0 for p in OPTIONS[name].parameters())
    OPTIONS[name].zero_grad()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Each mixer in a layer of its own; hybrid-lm's tests export the feed-forward blocks."""
    whole = encoder(layers=len(MIXERS), width=16, heads=2, classes=5).network
    taken = {f"layers.{layer}.mixer": name.split("/")[1] for layer, name in enumerate(MIXERS)}
    skipped = {f"layers.{layer}.feedforward": "skip" for layer in range(len(MIXERS))}
    network = select(whole, Architecture({**taken, **skipped})).eval()
    for name, weight in network.named_parameters():
        if ".out" in name or name == "head.weight":
            weight.data *= 20  # what begins near the identity would hide a difference
    return network


@pytest.fixture(scope="module")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From an example no longer than a window or a chunk, at which blocks have only one of them."""
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    export_onnx(
        network,
        SPACE.example_inputs(1, 32),
        path,
        dynamic=SPACE.dynamic,
        input_names=SPACE.input_names,
        output_names=SPACE.output_names,
    )
    return path


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 33), (3, 129), (1, 4096)])
def test_onnx_runtime_agrees_at_other_sizes(
    exported: Path, network: nn.Module, batch: int, length: int
) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (tokens,) = SPACE.example_inputs(batch, length)
    with torch.no_grad():
        expected = network(tokens)
    assert expected.shape == (batch, 5)
    assert expected.std() > 0.1
    (found,) = session.run(["logits"], {"input_ids": tokens.numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_every_network_can_be_priced() -> None:
    """Every operator has a formula; a stack of skips takes the norm and the head alone."""
    network, inputs = encoder(layers=4, width=16, heads=2).network, SPACE.example_inputs(1, 40)
    skips = Architecture(dict.fromkeys(choices(network), "skip"))
    nothing, *costs = (static_cost(select(network, a), inputs).flops for a in (skips, *covering(network)))
    assert 2 * 16 * 16 < nothing < 10_000
    assert all(cost > 10 * nothing for cost in costs)


def test_network_reads_texts_and_gives_logits() -> None:
    space = encoder(layers=2, width=16, heads=2, classes=7, vocabulary=50)
    skips = Architecture(dict.fromkeys(choices(space.network), "skip"))
    (tokens,) = space.example_inputs(3, 9)
    assert int(tokens.max()) < 50
    network = select(space.network, skips)
    assert network(tokens).shape == (3, 7)
    mean = network.norm(network.embedding(tokens)).mean(dim=1)
    torch.testing.assert_close(network(tokens), mean @ network.head.weight.T)


def test_nothing_decodes() -> None:
    assert not any(isinstance(module, Stateful) for module in SPACE.network.modules())


def test_weights_come_from_the_seed_alone() -> None:
    first, again, other = (encoder(layers=1, seed=seed).network.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_untrained_networks_guess_at_any_depth() -> None:
    network = encoder(layers=4).network
    for architecture in covering(network):
        with torch.no_grad():
            assert select(network, architecture)(*SPACE.example_inputs(2, 64)).std() < 0.5


def test_the_reference_is_a_stack_of_every_depth() -> None:
    space = encoder(layers=3)
    for depth, architecture in enumerate(space.references["BERT-like"], start=1):
        kinds = [type(module).__name__ for module in select(space.network, architecture).modules()]
        found = kinds.count("BidirectionalAttention"), kinds.count("SwiGLU"), kinds.count("Identity")
        assert found == (depth, depth, 2 * (3 - depth))


@pytest.mark.parametrize("sizes", [{"layers": 0}, {"classes": 1}, {"vocabulary": 257}, {"heads": 5}])
def test_sizes_that_do_not_fit(sizes: dict[str, int]) -> None:
    with pytest.raises(SearchSpaceError, match=str(next(iter(sizes.values())))):
        encoder(**sizes)
