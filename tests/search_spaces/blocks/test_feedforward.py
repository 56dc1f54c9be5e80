"""Feed-forward blocks and low-rank layers against their formulas."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hw_cost_models import export_onnx, static_cost
from search_spaces import SearchSpaceError
from search_spaces.blocks import MLP, GeGLU, LowRankLinear, PreNorm, RMSNorm, SwiGLU


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def gated(activation: Callable[[Tensor], Tensor], block: SwiGLU | GeGLU, x: Tensor) -> Tensor:
    hidden = block.out.weight.shape[1]
    gate, up = block.gate_up.weight[:hidden], block.gate_up.weight[hidden:]
    return (activation(x @ gate.T) * (x @ up.T)) @ block.out.weight.T


FORMULAS: dict[type[nn.Module], Callable[[nn.Module, Tensor], Tensor]] = {
    MLP: lambda block, x: gelu(x @ block.up.weight.T) @ block.out.weight.T,
    SwiGLU: partial(gated, silu),
    GeGLU: partial(gated, gelu),
}
every_kind = pytest.mark.parametrize("kind", FORMULAS)


@every_kind
@settings(max_examples=10, deadline=None)
@given(width=st.integers(1, 9), hidden=st.integers(1, 9), length=st.integers(1, 5))
def test_by_its_formula_at_any_width(kind: type[nn.Module], width: int, hidden: int, length: int) -> None:
    torch.manual_seed(width)
    block = kind(width, hidden).double()
    x = torch.randn(2, length, width, dtype=torch.float64, requires_grad=True)
    output, expected = block(x), FORMULAS[kind](block, x)
    torch.testing.assert_close(output, expected)
    slope, asked = torch.randn_like(x), [x, *block.parameters()]
    found = torch.autograd.grad((output * slope).sum(), asked)
    torch.testing.assert_close(found, torch.autograd.grad((expected * slope).sum(), asked))


@pytest.mark.parametrize(("kind", "layers"), [(MLP, 2), (SwiGLU, 3), (GeGLU, 3)])
def test_it_is_priced_by_its_hidden_width(kind: type[nn.Module], layers: int) -> None:
    """A bottleneck of 3 and a block four times as wide."""
    for hidden in (3, 32):
        cost = static_cost(kind(8, hidden), (torch.randn(1, 5, 8),))
        assert cost.parameters == layers * 8 * hidden
        assert 0 < cost.flops - 2 * 5 * cost.parameters < 5 * 20 * hidden, "activations come on top"


class Together(nn.Module):
    """One export in place of three."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(kind(6, 11) for kind in FORMULAS)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [block(x) for block in self.blocks]


def test_exported_they_are_the_same_at_any_batch_and_length(tmp_path: Path) -> None:
    torch.manual_seed(0)
    together, file = Together(), tmp_path / "blocks.onnx"
    names = {"input_names": ["x"], "output_names": [kind.__name__ for kind in FORMULAS]}
    export_onnx(together, (torch.randn(1, 4, 6),), file, dynamic={0: "batch", 1: "length"}, **names)
    x = torch.randn(3, 7, 6)
    found = onnxruntime.InferenceSession(file).run(None, {"x": x.numpy()})
    for output, expected in zip(found, together(x), strict=True):
        torch.testing.assert_close(torch.from_numpy(output), expected.detach(), atol=1e-4, rtol=1e-4)


def test_low_rank_is_the_product_of_its_factors() -> None:
    layer, x = LowRankLinear(8, 12, rank=2), torch.randn(5, 8)
    weight = layer.up.weight @ layer.down.weight
    torch.testing.assert_close(layer(x), x @ weight.T)
    assert torch.linalg.matrix_rank(weight) == 2
    assert sum(p.numel() for p in layer.parameters()) == 2 * (8 + 12)


@pytest.mark.parametrize(("kind", "first"), [(MLP, 32), (SwiGLU, 64), (GeGLU, 64)])
def test_low_rank_blocks_have_low_rank_layers(kind: type[nn.Module], first: int) -> None:
    block = kind(8, 32, partial(LowRankLinear, rank=2))
    assert sum(p.numel() for p in block.parameters()) == 2 * (8 + first) + 2 * (32 + 8)


@pytest.mark.parametrize("rank", [0, -1, 4])
def test_a_rank_must_save_something(rank: int) -> None:
    with pytest.raises(SearchSpaceError, match=f"rank {rank} saves nothing"):
        LowRankLinear(8, 8, rank)


@every_kind
def test_a_hidden_width_must_be_positive(kind: type[nn.Module]) -> None:
    with pytest.raises(SearchSpaceError, match="got 0"):
        kind(8, 0)


def test_norm_and_residual_by_their_formulas() -> None:
    x = torch.randn(2, 3, 8)
    norm = RMSNorm(8)
    torch.nn.init.normal_(norm.scale)
    expected = torch.nn.functional.rms_norm(x, (8,), norm.scale, eps=1e-6)
    torch.testing.assert_close(norm(x), expected)
    block = PreNorm(8, torch.nn.Linear(8, 8))
    torch.testing.assert_close(block(x), x + block.inner(block.norm(x)))
