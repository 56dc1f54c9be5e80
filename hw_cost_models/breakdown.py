"""Where the time of a network goes: what each fused group of its operators costs on a device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hw_cost_models.energy import energy_mj
from hw_cost_models.graph import peak_bytes
from hw_cost_models.roofline import RooflineModel

if TYPE_CHECKING:
    import networkx as nx

    from hw_cost_models.device import Device
    from hw_cost_models.roofline import Bound, GroupCost


@dataclass(frozen=True)
class Row:
    """Fused groups of the same operators on the same shape, taken together."""

    operators: tuple[str, ...]
    """The one that decides the shape first, then what runs with it in one kernel."""
    shape: tuple[int, ...]
    """Of the first operator's output."""
    count: int
    latency_ms: float
    share: float
    """Of the network's latency."""
    flops: float
    bytes: int
    bound: Bound


@dataclass(frozen=True)
class Breakdown:
    """A network on a device, by roofline."""

    device: str
    threads: int
    latency_ms: float
    energy_mj: float | None
    """None where the device's profile has no figures of energy."""
    flops: float
    weight_mb: float
    peak_activation_mb: float
    fits: bool | None
    """Whether weights and activations fit the device's memory; None where its profile does not say."""
    coverage: float
    """Fraction of the operators for which a formula is known."""
    rows: tuple[Row, ...]
    """The dearest first."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def breakdown(graph: nx.DiGraph, device: Device) -> Breakdown:
    """Raises DeviceError for a device without a roofline."""
    groups = RooflineModel(device).operators(graph)
    latency = sum(group.latency_ms for group in groups)
    weights, peak = graph.graph["weight_bytes"], peak_bytes(graph.graph["storages"])
    available = device.memory_mb and device.memory_mb.value * 2**20
    return Breakdown(
        device=device.name,
        threads=device.threads,
        latency_ms=latency,
        energy_mj=energy_mj(graph, device, latency) if device.energy is not None else None,
        flops=sum(group.flops for group in groups),
        weight_mb=weights / 1e6,
        peak_activation_mb=peak / 1e6,
        fits=None if available is None else weights + peak <= available,
        coverage=graph.graph["coverage"],
        rows=_rows(graph, groups, latency),
    )


def _rows(graph: nx.DiGraph, groups: list[GroupCost], latency_ms: float) -> tuple[Row, ...]:
    alike: dict[tuple[tuple[str, ...], tuple[int, ...]], list[GroupCost]] = {}
    for group in groups:
        shapes = graph.nodes[group.nodes[0]]["shapes"]
        alike.setdefault((group.operators, shapes[0] if shapes else ()), []).append(group)
    rows = [
        Row(
            operators=operators,
            shape=shape,
            count=len(members),
            latency_ms=sum(group.latency_ms for group in members),
            share=sum(group.latency_ms for group in members) / latency_ms if latency_ms else 0.0,
            flops=sum(group.flops for group in members),
            bytes=sum(group.bytes for group in members),
            bound=max(members, key=lambda group: group.latency_ms).bound,
        )
        for (operators, shape), members in alike.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.latency_ms))
