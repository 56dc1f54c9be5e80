"""Energy of one inference, from what a device spends on an operation, on a byte, and on being switched on.

    energy = sum over operators of  flops x pJ/operation(type)  +  bytes x pJ/byte(where they lie)
             + idle power x latency

Horowitz: Computing's energy problem (and what we can do about it), ISSCC 2014: fetching a word from main
memory takes a hundred times what calculating with it does, so that the two are counted apart. Which bytes
come from main memory, and which operators pass their results on without moving them, is as in the roofline
(`traffic`, `fusion`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_cost_models.errors import DeviceError
from hw_cost_models.fusion import groups
from hw_cost_models.traffic import traffic

if TYPE_CHECKING:
    import networkx as nx

    from hw_cost_models.device import Device

_MJ_PER_PJ = 1e-9


def energy_mj(graph: nx.DiGraph, device: Device, latency_ms: float) -> float:
    """Millijoules of one inference of the graph on the device, which takes `latency_ms`.

    Raises DeviceError for a device without figures of energy.
    """
    if device.energy is None:
        raise DeviceError(
            f"device {device.name!r} has no figures of energy: give a profile with idle_w, pj_per_op and "
            "pj_per_byte_memory under [energy], or measure with an EnergyMeter"
        )
    spends = device.energy
    cache = device.roofline.cache_mb if device.roofline is not None else None
    found = groups(graph, fused=device.runtime != "pytorch")
    moved = traffic(graph, found, None if cache is None else cache.value)
    arithmetic = sum(work.flops * spends.op_pj(work.dtype) for group in found for work in group.work)
    memory = sum(
        part.memory_bytes * spends.byte_pj(False) + part.cache_bytes * spends.byte_pj(True) for part in moved
    )
    # A watt for a millisecond is a millijoule.
    return (arithmetic + memory) * _MJ_PER_PJ + spends.idle_w.value * latency_ms
