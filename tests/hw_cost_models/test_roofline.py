"""The roofline by hand, for one operator on each side of the ridge."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hw_cost_models.device import Device, Figure, Roofline, load_device
from hw_cost_models.errors import DeviceError
from hw_cost_models.roofline import RooflineModel
from hw_cost_models.trace import static_cost


def _figure(value: float) -> Figure:
    return Figure(value=value, source="made up")


_BOARD = Device(
    name="board",
    description="made up",
    runtime="onnxruntime",
    provider="CPUExecutionProvider",
    threads=1,
    roofline=Roofline(peak_gflops=_figure(10), bandwidth_gb_s=_figure(1), overhead_us=_figure(50)),
)


def test_arithmetic_traffic_and_overhead() -> None:
    x, layer = torch.ones(256, 256), nn.Linear(256, 256, bias=False)
    cost = RooflineModel(_BOARD).price({"product": (layer, (x,)), "sigmoid": (nn.Sigmoid(), (x,))})
    assert cost["product"].latency_ms == pytest.approx(2 * 256**3 / 10e9 * 1e3 + 0.05)
    assert cost["sigmoid"].latency_ms == pytest.approx(2 * 256 * 256 * 4 / 1e9 * 1e3 + 0.05)


def test_views_are_free() -> None:
    assert (
        RooflineModel(_BOARD).price({"view": (nn.Flatten(), (torch.ones(2, 3, 4),))})["view"].latency_ms == 0
    )


def test_the_rest_is_static() -> None:
    x, module = torch.randn(1, 8, 16), nn.Linear(16, 32, bias=False)
    priced, static = RooflineModel(_BOARD).price({"a": (module, (x,))})["a"], static_cost(module, (x,))
    assert (priced.flops, priced.weight_bytes, priced.parameters) == (static.flops, 2048, 512)
    assert priced.peak_activation_bytes == static.peak_activation_bytes


@pytest.mark.parametrize("name", ["raspberry-pi-5", "nvidia-l4"])
def test_profiles_rank_more_work_as_slower(name: str) -> None:
    model = RooflineModel(load_device(name))
    x = torch.randn(256, 64)
    cost = model.price({"a": (nn.Linear(64, 64), (x,)), "b": (nn.Linear(64, 4096), (x,))})
    assert 0 < cost["a"].latency_ms < cost["b"].latency_ms


def test_a_device_without_figures() -> None:
    with pytest.raises(DeviceError, match="device 'local' has no roofline: measure it"):
        RooflineModel(load_device("local"))
