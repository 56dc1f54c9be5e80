"""What every option of every space promises; one that is added to a space joins by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hw_cost_models import export_many
from hw_cost_models.export import feeds
from hw_cost_models.trace import static_cost
from search_spaces import Decoder, Prefill, blocks, finalised
from search_spaces.auxiliary import collect, collect_loads
from search_spaces.blocks import MixtureOfExperts
from tests.search_spaces.catalogue_options import Option, every_option, without_tokens

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = every_option()
CAUSAL = [name for name, option in OPTIONS.items() if option.causal]
OTHER_SIZES = ((1, 1), (1, 33), (3, 129))
"""None of them that of the example by which options are exported."""

each = pytest.mark.parametrize("name", OPTIONS)
each_causal = pytest.mark.parametrize("name", CAUSAL)


def run(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.no_grad():
        y: Tensor = module(*inputs)
    return y


@each
@settings(max_examples=3)
@given(batch=st.integers(1, 3), length=st.integers(1, 150))
def test_shape_at_any_size_and_examples_that_do_not_meet(name: str, batch: int, length: int) -> None:
    option = OPTIONS[name]
    module, inputs = option.copy(), option.inputs(batch, length)
    together = run(module, inputs)
    assert together.shape == run(option.beside.eval(), inputs).shape
    assert torch.equal(run(module, inputs), together), "evaluation draws nothing"
    apart = torch.cat([run(module, tuple(x[i : i + 1] for x in inputs)) for i in range(batch)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


@each_causal
@settings(max_examples=4)
@given(batch=st.integers(1, 3), length=st.integers(1, 150), data=st.data())
def test_the_future_changes_no_past(name: str, batch: int, length: int, data: st.DataObject) -> None:
    option = OPTIONS[name]
    module, inputs = option.copy(), option.inputs(batch, length)
    now = data.draw(st.integers(0, length - 1))
    noise = torch.Generator().manual_seed(now)
    perturbed = [torch.cat((x[:, :now], torch.randn(x[:, now:].shape, generator=noise)), 1) for x in inputs]
    before, after = run(module, inputs), run(module, tuple(perturbed))
    torch.testing.assert_close(after[:, :now], before[:, :now], atol=1e-6, rtol=1e-6)
    assert not torch.equal(after[:, now], before[:, now])


@each_causal
@settings(max_examples=3)
@given(batch=st.integers(1, 3), length=st.integers(1, 40), data=st.data())
def test_prompt_and_steps_equal_the_forward(name: str, batch: int, length: int, data: st.DataObject) -> None:
    """What keeps no state treats every token by itself: its forward over one is its step."""
    option = OPTIONS[name]
    network = nn.Sequential(option.copy().double())
    prompt = data.draw(st.integers(0, length))
    (x,) = (x.double() for x in option.inputs(batch, length))
    decoder = Decoder(network)
    y, *state = run_all(Prefill(network), x[:, :prompt]) if prompt else (x[:, :0], *decoder.state(batch))
    outputs = [y]
    for token in x[:, prompt:].split(1, dim=1) if prompt < length else ():
        y, *state = run_all(decoder, token, *state)
        outputs.append(y)
    expected = run(network, (x,))
    torch.testing.assert_close(torch.cat(outputs, dim=1), expected, atol=1e-6, rtol=1e-6)  # angles are fp32
    assert [s.shape for s in state] == [s.shape for s in decoder.state(batch, length)]


def run_all(module: nn.Module, *inputs: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        outputs: tuple[Tensor, ...] = module(*inputs)
    return outputs


@each
def test_gradients_reach_every_parameter(name: str) -> None:
    option = OPTIONS[name]
    module = option.copy().train()
    inputs = tuple(x.requires_grad_(x.is_floating_point()) for x in option.inputs(2, 100))
    torch.manual_seed(0)
    with collect() as losses, collect_loads() as loads:
        y = module(*inputs)
    (y * torch.randn(y.shape) + sum(losses)).sum().backward()
    excused = without_tokens(module, loads)
    taught = {path for path, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert taught == {path for path, weight in module.named_parameters() if id(weight) not in excused}


def test_experts_without_tokens_and_no_others_are_excused() -> None:
    torch.manual_seed(0)
    block = MixtureOfExperts(8, 8, experts=5, active=2)
    with collect_loads() as loads:
        block(torch.randn(1, 1, 8)).sum().backward()
    idle = {id(p) for p in block.parameters() if p.grad is None or not p.grad.abs().sum()}
    assert without_tokens(block, loads) == idle
    assert len(idle) == 3 * len(list(block.experts[0].parameters()))


@each
def test_every_operator_has_a_price(name: str) -> None:
    option = OPTIONS[name]
    cost = static_cost(option.copy(), option.inputs(2, 40))
    assert (cost.flops > 0) >= (cost.parameters > 0)


class AtItsPlace(nn.Module):
    """An option that says which dimensions of its inputs are free: those that change with the size."""

    def __init__(self, option: Option) -> None:
        super().__init__()
        self.option = finalised(option.copy())
        self.free = [
            {d: name for d, name in option.dynamic if d < small.dim() and small.shape[d] != large.shape[d]}
            for small, large in zip(option.shapes(2, 3), option.shapes(3, 5), strict=True)
        ]

    def free_dimensions(self) -> list[dict[int, str]]:
        return self.free

    def forward(self, *inputs: Tensor) -> Tensor:
        y: Tensor = self.option(*inputs)
        return y


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By option, many in one graph. The example is no longer than a window or a chunk, at which blocks have
    only one of them."""
    shared: dict[tuple[torch.Size, ...], tuple[Tensor, ...]] = {}  # one tensor is one input of the graph
    items = {}
    for name, option in OPTIONS.items():
        inputs = option.inputs(1, 32)
        items[name] = (AtItsPlace(option), shared.setdefault(tuple(x.shape for x in inputs), inputs))
    return export_many(items, tmp_path_factory.mktemp("options"), {})


@pytest.mark.timeout(900)  # the first of them exports them all
@each
def test_onnx_runtime_agrees_at_other_sizes(exported: dict[str, Path], name: str) -> None:
    """Within 1e-4 of what the option adds: many begin so near the identity that less would hide."""
    session = onnxruntime.InferenceSession(exported[name], providers=["CPUExecutionProvider"])
    option = OPTIONS[name]
    free = "length" in dict(option.dynamic).values()
    for batch, length in OTHER_SIZES:
        inputs = option.inputs(batch, length if free else 32)
        expected = run(option.copy(), inputs)
        added = (expected - inputs[0]).abs().max().item() if expected.shape == inputs[0].shape else 1.0
        (found,) = session.run(None, feeds(exported[name], inputs))
        np.testing.assert_allclose(found, expected, atol=1e-4 * min(1.0, added), rtol=0)


def test_every_block_is_here() -> None:
    found = {type(part).__name__ for option in OPTIONS.values() for part in option.module.modules()}
    offered = {name for name in blocks.__all__ if isinstance(getattr(blocks, name), type)}
    assert offered <= found, "a block is an option of a space of the catalogue, or stands in ALONE"
