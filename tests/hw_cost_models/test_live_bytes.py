"""What is alive, counted by hand, without data and with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.eager_peak import _forward
from hw_cost_models.errors import HardwareCostError
from hw_cost_models.live_bytes import _watched, watch

_FLOAT = 4


class _Holder(nn.Module):
    """Three matrices of n floats after the input; the first stays in a variable if asked."""

    def __init__(self, hold: bool) -> None:
        super().__init__()
        self.hold = hold

    def forward(self, x: Tensor) -> Tensor:
        first = x.exp()
        if self.hold:
            return first.sin().cos()
        del x
        third: Tensor = first.sin()
        del first
        return third.cos()


@pytest.mark.parametrize(("hold", "alive"), [(True, 4), (False, 3)])
def test_a_variable_keeps_its_value_alive(hold: bool, alive: int) -> None:
    live = watch(_forward, _Holder(hold), (torch.ones(100),))
    assert live.peak_bytes == alive * 100 * _FLOAT, "the caller holds the input in any case"
    assert live.peak_operator == ("aten.cos" if hold else "aten.sin")
    assert live.bytes == 0, "all is gone afterwards"


def test_weights_and_their_views_are_not_counted() -> None:
    layer = nn.Linear(8, 8, bias=False)
    tied = nn.Sequential(layer, nn.Linear(8, 8, bias=False))
    tied[1].weight = layer.weight
    live = watch(_forward, tied, (torch.ones(2, 8),))
    assert live.peak_bytes == 3 * 2 * 8 * _FLOAT
    assert live.peak_operator == "aten.mm"


def test_in_place_takes_nothing() -> None:
    live = watch(_forward, nn.Sequential(nn.ReLU(inplace=True), nn.Flatten()), (torch.ones(2, 3, 4),))
    assert live.peak_bytes == 24 * _FLOAT
    assert live.peak_operator == "inputs"


@pytest.mark.parametrize("name", ["gated", "attention", "lm"])
def test_fake_and_real_tensors_agree(
    examples: dict[str, tuple[nn.Module, tuple[Tensor, ...]]], name: str
) -> None:
    module, inputs = examples[name]
    fake, real = watch(_forward, module, inputs), _watched(_forward, module, inputs)
    assert (fake.peak_bytes, fake.peak_step) == (real.peak_bytes, real.peak_step)


def test_routing_is_run_on_the_real_inputs(
    examples: dict[str, tuple[nn.Module, tuple[Tensor, ...]]],
) -> None:
    module, (x,) = examples["routed"]
    live = watch(_forward, module, (x,))
    assert live.peak_bytes >= 3 * x.numel() * _FLOAT


def test_what_does_not_run_is_refused_in_a_line() -> None:
    with pytest.raises(
        HardwareCostError, match=r"^Linear does not run on the inputs float32 \(2, 3\): [^\n]*$"
    ):
        watch(_forward, nn.Linear(4, 4), (torch.ones(2, 3),))
