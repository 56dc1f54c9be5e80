"""The sum of shifted copies against PyTorch's own depthwise convolution."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import SearchSpaceError
from search_spaces.blocks import GatedConvolution


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 20), kernel=st.integers(1, 6))
def test_equals_conv1d_between_two_gates(length: int, kernel: int) -> None:
    torch.manual_seed(length)
    block, x = GatedConvolution(8, kernel), torch.randn(2, length, 8)
    input_gate, gate, value = block.gates(x).chunk(3, dim=-1)
    padded = F.pad((input_gate * value).transpose(1, 2), (kernel - 1, 0))
    convolved = F.conv1d(padded, block.taps.T[:, None], groups=8).transpose(1, 2)
    torch.testing.assert_close(block(x), block.out(gate * convolved))


def test_a_kernel_must_hold_the_token() -> None:
    with pytest.raises(SearchSpaceError, match="got 0"):
        GatedConvolution(8, kernel=0)
