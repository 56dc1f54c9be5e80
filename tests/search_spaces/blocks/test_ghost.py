"""Ghost modules and bottlenecks against their definition."""

import pytest
import torch
from torch import Tensor

from search_spaces import SearchSpaceError
from search_spaces.blocks import GhostBottleneck
from search_spaces.blocks.ghost import GhostModule
from tests.search_spaces.blocks.image_arithmetic import image, learnt, linear_part


def by_hand(x: Tensor, module: GhostModule, bends: bool) -> Tensor:
    low = 0.0 if bends else -torch.inf
    primary = linear_part(x, module.primary).clamp(min=low)
    return torch.cat((primary, linear_part(primary, module.cheap).clamp(min=low)), dim=1)


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (4, 2), (6, 1)])
def test_equals_the_definition(outputs: int, stride: int) -> None:
    block, x = GhostBottleneck(4, outputs, expansion=3, stride=stride), image(4)
    y = learnt(block)(x)
    hidden = by_hand(x, block.expand, bends=True)
    assert hidden.shape[1] == 12
    expected = by_hand(linear_part(hidden, block.reduce) if stride > 1 else hidden, block.out, bends=False)
    torch.testing.assert_close(y, expected + x if y.shape == x.shape else expected)


def test_half_of_the_products_of_a_plain_convolution() -> None:
    """GhostNet, section 3.2, eq. 4: about s = 2 times fewer."""
    module = GhostModule(64, 128)
    weights = sum(unit.convolution.weight.numel() for unit in (module.primary, module.cheap))
    assert 64 * 128 / weights == pytest.approx(2, rel=0.15)


def test_halves_need_an_even_number() -> None:
    with pytest.raises(SearchSpaceError, match="5 is odd"):
        GhostBottleneck(4, 5, expansion=2)
