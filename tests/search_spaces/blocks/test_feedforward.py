"""SwiGLU and low-rank layers against their formulas."""

from functools import partial

import pytest
import torch

from search_spaces import SearchSpaceError
from search_spaces.blocks import LowRankLinear, PreNorm, RMSNorm, SwiGLU


def test_swiglu_by_its_formula() -> None:
    block, x = SwiGLU(4, 6), torch.randn(2, 3, 4)
    gate_weight, up_weight = block.gate_up.weight[:6], block.gate_up.weight[6:]
    gate = x @ gate_weight.T
    hidden = gate / (1 + torch.exp(-gate)) * (x @ up_weight.T)
    torch.testing.assert_close(block(x), hidden @ block.out.weight.T)


def test_low_rank_is_the_product_of_its_factors() -> None:
    layer, x = LowRankLinear(8, 12, rank=2), torch.randn(5, 8)
    weight = layer.up.weight @ layer.down.weight
    torch.testing.assert_close(layer(x), x @ weight.T)
    assert torch.linalg.matrix_rank(weight) == 2
    assert sum(p.numel() for p in layer.parameters()) == 2 * (8 + 12)


def test_low_rank_swiglu_has_low_rank_layers() -> None:
    block = SwiGLU(8, 32, partial(LowRankLinear, rank=2))
    assert sum(p.numel() for p in block.parameters()) == 2 * (8 + 64) + 2 * (32 + 8)


@pytest.mark.parametrize("rank", [0, -1, 4])
def test_a_rank_must_save_something(rank: int) -> None:
    with pytest.raises(SearchSpaceError, match=f"rank {rank} saves nothing"):
        LowRankLinear(8, 8, rank)


def test_a_hidden_width_must_be_positive() -> None:
    with pytest.raises(SearchSpaceError, match="got 0"):
        SwiGLU(8, 0)


def test_norm_and_residual_by_their_formulas() -> None:
    x = torch.randn(2, 3, 8)
    norm = RMSNorm(8)
    torch.nn.init.normal_(norm.scale)
    expected = torch.nn.functional.rms_norm(x, (8,), norm.scale, eps=1e-6)
    torch.testing.assert_close(norm(x), expected)
    block = PreNorm(8, torch.nn.Linear(8, 8))
    torch.testing.assert_close(block(x), x + block.inner(block.norm(x)))
