"""Peak memory: weights and the most that is alive beside them at any step of the schedule.

    peak = weights + max over steps t of Σ bytes(s) over the storages s with born(s) <= t <= dies(s)

What differs is the schedule. `peak_memory` takes a graph's own lives, in which a tensor goes after its last
use: what a runtime with a plan can reach. `eager_memory` is PyTorch's order, in which it goes when Python
lets go of it. What ONNX Runtime makes of a file is in `hw_cost_models.onnxruntime_memory`.

Not counted: the runtime and Python themselves, the heap's own waste, buffers that libraries keep for good
(about 3 MB of MKL), and the caller's copies of what goes in and comes out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hw_cost_models.live_bytes import LiveBytes, watch

if TYPE_CHECKING:
    import networkx as nx
    from torch import Tensor, nn


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


def eager_memory(module: nn.Module, inputs: tuple[Tensor, ...]) -> MemoryProfile:
    """The peak of one forward in evaluation, run eagerly by PyTorch on a CPU.

    Over fake tensors, in milliseconds, unless a shape depends on data: then it runs on the real inputs. The
    module itself is neither run nor changed.
    """
    live = watch(_forward, module, inputs)
    return MemoryProfile(weight_bytes(module), live.peak_bytes, live.peak_step, live.peak_operator)


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers; what is shared counts once."""
    storages = [tensor.untyped_storage() for tensor in (*module.parameters(), *module.buffers())]
    return sum({storage._cdata: storage.nbytes() for storage in storages}.values())


def _forward(live: LiveBytes, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    module.eval()
    with torch.no_grad():
        module(*inputs)
