"""`nas cost` and `nas devices`: what things cost, without any training."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from nas.options import (
    LOCAL,
    BatchOption,
    DeviceOption,
    JsonOption,
    KindName,
    LengthOption,
    PrecisionOption,
    ProviderOption,
    RuntimeOption,
    SpaceOption,
    StatisticName,
    StatisticOption,
    ThreadsOption,
    precisions_of,
)

if TYPE_CHECKING:
    import networkx as nx

    from hw_cost_models.breakdown import Breakdown
    from hw_cost_models.device import Device
    from hw_cost_models.predictor import PredictedLatency
    from nas.cost_table import CostTable
    from search_spaces import SearchSpace


def cost(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE.onnx|MODULE:FUNCTION]",
            help="A network to price by operators: an ONNX file, or a function that returns a module and the "
            "tuple of its inputs. Or one that returns a SearchSpace; without it --space: every option.",
            show_default=False,
        ),
    ] = None,
    space: SpaceOption = "hybrid-lm",
    precision: PrecisionOption = None,
    device: DeviceOption = "local",
    all_devices: Annotated[
        bool, typer.Option("--all-devices", help="Of a network: compare all profiles, and this machine.")
    ] = False,
    threads: ThreadsOption = None,
    runtime: RuntimeOption = None,
    provider: ProviderOption = None,
    batch: BatchOption = 1,
    length: LengthOption = None,
    dim: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a file: a free dimension, as name=value. Those called batch and length have options.",
            rich_help_panel="Where",
        ),
    ] = None,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Count operators without a formula as no work, and say so.")
    ] = False,
    learned: Annotated[
        bool,
        typer.Option(
            "--learned",
            help="Of a file, on this machine: predict also from operators timed here, with an interval; they "
            "take a minute the first time.",
        ),
    ] = False,
    kind: Annotated[
        KindName,
        typer.Option(
            help="Of a space: forward and prefill take --length tokens, decode takes one after --length.",
            rich_help_panel="Where",
        ),
    ] = KindName.forward,
    statistic: StatisticOption = StatisticName.p50,
    as_json: JsonOption = False,
) -> None:
    """Price a network by its operators, or every option of a space, without any training.

    [dim]nas cost model.onnx --device raspberry-pi-5 --batch 1 --dim width=224[/]
    """
    from hw_cost_models.device import device_names, load_device

    asked = partial(load_device, threads=threads, runtime=runtime and runtime.value, provider=provider)
    from nas.own_space import in_precisions, is_own, space_in, space_named

    own = space_in(target) if target and is_own(target) else None
    if target is None or own:
        if all_devices or dim or skip_unknown or learned:
            raise typer.BadParameter(
                "--all-devices, --dim, --skip-unknown and --learned are for a file or a module"
            )
        precisions = precisions_of(precision)
        built = in_precisions(own, precisions) if own else space_named(space, precisions)
        _print_space(_priced(built, asked(device), batch, length, kind.value, statistic.value), as_json)
        return
    from hw_cost_models.cost import Workload
    from hw_cost_models.subject import graph_of

    if precision is not None:
        raise typer.BadParameter("--precision is for a space: a file has the precisions that it has")

    dimensions = {"batch": batch, "length": length or Workload.length, **_dimensions(dim or [])}
    graph = graph_of(target, dimensions, "skip" if skip_unknown else "error")
    elsewhere = [load_device(name) for name in device_names() if name != LOCAL] if all_devices else []
    profiles = [*elsewhere, asked(LOCAL if all_devices else device)]
    prediction = _learned(target, dimensions, profiles[0]) if learned else None
    _print_network(target, [_breakdown(graph, profile) for profile in profiles], prediction, as_json)


def _dimensions(given: list[str]) -> dict[str, int]:
    found = {}
    for text in given:
        name, equals, value = text.rpartition("=")
        if not equals or not value.isdigit() or int(value) < 1:
            raise typer.BadParameter(f"--dim {text}: write name=value with a positive number, as width=224")
        found[name] = int(value)
    return found


def _breakdown(graph: nx.DiGraph, profile: Device) -> Breakdown:
    from hw_cost_models.breakdown import breakdown
    from hw_cost_models.self_calibration import self_calibrated
    from nas.progress import rounds
    from nas.terminal import Bar

    if not profile.here:
        return breakdown(graph, profile)
    with Bar(Console(stderr=True)) as bar:
        bar.plan(1)
        bar.phase("how fast is this machine")
        known = self_calibrated(profile, progress=rounds(bar))
    return breakdown(graph, known)


def _learned(target: str, dimensions: dict[str, int], profile: Device) -> PredictedLatency:
    from pathlib import Path

    from hw_cost_models.predictor import LatencyPredictor
    from nas.progress import rounds
    from nas.terminal import Bar

    if not target.endswith(".onnx") or not profile.here or profile.runtime != "onnxruntime":
        raise typer.BadParameter("--learned is for an ONNX file on --device local, in onnxruntime")
    with Bar(Console(stderr=True)) as bar:
        bar.plan(1)
        bar.phase("timing operators")
        predictor = LatencyPredictor(profile, progress=rounds(bar))
        return predictor.predict(Path(target), dimensions, "p50")


def _print_network(
    target: str, found: list[Breakdown], learned: PredictedLatency | None, as_json: bool
) -> None:
    from nas.cost_tables import breakdown_table, comparison_table

    if as_json:
        told: Any = [one.to_dict() for one in found]
        told = told if len(told) > 1 else {**told[0], **({"learned": asdict(learned)} if learned else {})}
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        return
    table = breakdown_table(target, found[0]) if len(found) == 1 else comparison_table(target, found)
    Console().print(table)
    if learned:
        unseen = f"; never timed: {', '.join(learned.unseen)}" if learned.unseen else ""
        Console().print(
            f"learned from operators timed here: {learned.latency_ms:.3g} ms, nine times in ten between "
            f"{learned.low_ms:.3g} and {learned.high_ms:.3g}{unseen}",
            highlight=False,
        )


def _priced(
    space: SearchSpace, profile: Device, batch: int, length: int | None, kind: Any, statistic: Any
) -> CostTable:
    from nas.pricing import assembly_of, price_on
    from nas.settings import PRESETS
    from nas.terminal import Bar
    from nas.workloads import workload_of

    assembly = assembly_of(space, workload_of(space, batch, length, kind))
    with Bar(Console(stderr=True)) as bar:
        bar.plan(1)
        bar.phase("pricing every option")
        table, _ = price_on(profile, assembly, statistic, PRESETS["standard"].rounds, bar)
    return table


def _print_space(table: CostTable, as_json: bool) -> None:
    from nas.cost_tables import cost_table

    if as_json:
        sys.stdout.write(json.dumps(table.to_dict(), indent=1) + "\n")
    else:
        Console().print(cost_table(table))


def devices(as_json: JsonOption = False) -> None:
    """List the device profiles; as JSON, each figure with its source."""
    from hw_cost_models.device import device_names, load_device
    from nas.cost_tables import device_table

    profiles = [load_device(name) for name in device_names()]
    if as_json:
        sys.stdout.write(json.dumps([p.model_dump(exclude_none=True) for p in profiles], indent=1) + "\n")
    else:
        Console().print(device_table(profiles))
