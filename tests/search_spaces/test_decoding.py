"""Token by token equals the whole sequence at once, in PyTorch and in an exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hw_cost_models import export_onnx
from search_spaces import Decoder, blocks, finalised, hybrid_lm, select
from search_spaces.blocks import (
    Attention,
    BlockSparseAttention,
    GatedConvolution,
    GatedDeltaNet,
    LatentAttention,
    LinearAttention,
    SlidingWindowAttention,
    StateSpace,
)
from search_spaces.decoding import Stateful
from tests.search_spaces.covering import covering

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 16
BLOCKS = {
    "attention": Attention(WIDTH, 4, 4),
    "grouped": Attention(WIDTH, 4, 2),
    "multi query": Attention(WIDTH, 4, 1),
    "block sparse": BlockSparseAttention(WIDTH, 2, block=6, summary=2),
    "block of one": BlockSparseAttention(WIDTH, 2, block=1, summary=1),
    "latent": LatentAttention(WIDTH, 2, rank=6, rotary_width=4),
    "window": SlidingWindowAttention(WIDTH, 2, 5),
    "window of one": SlidingWindowAttention(WIDTH, 2, 1),
    "window with sinks": SlidingWindowAttention(WIDTH, 2, 5, sinks=2),
    "linear": LinearAttention(WIDTH, 2, 8),
    "convolution": GatedConvolution(WIDTH, 4),
    "convolution of one": GatedConvolution(WIDTH, 1),
    "gated delta": GatedDeltaNet(WIDTH, 2, chunk=8),
    "state space": StateSpace(WIDTH, 2, 8, chunk=8),
}


def _stepped(block: Stateful, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    state, outputs = block.state(x.shape[0]), []
    for token in x.split(1, dim=1):
        y, state = block.step(token, state)
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


@pytest.mark.parametrize("name", BLOCKS)
@settings(max_examples=10, deadline=None)
@given(batch=st.integers(1, 3), length=st.integers(1, 40))
def test_steps_equal_the_forward(name: str, batch: int, length: int) -> None:
    block = BLOCKS[name].double()
    assert isinstance(block, Stateful)
    torch.manual_seed(length)
    x = torch.randn(batch, length, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        y, state = _stepped(block, x)
        torch.testing.assert_close(y, block(x), atol=1e-6, rtol=1e-6)  # angles are fp32
        prefilled, after = block.prefill(x)
        torch.testing.assert_close(prefilled, y, atol=1e-6, rtol=1e-6)
        for made, stepped in zip(after, state, strict=True):
            torch.testing.assert_close(made, stepped, atol=1e-6, rtol=1e-6)
    expected = block.state(batch, length)
    assert [t.shape for t in state] == [t.shape for t in expected], "shapes are as announced"


def test_every_block_with_a_step_is_in_the_table() -> None:
    offered = (getattr(blocks, name) for name in blocks.__all__)
    assert {block for block in offered if hasattr(block, "step")} == set(map(type, BLOCKS.values()))


@pytest.fixture(scope="module")
def every_mixer() -> tuple[nn.Module, Decoder]:
    space = hybrid_lm(layers=13, width=WIDTH, heads=2)
    (architecture,) = covering(space.network)
    network = finalised(select(space.network, architecture)).eval()
    return network, Decoder(network)


def test_a_decoder_is_a_view(every_mixer: tuple[nn.Module, Decoder]) -> None:
    network, decoder = every_mixer
    assert {id(p) for p in decoder.parameters()} == {id(p) for p in network.parameters()}
    assert "layers.0.mixer.inner.key" in decoder.state_names
    states = 3 * 2 + 2 + 2 + 4 + 1 + 2 + 2 + 1 + 2 * 2  # of the mixers in order; the first two come twice
    assert len(decoder.state_names) == len(decoder.state(1)) == states
    assert not any(isinstance(m, Decoder) for m in network.modules())
    with torch.no_grad():
        assert network(torch.ones(1, 3, dtype=torch.long)).shape == (1, 3, 256)


@pytest.mark.parametrize("batch", [1, 3])
def test_an_exported_step_generates_what_pytorch_does(
    every_mixer: tuple[nn.Module, Decoder], exported: Path, batch: int
) -> None:
    network, decoder = every_mixer
    session = onnxruntime.InferenceSession(exported)
    tokens = torch.randint(0, 256, (batch, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(tokens)
    names = [value.name for value in session.get_inputs()]
    state = [tensor.numpy() for tensor in decoder.state(batch)]
    for position in range(tokens.shape[1]):
        fed = [tokens[:, position : position + 1].numpy(), *state]
        logits, *state = session.run(None, dict(zip(names, fed, strict=True)))
        torch.testing.assert_close(
            torch.from_numpy(logits)[:, 0], expected[:, position], atol=1e-4, rtol=1e-4
        )


@pytest.fixture(scope="module")
def exported(every_mixer: tuple[nn.Module, Decoder], tmp_path_factory: pytest.TempPathFactory) -> Path:
    _, decoder = every_mixer
    path = tmp_path_factory.mktemp("decoder") / "step.onnx"
    inputs = (torch.ones(1, 1, dtype=torch.long), *decoder.state(1, 40))
    past, present = ([f"{when}.{name}" for name in decoder.state_names] for when in ("past", "present"))
    export_onnx(decoder, inputs, path, dynamic={}, input_names=["t", *past], output_names=["y", *present])
    return path


def test_free_dimensions_are_found(every_mixer: tuple[nn.Module, Decoder]) -> None:
    _, decoder = every_mixer
    free = dict(zip(["token", *decoder.state_names], decoder.free_dimensions(), strict=True))
    assert free["token"] == {0: "batch"}
    assert free["layers.1.mixer.inner.key"] == {0: "batch", 2: "context"}
    assert free["layers.4.mixer.inner.value"] == {0: "batch", 2: "layers.4.mixer.inner.window"}
    assert free["layers.6.mixer.inner.summary_key"] == {0: "batch", 2: "layers.6.mixer.inner.summaries"}
    assert free["layers.7.mixer.inner.sums"] == {0: "batch"}


def test_a_dimension_that_grows_more_slowly_than_the_context_has_a_name_of_its_own() -> None:
    decoder = Decoder(nn.Sequential(BlockSparseAttention(WIDTH, 2, block=64, summary=4)))
    summaries, own = {0: "batch", 2: "0.summaries"}, {0: "batch", 2: "0.window"}
    assert decoder.free_dimensions() == [{0: "batch"}, summaries, summaries, own, own]


def test_a_window_that_the_first_token_fills_is_free() -> None:
    decoder = Decoder(nn.Sequential(SlidingWindowAttention(WIDTH, 2, window=2)))
    assert decoder.free_dimensions()[1:] == [{0: "batch", 2: "0.window"}] * 2
