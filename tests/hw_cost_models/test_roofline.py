"""The roofline by hand, for one operator on each side of the ridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from hw_cost_models import roofline
from hw_cost_models.device import Device, Figure, Roofline, Share, device_names, load_device
from hw_cost_models.errors import DeviceError
from hw_cost_models.roofline import GroupCost, RooflineModel
from hw_cost_models.trace import static_cost, trace

if TYPE_CHECKING:
    import networkx as nx


def _figure(value: float) -> Figure:
    return Figure(value=value, source="made up")


_BOARD = Device(
    name="board",
    description="made up",
    runtime="onnxruntime",
    provider="CPUExecutionProvider",
    threads=1,
    roofline=Roofline(
        peak_gflops={"float32": _figure(10), "float16": _figure(40)},
        bandwidth_gb_s=_figure(1),
        overhead_us=_figure(50),
    ),
)


def _with(**figures: object) -> Device:
    """The board with other figures in its roofline."""
    assert _BOARD.roofline is not None
    return _BOARD.model_copy(update={"roofline": _BOARD.roofline.model_copy(update=figures)})


class Sum(nn.Module):
    """Of everything."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum()


def test_arithmetic_traffic_and_overhead() -> None:
    x, layer = torch.ones(256, 256), nn.Linear(256, 256, bias=False)
    cost = RooflineModel(_BOARD).price({"product": (layer, (x,)), "sigmoid": (nn.Sigmoid(), (x,))})
    assert cost["product"].latency_ms == pytest.approx(2 * 256**3 / 10e9 * 1e3 + 0.05)
    assert cost["sigmoid"].latency_ms == pytest.approx(2 * 256 * 256 * 4 / 1e9 * 1e3 + 0.05)


def test_types_and_kinds_of_kernels() -> None:
    x, layer = torch.ones(256, 256), nn.Linear(256, 256, bias=False)
    half = RooflineModel(_BOARD).latency_ms({"a": (layer.half(), (x.half(),))}, "p50")["a"]
    assert half == pytest.approx(2 * 256**3 / 40e9 * 1e3 + 0.05)
    share = {"matmul": Share(value=0.5, source="made up")}
    slower = RooflineModel(_with(share_of_peak=share)).latency_ms({"a": (layer.float(), (x,))}, "p50")["a"]
    assert slower == pytest.approx(2 * 2 * 256**3 / 10e9 * 1e3 + 0.05)


def test_a_chip_that_holds_the_network() -> None:
    sigmoid = {"sigmoid": (nn.Sigmoid(), (torch.ones(256, 256),))}
    fits, spills = _with(cache_mb=_figure(0.6), cache_gb_s=_figure(4)), _with(cache_mb=_figure(0.5))
    moved = 2 * 256 * 256 * 4
    assert RooflineModel(fits).price(sigmoid)["sigmoid"].latency_ms == pytest.approx(moved / 4e6 + 0.05)
    assert RooflineModel(spills).price(sigmoid)["sigmoid"].latency_ms == pytest.approx(moved / 1e6 + 0.05)


def test_groups_add_up_and_say_what_holds_them_up() -> None:
    """A large product with its rectifier (compute), a softmax of 64 KiB (memory), a tiny sum (overhead)."""
    network = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Softmax(-1), nn.Flatten(0), Sum())
    graph = trace(network, (torch.ones(16, 512),))
    costs = RooflineModel(_BOARD).operators(graph)
    first, second, third = costs
    assert first.operators == ("aten.addmm", "aten.relu")
    # 2 x 16 x 512 x 1024 operations and a rectification each, at 10 GFLOP/s
    assert first.compute_ms == pytest.approx((2 * 16 * 512 * 1024 + 16 * 1024) / 1e7)
    assert first.bytes == 4 * (16 * 512 + 512 * 1024 + 1024 + 16 * 1024)
    assert first.memory_ms == pytest.approx(first.bytes / 1e6)
    assert second.compute_ms == pytest.approx(5 * 16 * 1024 / 1e7)
    assert second.memory_ms == pytest.approx(2 * 64 * 1024 / 1e6)
    assert [cost.kind for cost in costs] == ["matmul", "normalisation", "reduction"]
    assert [cost.bound for cost in costs] == ["memory", "memory", "memory"]
    assert third.bytes == 64 * 1024 + 4
    assert RooflineModel(_BOARD).graph_ms(graph) == pytest.approx(
        first.memory_ms + second.memory_ms + third.memory_ms + 3 * 0.05
    )


@pytest.mark.parametrize(
    ("flops", "moved", "overhead_us", "bound"),
    [(9.0, 1.0, 1.0, "compute"), (1.0, 9.0, 1.0, "memory"), (1.0, 2.0, 9000.0, "overhead")],
)
def test_bounds(flops: float, moved: float, overhead_us: float, bound: str) -> None:
    cost = GroupCost(
        nodes=(0,),
        operators=("a",),
        kind="matmul",
        flops=flops,
        bytes=int(moved),
        compute_ms=flops,
        memory_ms=moved,
        overhead_ms=overhead_us / 1000,
    )
    assert cost.bound == bound
    assert cost.latency_ms == max(flops, moved) + overhead_us / 1000


def test_pytorch_does_not_fuse() -> None:
    graph = trace(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), (torch.ones(2, 8),))
    eager = _BOARD.model_copy(update={"runtime": "pytorch"})
    assert len(RooflineModel(_BOARD).operators(graph)) == 1
    assert len(RooflineModel(eager).operators(graph)) == 2


def test_views_are_free() -> None:
    assert (
        RooflineModel(_BOARD).price({"view": (nn.Flatten(), (torch.ones(2, 3, 4),))})["view"].latency_ms == 0
    )


def test_the_rest_is_static() -> None:
    x, module = torch.randn(1, 8, 16), nn.Linear(16, 32, bias=False)
    priced, static = RooflineModel(_BOARD).price({"a": (module, (x,))})["a"], static_cost(module, (x,))
    assert (priced.flops, priced.weight_bytes, priced.parameters) == (static.flops, 2048, 512)
    assert priced.peak_activation_bytes == static.peak_activation_bytes


@pytest.mark.parametrize("name", [name for name in device_names() if name != "local"])
def test_profiles_rank_more_work_as_slower(name: str) -> None:
    model = RooflineModel(load_device(name))
    x = torch.randn(256, 64)
    cost = model.price({"a": (nn.Linear(64, 64), (x,)), "b": (nn.Linear(64, 4096), (x,))})
    assert 0 < cost["a"].latency_ms < cost["b"].latency_ms


def test_a_device_without_figures() -> None:
    with pytest.raises(DeviceError, match="device 'local' has no roofline: measure it"):
        RooflineModel(load_device("local"))


def test_an_item_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[nn.Module] = []

    def counting(module: nn.Module, inputs: tuple[Tensor, ...]) -> nx.DiGraph:
        traced.append(module)
        return trace(module, inputs)

    monkeypatch.setattr(roofline, "trace", counting)
    model = RooflineModel(_BOARD)
    items = {name: (nn.Linear(8, 8), (torch.ones(2, 8),)) for name in "ab"}
    latency = model.latency_ms(items, "p10")
    assert model.latency_ms(dict(items), "p50") == latency
    assert {name: cost.latency_ms for name, cost in model.price(items).items()} == latency
    model.peak_bytes(items)
    assert traced == [module for module, _ in items.values()]
