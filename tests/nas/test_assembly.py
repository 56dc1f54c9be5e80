"""Assembled decode steps equal PyTorch's: nested choices, blocks outside of choices, each with a state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.cost import Workload
from hw_cost_models.export import feeds
from hw_cost_models.export_cache import ExportCache
from hw_cost_models.structure import structure_key
from nas.assembly import Assembly
from nas.errors import BadInputError
from search_spaces import Architecture, Choice, Decoder, SearchSpace
from search_spaces.blocks import Attention, GatedConvolution, LinearAttention, PreNorm
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
