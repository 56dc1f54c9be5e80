"""Block-diagonal layers and Monarch layers against the dense matrices that they stand for."""

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
from search_spaces.blocks import BlockDiagonalLinear, MonarchLinear, SwiGLU

BATCH = (2, 3)


def transposing(rows: int, columns: int) -> Tensor:
    """The permutation matrix that turns a matrix laid out by rows into its transpose laid out by rows."""
    matrix = torch.zeros(rows * columns, rows * columns, dtype=torch.float64)
    for row in range(rows):
        for column in range(columns):
            matrix[column * rows + row, row * columns + column] = 1
    return matrix


def check(layer: nn.Module, dense: Tensor, inputs: int) -> None:
    """Outputs and gradients are those of the dense matrix, which is differentiated through its blocks."""
    x = torch.randn(*BATCH, inputs, dtype=torch.float64, requires_grad=True)
    output, expected = layer(x), x @ dense.T
    torch.testing.assert_close(output, expected)
    slope = torch.randn_like(output)
    asked = [x, *layer.parameters()]
    found = torch.autograd.grad((output * slope).sum(), asked)
    torch.testing.assert_close(found, torch.autograd.grad((expected * slope).sum(), asked))


widths = st.integers(1, 6)


@settings(max_examples=15, deadline=None)
@given(blocks=st.integers(2, 5), wide=widths, high=widths)
def test_block_diagonal_is_its_dense_matrix(blocks: int, wide: int, high: int) -> None:
    torch.manual_seed(blocks)
    layer = BlockDiagonalLinear(blocks * wide, blocks * high, blocks).double()
    check(layer, torch.block_diag(*layer.weight), blocks * wide)


@settings(max_examples=15, deadline=None)
@given(blocks=st.integers(3, 5), wide=widths, high=widths)
def test_monarch_is_its_dense_matrix(blocks: int, wide: int, high: int) -> None:
    torch.manual_seed(blocks)
    layer = MonarchLinear(blocks * wide, blocks * high, blocks).double()
    first, second = torch.block_diag(*layer.first.weight), torch.block_diag(*layer.second.weight)
    dense = transposing(blocks, high) @ second @ transposing(blocks, min(wide, high)) @ first
    check(layer, dense, blocks * wide)


def test_every_output_of_a_monarch_layer_hears_of_every_input() -> None:
    """4 blocks of 4, so 16 between them; with 8 blocks of 2 some pairs of groups never meet."""
    for blocks, full in ((4, True), (8, False)):
        dense = MonarchLinear(16, 32, blocks)(torch.eye(16))
        assert bool((dense != 0).all()) == full


def test_they_weigh_what_they_promise() -> None:
    for layer, weights in (
        (BlockDiagonalLinear(32, 64, 4), 32 * 64 / 4),
        (MonarchLinear(32, 64, 4), (32 + 64) * 32 / 4),
    ):
        cost = static_cost(layer, (torch.randn(2, 5, 32),))
        assert cost.parameters == weights
        assert cost.flops == 2 * 10 * weights


@pytest.mark.parametrize("kind", [BlockDiagonalLinear, MonarchLinear])
def test_swiglu_made_of_them_is_exported_at_any_batch_and_length(
    kind: type[BlockDiagonalLinear | MonarchLinear], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    block, file = SwiGLU(16, 24, partial(kind, blocks=4)), tmp_path / "block.onnx"
    names = {"input_names": ["x"], "output_names": ["y"]}
    export_onnx(block, (torch.randn(1, 4, 16),), file, dynamic={0: "batch", 1: "length"}, **names)
    session = onnxruntime.InferenceSession(file)
    for batch, length in ((1, 1), (3, 17)):
        x = torch.randn(batch, length, 16)
        (y,) = session.run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(y), block(x).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("inputs", "outputs", "blocks"), [(8, 8, 1), (8, 6, 4), (6, 8, 4), (8, 8, 0)])
def test_blocks_must_divide_both(inputs: int, outputs: int, blocks: int) -> None:
    for kind in (BlockDiagonalLinear, MonarchLinear):
        with pytest.raises(SearchSpaceError, match=f"^{blocks} blocks between {inputs} inputs"):
            kind(inputs, outputs, blocks)


def test_a_product_must_save_something() -> None:
    with pytest.raises(SearchSpaceError, match="2 blocks save nothing between 8 inputs and 8 outputs"):
        MonarchLinear(8, 8, 2)
