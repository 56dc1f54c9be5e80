"""A board that is not here: the kit that a space is measured with there, and the cost table from its answer.

The networks of a kit are those that pricing asks a cost model for, found by letting it ask. A few whole
architectures among them, timed on the board in a process of their own, are the reference that later
measurements there are compared by.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hw_cost_models.device import load_device
from hw_cost_models.kit.latency_file import KitModel, read_latency
from hw_cost_models.kit.making import make_kit
from hw_cost_models.structure import structure_key
from hw_cost_models.trace import static_cost
from nas.calibration import Lift
from nas.pricing import ANCHORS, assembly_of, price_space, whole_architectures
from search_spaces import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hw_cost_models.cost import Cost, Item, Kind, Statistic, Workload
    from hw_cost_models.device import Device
    from hw_cost_models.kit.board.manifest import Manifest
    from nas import budget
    from nas.assembly import Assembly
    from nas.cost_table import CostTable
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
        wholes = {one.to_json(): assembly.whole(one) for one in _reference(table, assembly)}
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

    def price(self, items: Mapping[str, Item]) -> dict[str, Cost]:
        keys = {name: structure_key(*item) for name, item in items.items()}
        for name, key in keys.items():
            if key not in self.items:
                counted = static_cost(*items[name])
                self.items[key] = items[name]
                self._costs[key] = replace(counted, latency_ms=1e-3 + 1e-6 * counted.flops)
        return {name: self._costs[key] for name, key in keys.items()}

    def latency_ms(self, items: Mapping[str, Item], statistic: Statistic) -> dict[str, float]:
        return {name: cost.latency_ms for name, cost in self.price(items).items()}

    def peak_bytes(self, items: Mapping[str, Item]) -> dict[str, float]:
        return {name: cost.peak_activation_bytes for name, cost in self.price(items).items()}


def _reference(table: CostTable, assembly: Assembly) -> list[Architecture]:
    """Spread over the range of latencies, the smallest apart, which may be empty."""
    wholes = whole_architectures(assembly, {option: cost.flops for option, cost in table.options.items()})
    wholes.sort(key=lambda whole: table.cost(whole).latency_ms)
    spread = np.linspace(min(1, len(wholes) - 1), len(wholes) - 1, ANCHORS).round().astype(int)
    return [wholes[i] for i in dict.fromkeys(spread)]


def price_from_kit(assembly: Assembly, device: Device, statistic: budget.Statistic) -> CostTable:
    """The cost table of a space on the board that the device's latency file is from.

    Options and whole architectures were measured there together; the reference alone, as every verification
    will be, lifts the table to that level. Raises DeviceError for a latency file that cannot be used, and
    where its kit was of another space or workload.
    """
    assert device.latency_file is not None
    measured = read_latency(Path(device.latency_file.path))
    table = price_space(assembly, KitModel(measured), device, statistic)
    reference = measured.reference[assembly.workload.kind]
    then = [table.cost(Architecture.from_json(name)).latency_ms for name in reference]
    now = [timing.at(statistic) for timing in reference.values()]
    return table.lifted(Lift.fit(then, now, table.fixed.latency_ms))
