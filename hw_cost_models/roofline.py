"""Analytic latency from a device's figures alone: for devices that are not here.

    latency = sum over fused groups of  max(flops / peak, bytes / bandwidth) + overhead

Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009, one group of operators at a time (`fusion`); the
peak is that of the arithmetic's type and of the kind of kernel, the bandwidth that of the memory that holds
the bytes (`traffic`). It knows nothing of how well a kernel fits a shape: where the profile gives no share of
the peak, it is a lower bound rather than a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from hw_cost_models.energy import energy_mj
from hw_cost_models.errors import DeviceError
from hw_cost_models.fusion import groups
from hw_cost_models.trace import static_cost, trace
from hw_cost_models.traffic import traffic

if TYPE_CHECKING:
    from collections.abc import Mapping

    import networkx as nx

    from hw_cost_models.cost import Cost, Item, Statistic
    from hw_cost_models.device import Device
    from hw_cost_models.fusion import Group
    from hw_cost_models.graph import Kind
    from hw_cost_models.traffic import Traffic

Bound = Literal["compute", "memory", "overhead"]


@dataclass(frozen=True)
class GroupCost:
    """What one fused group of operators costs."""

    nodes: tuple[int, ...]
    """Of the graph, the anchor first."""
    operators: tuple[str, ...]
    kind: Kind
    flops: float
    bytes: int
    """Moved, weights included, nothing for what stays inside the group."""
    compute_ms: float
    memory_ms: float
    overhead_ms: float

    @property
    def latency_ms(self) -> float:
        return max(self.compute_ms, self.memory_ms) + self.overhead_ms

    @property
    def bound(self) -> Bound:
        """What most of the time goes to."""
        if self.overhead_ms >= max(self.compute_ms, self.memory_ms):
            return "overhead"
        return "compute" if self.compute_ms >= self.memory_ms else "memory"


class RooflineModel:
    """A CostModel. Raises DeviceError for a device without a roofline."""

    def __init__(self, device: Device) -> None:
        if device.roofline is None:
            raise DeviceError(
                f"device {device.name!r} has no roofline: measure it with a LatencyTable, or let it measure "
                "itself with self_calibrated, or give a profile with peak_gflops, bandwidth_gb_s, overhead_us"
            )
        self.device = device
        self.roofline = device.roofline
        self._graphs: dict[int, tuple[Item, nx.DiGraph]] = {}

    def price(self, items: Mapping[str, Item], counted: Mapping[str, Cost] | None = None) -> dict[str, Cost]:
        """The energy is 0 where the profile has no figures of energy.

        Raises UnknownOperatorError for an operator without a formula.
        """
        return {name: self._price(item, (counted or {}).get(name)) for name, item in items.items()}

    def latency_ms(self, items: Mapping[str, Item], statistic: Statistic) -> dict[str, float]:
        """The same for every statistic; raises as `price` does."""
        return {name: self.graph_ms(self._graph(item)) for name, item in items.items()}

    def peak_bytes(self, items: Mapping[str, Item]) -> dict[str, float]:
        """The largest sum of tensors alive at once, as PyTorch would run the operators."""
        return {
            name: static_cost(*item, self._graph(item)).peak_activation_bytes for name, item in items.items()
        }

    def graph_ms(self, graph: nx.DiGraph) -> float:
        """Of a graph of operators, traced or read from a file."""
        return sum(group.latency_ms for group in self.operators(graph))

    def operators(self, graph: nx.DiGraph) -> list[GroupCost]:
        """What each fused group of the graph costs, in the order in which they start.

        PyTorch runs operators one by one as they are called: there each is a group of its own.
        """
        found = groups(graph, fused=self.device.runtime != "pytorch")
        cache = self.roofline.cache_mb
        moved = traffic(graph, found, None if cache is None else cache.value)
        return [self._cost(graph, *pair) for pair in zip(found, moved, strict=True)]

    def _price(self, item: Item, counted: Cost | None) -> Cost:
        graph = self._graph(item)
        latency = self.graph_ms(graph)
        spent = 0.0 if self.device.energy is None else energy_mj(graph, self.device, latency)
        return replace(counted or static_cost(*item, graph), latency_ms=latency, energy_mj=spent)

    def _graph(self, item: Item) -> nx.DiGraph:
        """Traced once, however often it is asked for; the item is kept, so that its identity is its own."""
        if id(item) not in self._graphs:
            self._graphs[id(item)] = item, trace(*item)
        return self._graphs[id(item)][1]

    def _cost(self, graph: nx.DiGraph, group: Group, moved: Traffic) -> GroupCost:
        rate = self.roofline.bytes_per_ms
        return GroupCost(
            nodes=group.nodes,
            operators=tuple(graph.nodes[node]["operator"] for node in group.nodes),
            kind=group.kind,
            flops=sum(work.flops for work in group.work),
            bytes=moved.bytes,
            compute_ms=sum(
                work.flops / self.roofline.flops_per_ms(work.dtype, work.kind) for work in group.work
            ),
            memory_ms=moved.memory_bytes / rate(False, group.kind)
            + moved.cache_bytes / rate(True, group.kind),
            overhead_ms=group.launches * self.roofline.overhead_us.value * 1e-3,
        )
