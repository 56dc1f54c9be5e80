"""The working space of single convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hw_cost_models.eager_peak import _forward
from hw_cost_models.eager_workspace import CODE_BYTES
from hw_cost_models.live_bytes import LiveBytes, watch

_FLOAT = 4


@pytest.mark.parametrize(
    ("kernel", "stride", "extra"),
    [
        (3, 1, 2 * 16 * 8 * 8 + 4 * 16 * 9),  # the larger of input and output, and the weight
        (1, 1, 4 * 8 * 8),  # a matrix product: one image
        (1, 2, 2 * 4 * 8 * 8 + 4 * 16),
    ],
)
def test_working_space_of_a_convolution(kernel: int, stride: int, extra: int) -> None:
    layer = nn.Conv2d(4, 16, kernel, stride=stride, padding=kernel // 2, bias=False)
    live = watch(_forward, layer, (torch.ones(2, 4, 8, 8),))
    side = 8 // stride
    assert live.peak_bytes == _FLOAT * (2 * 4 * 8 * 8 + 2 * 16 * side * side + extra)


def test_the_buffer_of_a_product_stays() -> None:
    layers = nn.Sequential(nn.Conv2d(4, 1, 1, bias=False), nn.Flatten(), nn.Linear(64, 1000, bias=False))
    live = watch(_forward, layers, (torch.ones(1, 4, 8, 8),))
    assert live.peak_operator == "aten.mm"
    assert live.peak_bytes == _FLOAT * (4 * 64 + 64 + 1000 + 4 * 64)


def test_working_space_of_its_backward() -> None:
    layer = nn.Conv2d(4, 16, 3, padding=1, bias=False)
    x = torch.ones(1, 4, 8, 8)
    output = layer(x)
    live = LiveBytes([layer.weight], [x, output])
    with live:
        output.backward(torch.ones_like(output))
    work = 4 * 64 + 16 * 64 + layer.weight.numel()
    # Input, output, the gradients of both the output and the weight.
    alive = 4 * 64 + 2 * 16 * 64 + layer.weight.numel()
    assert live.peak_bytes == _FLOAT * (alive + work) + CODE_BYTES
