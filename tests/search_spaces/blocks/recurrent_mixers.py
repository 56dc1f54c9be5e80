"""What is asked of every mixer that keeps a state of fixed size, beside its export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hw_cost_models.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable


def assert_equal_with_gradients(block: nn.Module, recurrence: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """The block and the recurrence, in outputs and in the gradients of the input and of every weight."""
    x = x.requires_grad_()
    weight = torch.randn_like(x)
    ours, theirs = block(x), recurrence(x)
    torch.testing.assert_close(ours, theirs)
    wanted = [x, *block.parameters()]
    for mine, other in zip(
        *(torch.autograd.grad((y * weight).sum(), wanted) for y in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(mine, other)


def assert_causal(block: nn.Module, x: Tensor, now: int) -> None:
    """What comes at `now` or later changes nothing before, to the bit, and something then."""
    changed = torch.cat((x[:, :now], x[:, now:] + 1), dim=1)
    with torch.no_grad():
        before, after = block(x), block(changed)
    assert torch.equal(before[:, :now], after[:, :now])
    assert not torch.equal(before[:, now], after[:, now])


def assert_linear_cost(block: nn.Module, width: int, chunk: int) -> None:
    """As many operations for the chunks from the fifth to the eighth as for the four after them."""
    short, middle, long = (
        sum(flops for _, flops in trace(block, (torch.zeros(1, length, width),)).nodes.data("flops"))
        for length in (4 * chunk, 8 * chunk, 12 * chunk)
    )
    assert long - middle == middle - short > 0
