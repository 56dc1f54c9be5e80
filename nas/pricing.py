"""Pricing: from a search space and a cost model to a cost table.

Every option is priced alone, and a few whole architectures beside them in the same rounds, by which the
options are calibrated to their places. A latency in another statistic than the quiet machine's is that
latency times how much higher the statistic lies on the whole architectures: percentiles of single options are
too noisy to add up.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from hw_cost_models.cache import cache_folder
from hw_cost_models.cost import Cost
from hw_cost_models.device import load_device
from hw_cost_models.errors import HardwareCostError
from hw_cost_models.export_cache import ExportCache
from hw_cost_models.kit.latency_file import KitModel, read_latency
from hw_cost_models.latency_table import LatencyTable
from hw_cost_models.roofline import RooflineModel
from hw_cost_models.structure import structure_key
from hw_cost_models.trace import static_cost
from nas.assembly import Assembly
from nas.bench import Bench
from nas.calibration import Calibration, LatencyFit, Lift, PeakFit
from nas.cost_table import CostTable
from nas.progress import Silent
from nas.progress import rounds as each_round
from nas.sampling import FairSampler
from nas.workloads import workload_of
from search_spaces import Architecture, SearchSpaceError
from search_spaces.trial import try_space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hw_cost_models.cost import CostModel, Item, Workload
    from hw_cost_models.device import Device
    from hw_cost_models.kit.latency_file import LatencyFile
    from nas.budget import Statistic
    from nas.discretise import Decision
    from nas.progress import Progress
    from search_spaces import SearchSpace

WHOLE_ARCHITECTURES = 24
"""At least so many are measured."""
STANDING = 24
"""How often an option should stand in them on average: less would not tell the options' costs apart. No more
than two architectures for each option by name are measured for that."""
ANCHORS = 6
EXACT_ARCHITECTURES = 4
"""Enough where the model does not measure and adds up exactly."""


def assembly_of(space: SearchSpace, workload: Workload) -> Assembly:
    """The space's parts, exported at most once on this machine.

    Raises SearchSpaceError for a space that does not run on its example inputs.
    """
    try_space(space, workload.batch, workload.length)
    exports = ExportCache(cache_folder(), space.dynamic)
    return Assembly(space, workload, exports)


def price(
    space: SearchSpace,
    *,
    device: str = "local",
    threads: int | None = None,
    workload: Workload | None = None,
    statistic: Statistic = "p50",
    rounds: int = 40,
) -> CostTable:
    """What every option of a space costs, without any training; `workload` unless given is the space's own.

    Raises SearchSpaceError for a space that cannot be searched, DeviceError for a device that is not known.
    """
    assembly = assembly_of(space, workload or workload_of(space))
    return price_on(load_device(device, threads=threads), assembly, statistic, rounds, Silent())[0]


def price_on(
    device: Device, assembly: Assembly, statistic: Statistic, rounds: int, progress: Progress
) -> tuple[CostTable, Bench | None]:
    """The cost table of a space: measured here, or on the board that a kit was on, or else by roofline.

    Where it is measured here, the second is the bench that states later measurements as of this table.
    Raises DeviceError for a kit's latency file that cannot be used, or is of another space or workload.
    """
    if device.latency_file is not None:
        return _price_by_kit(assembly, device, read_latency(Path(device.latency_file.path)), statistic), None
    if not device.here:
        return price_space(assembly, RooflineModel(device), device, statistic), None
    dynamic = assembly.space.dynamic
    model = LatencyTable(
        device, dynamic=dynamic, export=assembly.export, rounds=rounds, progress=each_round(progress)
    )
    table = price_space(assembly, model, device, statistic)
    for warning in model.warnings:
        progress.note(warning)
    return _levelled(table, assembly, device, rounds)


def _levelled(table: CostTable, assembly: Assembly, device: Device, rounds: int) -> tuple[CostTable, Bench]:
    """The table at today's level, by a few whole architectures that are the bench's anchors from now on.

    How far a median lies above the quiet machine's figure changes from hour to hour, and more for networks
    than for the small generic anchors.
    """
    anchors = reference_architectures(table, assembly)
    bench = Bench.start(assembly, device, table.statistic, rounds, anchors)
    then = [table.cost(anchor).latency_ms for anchor in anchors]
    now = [bench.anchors[anchor.name].at(table.statistic) for anchor in anchors]
    lift = Lift.fit(then, now, table.fixed.latency_ms)
    lifted = table.lifted(lift)
    calibration = replace(lifted.calibration, repeatability=lift.scatter(then, now))
    return replace(lifted, calibration=calibration), bench


def _price_by_kit(
    assembly: Assembly, device: Device, measured: LatencyFile, statistic: Statistic
) -> CostTable:
    """Options and whole architectures were measured on the board together; the reference alone, as every
    verification will be, lifts the table to that level."""
    table = price_space(assembly, KitModel(measured), device, statistic)
    reference = measured.reference[assembly.workload.kind]
    then = [table.cost(Architecture.from_json(name)).latency_ms for name in reference]
    now = [timing.at(statistic) for timing in reference.values()]
    return table.lifted(Lift.fit(then, now, table.fixed.latency_ms))


def reference_architectures(table: CostTable, assembly: Assembly) -> list[Architecture]:
    """A few spread over the range of latencies, the smallest apart, which may be empty."""
    wholes = whole_architectures(assembly, {option: cost.flops for option, cost in table.options.items()})
    wholes.sort(key=lambda whole: table.cost(whole).latency_ms)
    spread = np.linspace(min(1, len(wholes) - 1), len(wholes) - 1, ANCHORS).round().astype(int)
    return [wholes[i] for i in dict.fromkeys(spread)]


def price_space(
    assembly: Assembly, model: CostModel, device: Device, statistic: Statistic = "p50"
) -> CostTable:
    """The cost table of a space; `statistic` is the one that limits are stated in."""
    parts = {d: assembly.option(d) for d in assembly.decisions if not assembly.is_choice(d)}
    keys = {decision: structure_key(*item) for decision, item in parts.items()}
    identities = {_identity(inputs[0]): (nn.Identity(), inputs[:1]) for _, inputs in parts.values()}
    distinct: dict[str, Item] = {keys[d]: item for d, item in parts.items()} | identities
    counted = _counted(distinct, {keys[d]: f"choice {d[0]!r}, option {d[1]!r}" for d in parts})
    measured = device.here or device.latency_file is not None
    flops = {d: counted[keys[d]].flops if d in parts else 0.0 for d in assembly.decisions}
    wholes = whole_architectures(assembly, flops, measured=measured)
    networks = [assembly.whole(whole) for whole in wholes]
    together = {**distinct, **{whole.name: item for whole, item in zip(wholes, networks, strict=True)}}
    latency, peak = model.latency_ms(together, "p10"), model.peak_bytes(together)

    costs = {
        key: replace(cost, state_bytes=assembly.state_bytes(distinct[key]))
        for key, cost in model.price(distinct, counted).items()
    }
    alone = {d: _without(costs[keys[d]], latency[_identity(parts[d][1][0])]) for d in parts}
    options = _all_apart(alone, assembly)
    rest = _rest(options, assembly, model)

    times = LatencyFit(
        {key: options[d].latency_ms for d, key in keys.items()},
        [Counter(keys[d] for d in whole.items() if d in keys) for whole in wholes],
        [latency[whole.name] for whole in wholes],
    )
    solved, higher = times.solve(), model.latency_ms(together, statistic)
    lift = Lift.fit(
        [latency[whole.name] for whole in wholes], [higher[whole.name] for whole in wholes], solved.fixed
    )
    peaks = PeakFit(
        [max(options[d].peak_activation_bytes for d in whole.items()) for whole in wholes],
        [peak[whole.name] for whole in wholes],
    )
    peak_model = peaks.solve()
    return CostTable(
        device=device.name,
        threads=device.threads,
        workload=assembly.workload,
        statistic=statistic,
        options={
            d: replace(
                cost,
                latency_ms=lift.factor * solved.options[keys[d]] if d in keys else 0.0,
                peak_activation_bytes=round(peak_model.predict(cost.peak_activation_bytes)),
            )
            for d, cost in options.items()
        },
        nesting=assembly.nesting,
        fixed=replace(rest, latency_ms=lift.of(solved.fixed)),
        rules=assembly.space.rules,
        calibration=Calibration(times.residuals().lifted(lift), peaks.residuals().scaled(1e-6)),
    )


def _counted(items: Mapping[str, Item], places: Mapping[str, str]) -> dict[str, Cost]:
    """What is counted of every item; SearchSpaceError, naming its place, for one that cannot be traced."""
    counted = {}
    for key, item in items.items():
        try:
            counted[key] = static_cost(*item)
        except HardwareCostError as error:
            raise SearchSpaceError(f"{places.get(key, key)}: {error}") from error
    return counted


def whole_architectures(
    assembly: Assembly, flops: Mapping[Decision, float], *, measured: bool = True
) -> list[Architecture]:
    """Random ones from all over the range of FLOPs, which the table is fitted to: the same in every run."""
    options, places = {option for _, option in flops}, len(assembly.choices)
    enough = min(2 * len(options), math.ceil(STANDING * len(options) / places))
    count = max(WHOLE_ARCHITECTURES, enough) if measured else EXACT_ARCHITECTURES
    return list(_drawn(tuple(flops.items()), tuple(assembly.nesting.items()), count))


@cache
def _drawn(
    flops: tuple[tuple[Decision, float], ...], nesting: tuple[tuple[str, Decision | None], ...], count: int
) -> tuple[Architecture, ...]:
    """Kept, because what a table is fitted to is asked for again when its anchors are chosen from it."""
    fair, draws = FairSampler.of(dict(flops), dict(nesting)), torch.Generator().manual_seed(0)
    drawn: dict[Architecture, None] = {}
    for _ in range(20 * count):  # a small space may hold fewer
        drawn[fair.sample(draws)] = None
        if len(drawn) == count:
            break
    return tuple(drawn)


def _identity(x: torch.Tensor) -> str:
    return f"identity of {tuple(x.shape)}"


def _without(cost: Cost, overhead_ms: float) -> Cost:
    return replace(cost, latency_ms=max(0.0, cost.latency_ms - overhead_ms))


def _all_apart(alone: Mapping[Decision, Cost], assembly: Assembly) -> dict[Decision, Cost]:
    """Every option apart from what is inside it, its peak that with the smallest inside. One that is a choice
    itself costs nothing but, at least, the smallest peak of what is in the choice."""
    apart: dict[Decision, Cost] = {}
    for decision in reversed(assembly.decisions):  # inner before outer
        inside = [d for d in assembly.first_inside(decision).items() if assembly.nesting[d[0]] == decision]
        if assembly.is_choice(decision):
            peaks = [c.peak_activation_bytes for (path, _), c in apart.items() if path == inside[0][0]]
            apart[decision] = Cost(peak_activation_bytes=min(peaks))
        else:
            apart[decision] = _apart(alone[decision], [alone[_standing(d, assembly)] for d in inside])
            if inside:
                item = assembly.option(decision, _smallest(assembly, apart, decision))
                peak = static_cost(*item).peak_activation_bytes
                apart[decision] = replace(apart[decision], peak_activation_bytes=peak)
    return {decision: apart[decision] for decision in assembly.decisions}


def _smallest(assembly: Assembly, costs: Mapping[Decision, Cost], decision: Decision | None) -> Architecture:
    """What is reached in an option, or in the network, where every choice takes its smallest peak."""
    taken: dict[str, str] = {}
    for path, choice in assembly.choices.items():
        outer = assembly.nesting[path]
        if outer == decision or (outer is not None and taken.get(outer[0]) == outer[1]):
            taken[path] = min(choice.options, key=lambda o: costs[path, o].peak_activation_bytes)
    return Architecture(taken)


def _standing(decision: Decision, assembly: Assembly) -> Decision:
    """The option itself, or where it is a choice the first option of that."""
    while assembly.is_choice(decision):
        inside = assembly.first_inside(decision).items()
        decision = next(d for d in inside if assembly.nesting[d[0]] == decision)
    return decision


def _apart(cost: Cost, inner: list[Cost]) -> Cost:
    """What an option costs apart from the choices inside it."""
    return replace(
        cost,
        latency_ms=max(0.0, cost.latency_ms - sum(c.latency_ms for c in inner)),
        energy_mj=max(0.0, cost.energy_mj - sum(c.energy_mj for c in inner)),
        state_bytes=cost.state_bytes - sum(c.state_bytes for c in inner),
        flops=cost.flops - sum(c.flops for c in inner),
        weight_bytes=cost.weight_bytes - sum(c.weight_bytes for c in inner),
        parameters=cost.parameters - sum(c.parameters for c in inner),
    )


def _rest(options: Mapping[Decision, Cost], assembly: Assembly, model: CostModel) -> Cost:
    """The network without its options: what is counted, which is the same whatever they are, and the peak
    where theirs are smallest. Its latency comes from the calibration."""
    taken = _smallest(assembly, options, None)
    item, parts = assembly.whole(Architecture(taken)), [options[d] for d in taken.items()]
    whole = static_cost(*item)
    energy = model.price({"rest": item})["rest"].energy_mj if any(c.energy_mj for c in parts) else 0.0
    return replace(
        whole,
        energy_mj=max(0.0, energy - sum(c.energy_mj for c in parts)),
        state_bytes=assembly.state_bytes(item) - sum(c.state_bytes for c in parts),
        flops=whole.flops - sum(c.flops for c in parts),
        weight_bytes=whole.weight_bytes - sum(c.weight_bytes for c in parts),
        parameters=whole.parameters - sum(c.parameters for c in parts),
    )
