"""Every option of encoder: shape-preserving, reading both sides, trainable, and the same in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

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
KINDS = ("bottleneck", "moe_null", "sparse_2_4", "monarch", "low_rank")
"""A feed-forward block of each kind."""
MIXED = (4, 70)
"""A batch and a length."""
every_option = pytest.mark.parametrize("name", OPTIONS)


@every_option
@settings(max_examples=6, deadline=None)
@given(batch=st.integers(0, 3), length=st.integers(1, 150))
def test_shape_at_any_length_and_texts_that_do_not_meet(name: str, batch: int, length: int) -> None:
    """Of a batch of none too: all texts may have left."""
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
    """Each kind of block in a layer of its own above the exit, by which half of the MIXED texts leave."""
    blocks = [*MIXERS, *(f"feedforward/{name}" for name in KINDS)]
    layers = 2 * len(blocks)
    whole = encoder(layers=layers, width=16, heads=2, classes=5).network
    taken = {
        f"layers.{layers // 2 + i}.{kind}": option for i, (kind, option) in enumerate(map(_split, blocks))
    }
    skipped = dict.fromkeys(choices(whole), "skip")
    network = select(whole, Architecture({**skipped, **taken, "exit": "exit_0.8"})).eval()
    for name, weight in network.named_parameters():
        if ".out" in name or name.endswith("linear.weight"):
            weight.data *= 20  # what begins near the identity would hide a difference
    (tokens,) = SPACE.example_inputs(*MIXED)
    lower, upper = _confidence(network, tokens).sort().values[1:3]
    network.exit.threshold = float(lower + upper) / 2
    return network


def _split(name: str) -> tuple[str, str]:
    kind, option = name.split("/")
    return kind, option


@torch.no_grad()
def _confidence(network: nn.Module, tokens: Tensor) -> Tensor:
    """Of the early head, where the layers below it are skipped; (batch,)."""
    logits: Tensor = network.exit.head(network.embedding(tokens))
    return logits.softmax(dim=1).amax(dim=1)


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
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 33), (3, 129), (1, 4096), MIXED])
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


def test_onnx_runtime_lets_texts_leave_whatever_is_above(exported: Path, network: nn.Module) -> None:
    """Two of four leave, and each of them alone leaves nothing for the layers above."""
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (tokens,) = SPACE.example_inputs(*MIXED)
    leaving = _confidence(network, tokens) >= network.exit.threshold
    assert sorted(leaving.tolist()) == [False, False, True, True]
    (together,) = session.run(["logits"], {"input_ids": tokens.numpy()})
    with torch.no_grad():
        early = network.exit.head(network.embedding(tokens))
    np.testing.assert_allclose(together[leaving], early[leaving], atol=1e-5, rtol=0)
    for text, row in zip(tokens.split(1), together, strict=True):
        (alone,) = session.run(["logits"], {"input_ids": text.numpy()})
        np.testing.assert_allclose(alone[0], row, atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_without_an_exit_the_file_knows_nothing_of_one(tmp_path: Path) -> None:
    space = encoder(layers=2, width=16, heads=2)
    skips = dict.fromkeys(choices(space.network), "skip")
    operators = {}
    for option in ("none", "exit_0.8"):
        path = tmp_path / f"{option}.onnx"
        network = select(space.network, Architecture({**skips, "exit": option}))
        names = {"input_names": space.input_names, "output_names": space.output_names}
        export_onnx(network, space.example_inputs(1, 8), path, dynamic=space.dynamic, **names)
        operators[option] = {node.op_type for node in onnx.load(path).graph.node}
    assert "NonZero" in operators["exit_0.8"]
    assert not operators["none"] & {"NonZero", "Softmax", "ScatterND", "GatherND", "Where"}


def test_every_network_can_be_priced() -> None:
    """Every operator has a formula; a stack of skips takes the norm and the head alone."""
    network, inputs = encoder(layers=4, width=16, heads=2).network, SPACE.example_inputs(1, 40)
    skips = Architecture({**dict.fromkeys(choices(network), "skip"), "exit": "none"})
    nothing, *costs = (static_cost(select(network, a), inputs).flops for a in (skips, *covering(network)))
    assert 2 * 16 * 16 < nothing < 10_000
    assert all(cost > 10 * nothing for cost in costs)


def test_network_reads_texts_and_gives_logits() -> None:
    space = encoder(layers=2, width=16, heads=2, classes=7, vocabulary=50)
    skips = Architecture({**dict.fromkeys(choices(space.network), "skip"), "exit": "none"})
    (tokens,) = space.example_inputs(3, 9)
    assert int(tokens.max()) < 50
    network = select(space.network, skips)
    assert network(tokens).shape == (3, 7)
    mean = network.head.norm(network.embedding(tokens)).mean(dim=1)
    torch.testing.assert_close(network(tokens), mean @ network.head.linear.weight.T)


def test_nothing_decodes() -> None:
    assert not any(isinstance(module, Stateful) for module in SPACE.network.modules())


def test_weights_come_from_the_seed_alone() -> None:
    first, again, other = (encoder(layers=1, seed=seed).network.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.linear.weight"], other["head.linear.weight"])


def test_untrained_networks_guess_at_any_depth_and_nobody_leaves() -> None:
    """With the fewest classes, too, which are the easiest to be sure of."""
    network = encoder(layers=4, classes=2).network
    (tokens,) = SPACE.example_inputs(2, 64)
    for architecture in covering(network):
        plain = select(network, architecture).eval()
        stays = select(network, Architecture({**architecture, "exit": "none"})).eval()
        with torch.no_grad():
            assert plain(tokens).std() < 0.5
            torch.testing.assert_close(plain(tokens), stays(tokens))


def test_exits_share_one_head() -> None:
    exits = choices(encoder(layers=2).network)["exit"]
    strict, lax = exits.option("exit_0.95"), exits.option("exit_0.8")
    assert strict.head is lax.head
    assert (strict.threshold, lax.threshold) == (0.95, 0.8)


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
