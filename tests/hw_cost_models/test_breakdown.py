"""Rows of a breakdown add up to what the roofline says of the whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hw_cost_models.breakdown import breakdown
from hw_cost_models.device import device_names, load_device
from hw_cost_models.errors import DeviceError
from hw_cost_models.roofline import RooflineModel
from hw_cost_models.trace import trace

NETWORK = nn.Sequential(
    *(part for _ in range(3) for part in (nn.Linear(64, 64), nn.GELU())), nn.Linear(64, 8)
)
INPUTS = (torch.zeros(16, 64),)


@pytest.mark.parametrize("name", [name for name in device_names() if name != "local"])
def test_rows_add_up(name: str) -> None:
    device, graph = load_device(name), trace(NETWORK, INPUTS)
    found = breakdown(graph, device)
    assert found.latency_ms == pytest.approx(
        RooflineModel(device).latency_ms({"": (NETWORK, INPUTS)}, "p50")[""]
    )
    assert sum(row.latency_ms for row in found.rows) == pytest.approx(found.latency_ms)
    assert sum(row.share for row in found.rows) == pytest.approx(1)
    assert found.flops == sum(row.flops for row in found.rows)
    assert [row.latency_ms for row in found.rows] == sorted((r.latency_ms for r in found.rows), reverse=True)
    assert found.weight_mb == pytest.approx(4 * (3 * 64 * 65 + 8 * 65) / 1e6)
    assert found.fits


def test_alike_operators_share_a_row() -> None:
    found = breakdown(trace(NETWORK, INPUTS), load_device("raspberry-pi-5"))
    (wide,) = [row for row in found.rows if row.operators[0] == "aten.addmm" and row.shape == (16, 64)]
    assert wide.count == 3
    assert wide.flops >= 3 * 2 * 16 * 64 * 64


def test_a_device_that_is_measured_has_no_roofline_to_break_down() -> None:
    with pytest.raises(DeviceError, match="no roofline"):
        breakdown(trace(NETWORK, INPUTS), load_device("local"))
