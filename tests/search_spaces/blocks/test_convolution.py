"""The sum of shifted copies against PyTorch's own depthwise convolution."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import SearchSpaceError
from search_spaces.blocks import CentredConvolution, GatedConvolution
from search_spaces.decoding import Stateful
from tests.search_spaces import exporting


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


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 20), half=st.integers(0, 4))
def test_centred_equals_conv1d_with_the_same_padding_on_both_sides(length: int, half: int) -> None:
    torch.manual_seed(length)
    block = CentredConvolution(8, 2 * half + 1).double()
    x = torch.randn(2, length, 8, dtype=torch.float64, requires_grad=True)
    input_gate, gate, value = block.gates(x).chunk(3, dim=-1)
    gated = (input_gate * value).transpose(1, 2)
    convolved = F.conv1d(gated, block.taps.T[:, None], groups=8, padding="same").transpose(1, 2)
    outputs = block(x), block.out(gate * convolved)
    torch.testing.assert_close(*outputs)
    wanted = [x, *block.parameters()]
    for ours, theirs in zip(*(torch.autograd.grad(y.square().sum(), wanted) for y in outputs), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_centred_exports_and_has_no_next_token(tmp_path: Path) -> None:
    torch.manual_seed(0)
    block = CentredConvolution(8)
    assert not isinstance(block, Stateful)
    exporting.assert_prompts_agree(block, 8, tmp_path)


@pytest.mark.parametrize("kernel", [0, 4, -1])
def test_a_centred_kernel_has_a_middle(kernel: int) -> None:
    with pytest.raises(SearchSpaceError, match=f"odd number of tokens, got {kernel}"):
        CentredConvolution(8, kernel)
