"""Inverted residuals, step by step from the definitions of their papers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces import SearchSpaceError
from search_spaces.blocks import FusedMBConv, MBConv
from search_spaces.blocks.mbconv import SqueezeExcitation
from tests.search_spaces.blocks.image_arithmetic import image, learnt, linear_part

INPUTS = 4
shapes = st.sampled_from([(INPUTS, 1), (INPUTS, 2), (6, 1), (6, 2)])
"""Outputs and stride: only the first keeps the shape."""


def excited_by_hand(x: Tensor, block: SqueezeExcitation) -> Tensor:
    means = torch.tensor([[channel.mean().item() for channel in one] for one in x], dtype=x.dtype)
    squeezed = (means @ block.squeeze.weight.T + block.squeeze.bias).clamp(min=0)
    scores = squeezed @ block.excite.weight.T + block.excite.bias
    gates = ((scores + 3) / 6).clamp(0, 1)  # MobileNetV3, section 5.2: relu6(x + 3) / 6
    return torch.einsum("bchw,bc->bchw", x, gates)


@settings(max_examples=12)
@given(shape=shapes, kernel=st.sampled_from([3, 7]), excited=st.booleans())
def test_mbconv_equals_the_definition(shape: tuple[int, int], kernel: int, excited: bool) -> None:
    outputs, stride = shape
    block, x = (
        MBConv(INPUTS, outputs, kernel=kernel, expansion=3, stride=stride, excited=excited),
        image(INPUTS),
    )
    y = learnt(block)(x)
    hidden = linear_part(linear_part(x, block.expand).clamp(min=0), block.depthwise).clamp(min=0)
    assert hidden.shape[1] == 3 * INPUTS
    expected = linear_part(excited_by_hand(hidden, block.excite) if excited else hidden, block.out)
    torch.testing.assert_close(y, expected + x if y.shape == x.shape else expected)


@settings(max_examples=8)
@given(shape=shapes)
def test_fused_equals_the_definition(shape: tuple[int, int]) -> None:
    outputs, stride = shape
    block = FusedMBConv(INPUTS, outputs, kernel=3, expansion=2, stride=stride, activation=nn.Hardswish)
    x = image(INPUTS)
    y = learnt(block)(x)
    hidden = linear_part(x, block.expand)
    expected = linear_part(hidden * ((hidden + 3) / 6).clamp(0, 1), block.out)
    torch.testing.assert_close(y, expected + x if y.shape == x.shape else expected)


def test_parameters_are_those_of_the_paper() -> None:
    """MobileNetV2, table 1, counted by hand; batch norms have two a channel."""
    block = MBConv(24, 40, kernel=5, expansion=6)
    by_hand = 24 * 144 + 25 * 144 + 144 * 40 + 2 * (144 + 144 + 40)
    assert sum(p.numel() for p in block.parameters()) == by_hand


def test_what_cannot_be() -> None:
    for kind in (MBConv, FusedMBConv):
        with pytest.raises(SearchSpaceError, match="expansion of 0"):
            kind(4, 4, kernel=3, expansion=0)
    with pytest.raises(SearchSpaceError, match="squeeze into, got 0"):
        SqueezeExcitation(4, 0)
