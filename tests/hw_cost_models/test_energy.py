"""Energy by hand arithmetic, and the shipped figures against each other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hw_cost_models.device import Device, Energy, Figure, Roofline, device_names, load_device
from hw_cost_models.energy import energy_mj
from hw_cost_models.errors import DeviceError
from hw_cost_models.roofline import RooflineModel
from hw_cost_models.trace import trace


def _figure(value: float) -> Figure:
    return Figure(value=value, source="made up")


def _board(cache_mb: float | None) -> Device:
    return Device(
        name="board",
        description="made up",
        runtime="onnxruntime",
        provider="CPUExecutionProvider",
        threads=1,
        roofline=Roofline(
            peak_gflops={"float32": _figure(10)},
            bandwidth_gb_s=_figure(1),
            overhead_us=_figure(50),
            cache_mb=None if cache_mb is None else _figure(cache_mb),
        ),
        energy=Energy(
            idle_w=_figure(2),
            pj_per_op={"float32": _figure(100), "int8": _figure(10)},
            pj_per_byte_memory=_figure(50),
            pj_per_byte_cache=_figure(5),
        ),
    )


def test_arithmetic_bytes_and_idling() -> None:
    """256 x 256 x 256 products and sums, three matrices of 256 KiB, 3 ms at 2 W."""
    graph = trace(nn.Linear(256, 256, bias=False), (torch.ones(256, 256),))
    operations, moved = 2 * 256**3 * 100, 3 * 256 * 256 * 4
    assert energy_mj(graph, _board(None), 3.0) == pytest.approx(1e-9 * (operations + 50 * moved) + 6)
    assert energy_mj(graph, _board(0.6), 3.0) == pytest.approx(
        1e-9 * (operations + 50 * moved / 3 + 5 * moved * 2 / 3) + 6  # the weights do not stay
    )
    assert energy_mj(graph, _board(0.8), 3.0) == pytest.approx(1e-9 * (operations + 5 * moved) + 6)


def test_smaller_types_take_less() -> None:
    graph = trace(nn.Linear(256, 256, bias=False), (torch.ones(256, 256),))
    whole = energy_mj(graph, _board(None), 1.0)
    graph.nodes[max(graph)]["dtype"] = "int8"
    assert whole - energy_mj(graph, _board(None), 1.0) == pytest.approx(1e-9 * 2 * 256**3 * 90)


def test_the_roofline_states_it_too() -> None:
    item = (nn.Linear(64, 64), (torch.ones(8, 64),))
    model = RooflineModel(_board(None))
    cost = model.price({"a": item})["a"]
    assert cost.energy_mj == energy_mj(trace(*item), model.device, cost.latency_ms) > 2 * cost.latency_ms


def test_a_device_without_figures() -> None:
    board = _board(None).model_copy(update={"energy": None})
    item = (nn.Linear(4, 4), (torch.ones(1, 4),))
    assert RooflineModel(board).price({"a": item})["a"].energy_mj == 0
    with pytest.raises(DeviceError, match=r"'board' has no figures of energy.*EnergyMeter"):
        energy_mj(trace(*item), board, 1.0)


@pytest.mark.parametrize("name", [name for name in device_names() if name != "local"])
def test_shipped_figures_are_of_the_right_size(name: str) -> None:
    """At its peak a device draws more than idle and less than a server's power supply gives."""
    device = load_device(name)
    assert device.energy is not None
    assert device.roofline is not None
    for dtype, peak in device.roofline.peak_gflops.items():
        watts = peak.value * 1e9 * device.energy.op_pj(dtype) * 1e-12
        assert 0.3 * device.energy.idle_w.value < watts < 1000
    # Moving a word costs more than calculating with one, and memory more than the chip: Horowitz 2014.
    assert device.energy.byte_pj(False) >= device.energy.byte_pj(True)
    assert 4 * device.energy.byte_pj(False) > device.energy.op_pj("float32")
