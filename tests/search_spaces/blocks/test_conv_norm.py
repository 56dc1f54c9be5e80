"""Convolution and batch norm against their definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from search_spaces import SearchSpaceError
from search_spaces.blocks import ConvNorm
from search_spaces.blocks.conv_norm import depthwise
from tests.search_spaces.blocks.image_arithmetic import image, learnt, linear_part


@settings(max_examples=12)
@given(
    kernel=st.sampled_from([1, 3, 5]), stride=st.integers(1, 2), side=st.integers(1, 6), alone=st.booleans()
)
def test_equals_the_definition(kernel: int, stride: int, side: int, alone: bool) -> None:
    if alone:
        unit = depthwise(3, kernel, stride=stride, activation=nn.ReLU)
    else:
        unit = ConvNorm(3, 4, kernel, stride=stride, activation=nn.ReLU)
    x = image(3, side)
    y = learnt(unit)(x)
    torch.testing.assert_close(y, linear_part(x, unit).clamp(min=0))
    assert y.shape[2:] == (-(-side // stride), -(-(side + 1) // stride)), "sides are rounded up"


@pytest.mark.parametrize("kernel", [0, 2, -1])
def test_a_kernel_has_a_middle(kernel: int) -> None:
    with pytest.raises(SearchSpaceError, match=f"odd, got {kernel}"):
        ConvNorm(3, 4, kernel)
