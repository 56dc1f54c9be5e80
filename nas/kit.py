"""A board that is not here: the kit that a space is measured with there.

The networks of a kit are those that pricing asks a cost model for, found by letting it ask. A few whole
architectures among them, timed on the board in a process of their own, are the reference that later
measurements there are compared by.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hw_cost_models.device import load_device
from hw_cost_models.kit.making import make_kit
from hw_cost_models.structure import structure_key
from hw_cost_models.trace import static_cost
from nas.pricing import assembly_of, price_space, reference_architectures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hw_cost_models.cost import Cost, Item, Kind, Statistic, Workload
    from hw_cost_models.kit.board.manifest import Manifest
    from nas.assembly import Assembly
    from search_spaces import SearchSpace


def make(space: SearchSpace, workloads: Sequence[Workload], path: Path) -> Manifest:
    """Write the zip file by which the space is measured on a board, under workloads of different kinds.

    Raises BadInputError where the space has no such workload, HardwareCostError when a network cannot be
    exported, OSError when the file cannot be written.
    """
    assemblies: list[tuple[Assembly, dict[str, Item]]] = []
    reference: dict[Kind, dict[str, str]] = {}
    for workload in workloads:
        assembly, asked = assembly_of(space, workload), _Asked()
        table = price_space(assembly, asked, load_device("local"))
        wholes = {one.to_json(): assembly.whole(one) for one in reference_architectures(table, assembly)}
        reference[workload.kind] = {name: structure_key(*item) for name, item in wholes.items()}
        again = {structure_key(*item): item for item in wholes.values()}
        assemblies.append((assembly, {**asked.items, **again}))

    def export(items: Mapping[str, Item], folder: Path) -> dict[str, Path]:
        files: dict[str, Path] = {}
        for number, (assembly, own) in enumerate(assemblies):
            part = folder / str(number)
            part.mkdir()
            files |= assembly.export({key: items[key] for key in own if key not in files}, part)
        return files

    every = {key: item for _, own in assemblies for key, item in own.items()}
    return make_kit(every, reference, path, export=export, space=space.name, workloads=workloads)


class _Asked:
    """A CostModel that keeps what it is asked for. Its latencies only order: the FLOPs, and some for each."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        """By structure key."""
        self._costs: dict[str, Cost] = {}

    def price(self, items: Mapping[str, Item], counted: Mapping[str, Cost] | None = None) -> dict[str, Cost]:
        keys = {name: structure_key(*item) for name, item in items.items()}
        for name, key in keys.items():
            if key not in self.items:
                cost = counted[name] if counted else static_cost(*items[name])
                self.items[key] = items[name]
                self._costs[key] = replace(cost, latency_ms=1e-3 + 1e-6 * cost.flops)
        return {name: self._costs[key] for name, key in keys.items()}

    def latency_ms(self, items: Mapping[str, Item], statistic: Statistic) -> dict[str, float]:
        return {name: cost.latency_ms for name, cost in self.price(items).items()}

    def peak_bytes(self, items: Mapping[str, Item]) -> dict[str, float]:
        return {name: cost.peak_activation_bytes for name, cost in self.price(items).items()}
