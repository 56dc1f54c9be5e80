"""Peak memory: weights and the most that is alive beside them at any step of the schedule.

    peak = weights + max over steps t of Σ bytes(s) over the storages s with born(s) <= t <= dies(s)

What differs is the schedule. In a graph's own, a tensor goes after its last use: what a runtime with a plan
can reach. In PyTorch's (`eager_peak`) it goes when Python lets go of it; ONNX Runtime's (`onnxruntime_peak`)
shares buffers by what it knows before it runs, and cuts them from an arena.

Not counted in any of them: the runtime, Python and their code themselves, what the heap holds back, and
buffers that libraries keep whatever the network (about 3 MB of MKL's).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True)
class MemoryProfile:
    """The peak of one forward, and where it is."""

    weight_bytes: int
    activation_bytes: int
    """The most that is alive beside the weights: inputs and outputs of the network included."""
    step: int
    """The number of the operator during which that is so; -1 before the first."""
    operator: str
    """Its name, such as "aten.mm"; "inputs" before the first."""

    @property
    def peak_bytes(self) -> int:
        """Of all of it together."""
        return self.weight_bytes + self.activation_bytes


def peak_memory(graph: nx.DiGraph) -> MemoryProfile:
    """The peak of a graph as `hw_cost_models.graph` describes it; of equal steps the first."""
    change: Counter[int] = Counter({-1: 0})
    for storage in graph.graph["storages"]:
        change[storage.born] += storage.bytes
        change[storage.dies + 1] -= storage.bytes
    alive, peak, where = 0, -1, -1
    for step in sorted(change):
        alive += change[step]
        if alive > peak:
            peak, where = alive, step
    operator = "inputs" if where < 0 else graph.nodes[where]["operator"]
    return MemoryProfile(graph.graph["weight_bytes"], peak, where, operator)
