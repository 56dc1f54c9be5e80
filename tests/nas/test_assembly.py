"""Assembled networks equal PyTorch's: decode steps, nested choices, choices that the network follows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.cost import Workload
from hw_cost_models.export import export_onnx, feeds
from hw_cost_models.export_cache import ExportCache
from hw_cost_models.structure import structure_key
from nas.assembly import Assembly
from nas.errors import BadInputError
from search_spaces import Architecture, Choice, Decoder, SearchSpace, select
from search_spaces.blocks import Attention, EarlyExit, GatedConvolution, LinearAttention, NoExit, PreNorm
from search_spaces.blocks.early_exit import finish
from tests.nas.toys import Toy, toy_inputs

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 8


class Nested(nn.Module):
    """An option that steps before and after the choice inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = PreNorm(WIDTH, GatedConvolution(WIDTH))
        self.inner = Choice({"linear": LinearAttention(WIDTH, 1), "attention": Attention(WIDTH, 2, 1)})
        self.last = PreNorm(WIDTH, GatedConvolution(WIDTH, 2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.inner(self.first(x)))
        return y


class Stack(nn.Module):
    """Blocks that keep a state before, between and after two choices."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, WIDTH)
        self.before = PreNorm(WIDTH, Attention(WIDTH, 2, 2))
        self.one = Choice({"nested": Nested(), "attention": Attention(WIDTH, 1, 1), "skip": nn.Identity()})
        self.between = PreNorm(WIDTH, LinearAttention(WIDTH, 2))
        self.two = Choice({"convolution": GatedConvolution(WIDTH, 3), "skip": nn.Identity()})
        self.after = PreNorm(WIDTH, GatedConvolution(WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.one(self.before(self.embedding(tokens)))
        y: Tensor = self.after(self.two(self.between(x)))
        return y


def _tokens(batch: int, length: int) -> tuple[Tensor]:
    return (torch.randint(0, 16, (batch, length), generator=torch.Generator().manual_seed(length)),)


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    torch.manual_seed(0)
    dynamic = {0: "batch", 1: "length"}
    space = SearchSpace("stack", Stack(), _tokens, dynamic)
    exports = ExportCache(tmp_path_factory.mktemp("exports"), dynamic)
    return Assembly(space, Workload(2, 9, "decode"), exports)


ARCHITECTURES = [
    {"one": "nested", "one.nested.inner": "linear", "two": "convolution"},
    {"one": "nested", "one.nested.inner": "attention", "two": "skip"},
    {"one": "attention", "two": "convolution"},
    {"one": "skip", "two": "skip"},
]


def _agree(assembly: Assembly, module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    session = onnxruntime.InferenceSession(path)
    with torch.no_grad():
        expected = module(*inputs)
    expected = (expected,) if isinstance(expected, Tensor) else expected
    for found, want in zip(session.run(None, feeds(path, inputs)), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(found), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("taken", ARCHITECTURES, ids=lambda taken: "-".join(taken.values()))
def test_a_whole_steps_as_the_network_does(assembly: Assembly, taken: dict[str, str], tmp_path: Path) -> None:
    architecture = Architecture(taken)
    module, inputs = assembly.whole(architecture)
    assert isinstance(module, Decoder)
    state = [torch.randn_like(tensor) for tensor in inputs[1:]]
    assert assembly.state_bytes((module, inputs)) == sum(4 * tensor.numel() for tensor in state)
    path = tmp_path / "whole.onnx"
    path.write_bytes(assembly.model(architecture).SerializeToString())
    _agree(assembly, module, (inputs[0], *state), path)


def test_an_option_steps_as_it_does_alone(assembly: Assembly, tmp_path: Path) -> None:
    items = {str(decision): assembly.option(decision) for decision in assembly.decisions}
    files = assembly.export({structure_key(*item): item for item in items.values()}, tmp_path)
    for module, inputs in items.values():
        assert inputs[0].shape == (2, 1, WIDTH)
        _agree(assembly, module, inputs, files[structure_key(module, inputs)])
    skip = items[str(("two", "skip"))]
    assert not isinstance(skip[0], Decoder)
    assert assembly.state_bytes(skip) == 0


def test_a_space_without_a_state_does_not_decode(tmp_path: Path) -> None:
    space = SearchSpace("toy", Toy(), toy_inputs)
    with pytest.raises(BadInputError, match="space 'toy' has no decode step"):
        Assembly(space, Workload(1, 4, "decode"), ExportCache(tmp_path, {}))


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before = Choice({"tanh": nn.Tanh(), "linear": nn.Linear(WIDTH, WIDTH, bias=False)})
        self.linear = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 4 * self.linear(self.before(x).mean(dim=1))
        return logits


class Branching(nn.Module):
    """Whether examples leave is inline, and how their head begins is a choice nested in it."""

    def __init__(self) -> None:
        super().__init__()
        self.lower = Choice({"linear": nn.Linear(WIDTH, WIDTH), "skip": nn.Identity()})
        self.exit = Choice({"none": NoExit(), "early": EarlyExit(Head(), 0.7)}, inline=True)
        self.upper = Choice({"attention": Attention(WIDTH, 1, 1), "skip": nn.Identity()})
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        def rest(x: Tensor) -> Tensor:
            logits: Tensor = self.head(self.upper(x).mean(dim=1))
            return logits

        return finish(self.exit, self.lower(x), 3, rest, training=self.training)


def _noise(batch: int, length: int) -> tuple[Tensor]:
    return (2 * torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(length)),)


@pytest.fixture(scope="module")
def branching(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    torch.manual_seed(0)
    dynamic = {0: "batch", 1: "length"}
    space = SearchSpace("branching", Branching(), _noise, dynamic)
    return Assembly(
        space, Workload(batch=2, length=5), ExportCache(tmp_path_factory.mktemp("exports"), dynamic)
    )


@pytest.mark.parametrize(
    "taken",
    [
        {"lower": "linear", "exit": "none", "upper": "attention"},
        {"lower": "linear", "exit": "early", "exit.early.head.before": "tanh", "upper": "attention"},
        {"lower": "skip", "exit": "early", "exit.early.head.before": "linear", "upper": "skip"},
    ],
    ids=lambda taken: "-".join(taken.values()),
)
def test_the_frame_is_that_of_what_it_takes_inline(
    branching: Assembly, taken: dict[str, str], tmp_path: Path
) -> None:
    """The same operators as in an export of the whole, and the same output, whoever leaves."""
    architecture = Architecture(taken)
    network = select(branching.network, architecture).eval()
    whole, assembled = tmp_path / "whole.onnx", tmp_path / "assembled.onnx"
    names = {"input_names": ["x"], "output_names": ["logits"]}
    export_onnx(network, branching.inputs, whole, dynamic=branching.space.dynamic, **names)
    assembled.write_bytes(branching.model(architecture).SerializeToString())
    assert _operators(assembled) == _operators(whole)
    assert ("NonZero" in _operators(assembled)) == (taken["exit"] == "early")
    for batch, length in [(8, 3), (1, 1), (1, 2), (1, 4)]:
        _agree(branching, network, _noise(batch, length), assembled)


def _operators(path: Path) -> Counter[str]:
    """But for what an assembled skip leaves, which the runtime takes out."""
    return Counter(node.op_type for node in onnx.load(path).graph.node if node.op_type != "Identity")


def test_options_of_an_inline_choice_are_priced_alone(branching: Assembly, tmp_path: Path) -> None:
    items = {option: branching.option(("exit", option)) for option in ("none", "early")}
    files = branching.export({structure_key(*item): item for item in items.values()}, tmp_path)
    for module, inputs in items.values():
        answers, x = inputs
        assert (answers.shape, x.shape) == ((2, 4), (2, 5, WIDTH))
        others = torch.randn(3, 4), _noise(3, 8)[0]
        _agree(branching, module, others, files[structure_key(module, inputs)])


def test_choices_stand_as_data_passes_them(tmp_path: Path) -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = Choice({"linear": nn.Linear(4, 4), "skip": nn.Identity()})
            inner = Choice({"linear": nn.Linear(4, 4), "skip": nn.Identity()})
            self.first = Choice({"nested": nn.Sequential(inner), "skip": nn.Identity()})

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.last(self.first(x))
            return y

    space = SearchSpace("backwards", Backwards(), lambda batch, length: (torch.ones(batch, 4),))
    assembly = Assembly(space, Workload(), ExportCache(tmp_path, {0: "batch"}))
    assert list(assembly.choices) == list(assembly.nesting) == ["first", "first.nested.0", "last"]
