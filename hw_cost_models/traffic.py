"""Traffic: what of a network's bytes moves between the chip and main memory.

The rule, for inferences that follow one another: the tensors of an operator stay on the chip if everything
that is alive while it runs fits the chip's largest memory; weights stay there from one inference to the next
if all of them fit beside the largest such set, else each is read from main memory once.

Ilic, Pratas, Sousa: Cache-aware roofline model, IEEE Computer Architecture Letters 13(1), 2014: every byte
moves at the rate of the level that it comes from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from hw_cost_models.graph import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    import networkx as nx

    from hw_cost_models.fusion import Group
    from hw_cost_models.graph import Storage


@dataclass(frozen=True)
class Traffic:
    """Bytes that a group of operators moves, by where they lie."""

    memory_bytes: int
    cache_bytes: int

    @property
    def bytes(self) -> int:
        return self.memory_bytes + self.cache_bytes


def traffic(graph: nx.DiGraph, groups: Iterable[Group], cache_mb: float | None) -> list[Traffic]:
    """Of each group; with a chip's memory of `cache_mb` 10⁶ bytes, without one all in main memory."""
    storages = graph.graph["storages"]
    room = 0.0 if cache_mb is None else cache_mb * 1e6
    alive = _alive(storages, graph.number_of_nodes())
    weights_stay = graph.graph["weight_bytes"] + peak_bytes(storages) <= room

    def of(group: Group) -> Traffic:
        tensors_stay = max(alive[node] for node in group.nodes) <= room
        on_chip = group.tensor_bytes * tensors_stay + group.weight_bytes * weights_stay
        return Traffic(group.tensor_bytes + group.weight_bytes - on_chip, on_chip)

    return [of(group) for group in groups]


def _alive(storages: Iterable[Storage], steps: int) -> list[int]:
    """The bytes alive in each step."""
    change: Counter[int] = Counter()
    for storage in storages:
        change[max(storage.born, 0)] += storage.bytes  # the inputs, born in step -1, are alive in step 0
        change[storage.dies + 1] -= storage.bytes
    return list(accumulate(change[step] for step in range(steps)))
