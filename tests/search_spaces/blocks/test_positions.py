"""Blocks of sequences over images: rows follow each other."""

import torch
from torch import nn

from search_spaces.blocks import BidirectionalAttention, MixtureOfExperts, OverPositions
from tests.search_spaces.blocks.image_arithmetic import image


def test_tokens_are_the_positions_row_by_row() -> None:
    torch.manual_seed(0)
    x = image(8, side=3)  # (2, 8, 3, 4)
    block = BidirectionalAttention(8, 2, kv_heads=2).double()
    tokens = torch.stack([x[:, :, i, j] for i in range(3) for j in range(4)], dim=1)
    expected, y = block(tokens), OverPositions(block)(x)
    assert y.shape == x.shape
    for place in range(12):
        torch.testing.assert_close(y[:, :, place // 4, place % 4], expected[:, place])


def test_what_sees_one_token_sees_one_position() -> None:
    torch.manual_seed(0)
    x, block = image(8), OverPositions(MixtureOfExperts(8, 8, experts=3, active=2).double())
    changed = x.clone()
    changed[:, :, 2, 3] += 1
    differs = ((block(x) - block(changed)).abs() > 1e-9).any(dim=1)
    assert differs[:, 2, 3].all()
    assert differs.sum() == len(x)
    linear = nn.Linear(8, 8).double()
    pointwise = nn.functional.conv2d(x, linear.weight[:, :, None, None], linear.bias)
    torch.testing.assert_close(OverPositions(linear)(x), pointwise)
