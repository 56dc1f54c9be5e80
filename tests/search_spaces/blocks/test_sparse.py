"""2:4 weights against a mask found by sorting, four by four."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import SearchSpaceError
from search_spaces.blocks import SparseLinear, SwiGLU, finalised
from search_spaces.blocks.sparse import two_of_four


def sorted_mask(four: list[float]) -> list[bool]:
    """Python's sort is stable: of equals, the earlier stays."""
    kept = sorted(range(4), key=lambda i: -abs(four[i]))[:2]
    return [i in kept for i in range(4)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]), min_size=4, max_size=4))
def test_mask_keeps_the_two_largest_even_among_equals(four: list[float]) -> None:
    assert two_of_four(torch.tensor(four)).tolist() == sorted_mask(four)


def test_layer_multiplies_by_the_masked_weight_and_learns_behind_the_mask() -> None:
    torch.manual_seed(0)
    layer, x = SparseLinear(8, 6), torch.randn(5, 8)
    mask = torch.tensor([[*sorted_mask(row[:4]), *sorted_mask(row[4:])] for row in layer.weight.tolist()])
    output = layer(x)
    torch.testing.assert_close(output, x @ (layer.weight * mask).T)
    slope = torch.randn(5, 6)
    (output * slope).sum().backward()
    torch.testing.assert_close(layer.weight.grad, slope.T @ x)  # dense: a dropped weight may return


def test_mask_follows_the_weight() -> None:
    layer, x = SparseLinear(4, 1), torch.eye(4)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[4.0, 3.0, 2.0, 1.0]]))
        assert layer(x).flatten().tolist() == [4, 3, 0, 0]
        layer.weight[0, 3] = -5.0
        assert layer(x).flatten().tolist() == [4, 0, 0, -5]


def test_finalised_copy_holds_the_zeros_and_computes_the_same() -> None:
    block, x = SwiGLU(8, 16, SparseLinear), torch.randn(3, 8)
    before = copy.deepcopy(block.state_dict())
    final = finalised(block)
    assert torch.equal(final(x), block(x))
    assert all(torch.equal(before[name], value) for name, value in block.state_dict().items())
    for layer in (final.gate_up, final.out):
        zeros = (layer.weight == 0).reshape(-1, 4).sum(dim=1)
        assert (zeros == 2).all()
        assert layer.nonzero_parameters() == int(layer.weight.count_nonzero())


def test_inputs_must_come_in_fours() -> None:
    with pytest.raises(SearchSpaceError, match="got 6"):
        SparseLinear(6, 8)
