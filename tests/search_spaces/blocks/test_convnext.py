"""ConvNeXt, one position at a time."""

import math

import pytest
import torch

from search_spaces import SearchSpaceError
from search_spaces.blocks import ConvNeXt
from tests.search_spaces.blocks.image_arithmetic import convolved, image


def test_equals_the_definition() -> None:
    torch.manual_seed(0)
    block, x = ConvNeXt(4, kernel=7, expansion=2).double(), image(4)
    torch.nn.init.normal_(block.norm.weight)
    mixed, expected = convolved(x, block.depthwise), x.clone()
    for b in range(len(x)):
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                v = mixed[b, :, i, j]
                v = (v - v.mean()) / (
                    v.var(unbiased=False) + 1e-6
                ).sqrt() * block.norm.weight + block.norm.bias
                hidden = block.mlp.up.weight @ v
                hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
                expected[b, :, i, j] += block.scale * (block.mlp.out.weight @ hidden)
    torch.testing.assert_close(block(x), expected)


def test_a_kernel_has_a_middle() -> None:
    with pytest.raises(SearchSpaceError, match="odd, got 4"):
        ConvNeXt(4, kernel=4)
