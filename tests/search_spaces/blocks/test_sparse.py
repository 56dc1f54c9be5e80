"""N:M weights against a mask found by sorting, group by group."""

import copy
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import Tensor, nn

from hw_cost_models import export_onnx, static_cost
from search_spaces import SearchSpaceError
from search_spaces.blocks import SparseLinear, SwiGLU, finalised
from search_spaces.blocks.sparse import largest

PATTERNS = [(2, 4), (1, 4), (1, 2), (3, 7), (4, 8)]


def sorted_mask(group: list[float], keep: int) -> list[bool]:
    """Python's sort is stable: of equals, the earlier stays."""
    kept = sorted(range(len(group)), key=lambda i: -abs(group[i]))[:keep]
    return [i in kept for i in range(len(group))]


def mask_of(weight: Tensor, keep: int, of: int) -> Tensor:
    groups = weight.reshape(-1, of).tolist()
    return torch.tensor([sorted_mask(group, keep) for group in groups]).reshape(weight.shape)


@settings(max_examples=150, deadline=None)
@given(of=st.integers(2, 9), groups=st.integers(1, 3), data=st.data())
def test_mask_keeps_the_largest_even_among_equals(of: int, groups: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(1, of - 1))
    values = st.sampled_from([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
    row = torch.tensor(data.draw(st.lists(values, min_size=groups * of, max_size=groups * of)))
    assert torch.equal(largest(row, keep, of), mask_of(row, keep, of))


@pytest.mark.parametrize(("keep", "of"), PATTERNS)
def test_layer_multiplies_by_the_masked_weight_and_learns_behind_the_mask(keep: int, of: int) -> None:
    torch.manual_seed(0)
    layer, x = SparseLinear(3 * of, 6, keep, of).double(), torch.randn(5, 3 * of, dtype=torch.float64)
    x.requires_grad_()
    masked = layer.weight.detach() * mask_of(layer.weight, keep, of)
    output = layer(x)
    torch.testing.assert_close(output, x @ masked.T)
    slope = torch.randn(5, 6, dtype=torch.float64)
    (output * slope).sum().backward()
    torch.testing.assert_close(layer.weight.grad, slope.T @ x)  # dense: a dropped weight may return
    torch.testing.assert_close(x.grad, slope @ masked)


def test_two_of_four_unless_told_otherwise() -> None:
    layer, x = SparseLinear(4, 1), torch.eye(4)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[4.0, 3.0, 2.0, 1.0]]))
        assert layer(x).flatten().tolist() == [4, 3, 0, 0]
        layer.weight[0, 3] = -5.0
        assert layer(x).flatten().tolist() == [4, 0, 0, -5], "the mask follows the weight"


@pytest.mark.parametrize(("keep", "of"), [(2, 4), (1, 4), (4, 8)])
def test_finalised_copy_holds_the_zeros_and_computes_the_same(keep: int, of: int) -> None:
    block, x = SwiGLU(8, 16, partial(SparseLinear, keep=keep, of=of)), torch.randn(3, 8)
    before = copy.deepcopy(block.state_dict())
    final = finalised(block)
    assert torch.equal(final(x), block(x))
    assert all(torch.equal(before[name], value) for name, value in block.state_dict().items())
    for layer in (final.gate_up, final.out):
        zeros = (layer.weight == 0).reshape(-1, of).sum(dim=1)
        assert (zeros == of - keep).all()
        assert layer.nonzero_parameters() == int(layer.weight.count_nonzero())


def test_only_what_is_kept_is_counted() -> None:
    cost = static_cost(SparseLinear(8, 6, 1, 4), (torch.randn(2, 8),))
    assert cost.parameters == 8 * 6 / 4
    assert cost.flops == 2 * 2 * 8 * 6, "the mask is made once, and zeros are multiplied by"


class Both(nn.Module):
    """The same layer as it ships and as it trains."""

    def __init__(self, layer: SparseLinear) -> None:
        super().__init__()
        self.final, self.training_form = finalised(layer), layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.final(x), self.training_form(x)


def test_exported_weights_hold_exact_zeros_and_give_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = SparseLinear(12, 7, 1, 4)
    names = {"input_names": ["x"], "output_names": ["final", "training"]}
    file = tmp_path / "sparse.onnx"
    export_onnx(Both(layer), (torch.randn(1, 2, 12),), file, dynamic={0: "batch", 1: "length"}, **names)
    x = torch.randn(3, 5, 12)
    for output in onnxruntime.InferenceSession(file).run(None, {"x": x.numpy()}):
        torch.testing.assert_close(torch.from_numpy(output), layer(x).detach(), atol=1e-4, rtol=1e-4)
    stored = [numpy_helper.to_array(tensor) for tensor in onnx.load(str(file)).graph.initializer]
    kept = np.sort((layer.weight * mask_of(layer.weight, 1, 4)).detach().numpy(), None)
    assert any(w.size == 84 and np.array_equal(np.sort(w, None), kept) for w in stored)


def test_inputs_must_come_in_groups() -> None:
    with pytest.raises(SearchSpaceError, match="2:4 sparsity needs a multiple of 4 inputs, got 6"):
        SparseLinear(6, 8)


@pytest.mark.parametrize(("keep", "of"), [(0, 4), (4, 4), (1, 65)])
def test_a_pattern_must_drop_something_and_keep_something(keep: int, of: int) -> None:
    with pytest.raises(SearchSpaceError, match=f"{keep}:{of} sparsity: need"):
        SparseLinear(4 * of, 8, keep, of)
