"""Depthwise separable convolutions against their definition."""

import pytest
import torch

from search_spaces.blocks import SeparableConvolution
from tests.search_spaces.blocks.image_arithmetic import image, learnt, linear_part


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (4, 2), (6, 1)])
def test_equals_the_definition(outputs: int, stride: int) -> None:
    block, x = SeparableConvolution(4, outputs, kernel=3, stride=stride), image(4)
    y = learnt(block)(x)
    expected = linear_part(linear_part(x, block.depthwise).clamp(min=0), block.out)
    torch.testing.assert_close(y, expected + x if y.shape == x.shape else expected)


def test_weights_are_a_ninth_and_an_output_of_those_of_a_dense_convolution() -> None:
    """MobileNet, section 3.1: 1 / outputs + 1 / kernel² of the multiplications."""
    block = SeparableConvolution(32, 64, kernel=3)
    weights = sum(unit.convolution.weight.numel() for unit in (block.depthwise, block.out))
    assert weights == pytest.approx(32 * 64 * 9 * (1 / 64 + 1 / 9))
