"""Analytic latency from a device's figures alone: for devices that are not here.

    latency = sum over operators of  max(flops / peak, bytes / bandwidth) + overhead

Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009, an operator at a time. It knows nothing of caches,
fusion or how well a kernel is written: it ranks, and is a lower bound rather than a prediction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hw_cost_models.errors import DeviceError
from hw_cost_models.trace import static_cost, trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    import networkx as nx

    from hw_cost_models.cost import Cost, Item, Statistic
    from hw_cost_models.device import Device


class RooflineModel:
    """A CostModel. Raises DeviceError for a device without a roofline."""

    def __init__(self, device: Device) -> None:
        if device.roofline is None:
            raise DeviceError(
                f"device {device.name!r} has no roofline: measure it with a LatencyTable, "
                "or give a profile with peak_gflops, bandwidth_gb_s and overhead_us"
            )
        self.device = device
        self._flops_per_ms = device.roofline.peak_gflops.value * 1e6
        self._bytes_per_ms = device.roofline.bandwidth_gb_s.value * 1e6
        self._overhead_ms = device.roofline.overhead_us.value * 1e-3

    def price(self, items: Mapping[str, Item]) -> dict[str, Cost]:
        """Raises UnknownOperatorError for an operator without a formula."""
        latency = self.latency_ms(items, "p10")
        return {name: replace(static_cost(*item), latency_ms=latency[name]) for name, item in items.items()}

    def latency_ms(self, items: Mapping[str, Item], statistic: Statistic) -> dict[str, float]:
        """The same for every statistic; raises as `price` does."""
        return {name: self.graph_ms(trace(*item)) for name, item in items.items()}

    def peak_bytes(self, items: Mapping[str, Item]) -> dict[str, float]:
        """The largest sum of tensors alive at once, as PyTorch would run the operators."""
        return {name: static_cost(*item).peak_activation_bytes for name, item in items.items()}

    def graph_ms(self, graph: nx.DiGraph) -> float:
        """Of a graph of operators, as `trace` makes it."""
        return float(sum(self._operator_ms(node) for _, node in graph.nodes.data() if not node["free"]))

    def _operator_ms(self, node: Mapping[str, float]) -> float:
        arithmetic = node["flops"] / self._flops_per_ms
        traffic = (node["bytes_read"] + node["bytes_written"]) / self._bytes_per_ms
        return max(arithmetic, traffic) + self._overhead_ms
