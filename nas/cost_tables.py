"""Costs as tables in a terminal: of a space, of a network by its operators, of device profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from nas.budget import Budget
from nas.discretise import Scores
from nas.paths import together
from nas.terminal import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hw_cost_models.breakdown import Breakdown
    from hw_cost_models.cost import Cost
    from hw_cost_models.device import Device
    from nas.cost_table import CostTable

_ROWS = 25
"""How many operators are shown; the JSON has all."""


def breakdown_table(target: str, found: Breakdown) -> Table:
    """A network's operators on one device, dearest first."""
    drawn = _table(("operators", "output"), ("times", "ms", "share", "MFLOP", "MB moved", "bound by"))
    for row in found.rows[:_ROWS]:
        first, *fused = row.operators
        drawn.add_row(
            first + (f" + {len(fused)}" if fused else ""),
            "x".join(map(str, row.shape)),
            str(row.count),
            f"{row.latency_ms:.4f}",
            f"{row.share:.1%}",
            f"{row.flops / 1e6:.2f}",
            f"{row.bytes / 1e6:.3f}",
            row.bound,
        )
    drawn.title = f"{target} on {found.device}, {_threads(found.threads)}, by roofline"
    others = found.rows[_ROWS:]
    rest = f"{len(others)} more kinds of operators: {sum(r.share for r in others):.1%}\n" if others else ""
    known = "" if found.coverage == 1 else f"; formulas known for {found.coverage:.0%} of the operators"
    energy = "" if found.energy_mj is None else f", {figure(found.energy_mj)} mJ"
    drawn.caption = (
        f"{rest}in all {figure(found.latency_ms)} ms{energy}, {found.flops / 1e6:.1f} MFLOP, "
        f"weights {figure(found.weight_mb)} MB, activations at their peak "
        f"{figure(found.peak_activation_mb)} MB{known}"
    )
    drawn.caption_justify = "left"
    return drawn


def comparison_table(target: str, found: Sequence[Breakdown]) -> Table:
    """A network on several devices."""
    drawn = _table(("device",), ("threads", "ms", "mJ", "bound by", "fits"))
    for one in sorted(found, key=lambda one: one.latency_ms):
        spent: dict[str, float] = {}
        for row in one.rows:
            spent[row.bound] = spent.get(row.bound, 0.0) + row.share
        bound = max(spent, key=spent.__getitem__, default="")
        drawn.add_row(
            one.device,
            str(one.threads),
            figure(one.latency_ms),
            figure(one.energy_mj),
            f"{bound} {spent.get(bound, 0.0):.0%}",
            {True: "yes", False: "no", None: ""}[one.fits],
        )
    drawn.title = f"{target} by roofline"
    return drawn


def cost_table(table: CostTable) -> Table:
    """Options by choice, dearest first, with their share of the dearest architecture; equal choices once."""
    dearest = table.cost(table.dearest()).latency_ms
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    drawn.add_column("choice\n  option", overflow="fold")
    for column in ("latency\nms", "share", "weights\nMB", "peak\nMB", "params\nM", "\nMFLOP"):
        drawn.add_column(column, justify="right", no_wrap=True)
    groups: dict[tuple[tuple[str, Cost], ...], list[str]] = {}
    for path, names in table.choices.items():
        groups.setdefault(tuple((name, table.options[path, name]) for name in names), []).append(path)
    rows: list[tuple[str, Cost | None]] = []
    for options, paths in groups.items():
        rows.append((f"{together(paths)} ×{len(paths)}" if len(paths) > 1 else paths[0], None))
        rows += [(f"  {name}", cost) for name, cost in sorted(options, key=lambda o: -o[1].latency_ms)]
    for label, cost in [*rows, ("the rest", table.fixed)]:
        if cost is None:
            drawn.add_row(f"[bold]{escape(label)}[/]")
            continue
        drawn.add_row(
            escape(label),
            f"{cost.latency_ms:.3f}",
            f"{cost.latency_ms / dearest:.0%}",
            f"{cost.weight_bytes / 1e6:.3f}",
            f"{cost.peak_activation_bytes / 1e6:.3f}",
            f"{cost.parameters / 1e6:.4f}",
            f"{cost.flops / 1e6:.1f}",
        )
    drawn.title = (
        f"{table.device}, {table.threads} thread{'s' if table.threads > 1 else ''}, {table.workload}, "
        f"{table.statistic}; residual on whole architectures {table.calibration.latency.residual:.1%}"
    )
    drawn.caption, drawn.caption_justify = _range(table), "left"
    return drawn


def _range(table: CostTable) -> str:
    """The cheapest and the dearest architecture, in latency: between them a limit decides something."""
    decisions = {d: -c.latency_ms for d, c in table.options.items()}
    cheapest = table.problem(Budget()).best(Scores(decisions))
    assert cheapest is not None  # `dearest` has found that there are architectures
    low, high = (table.cost(a).latency_ms for a in (cheapest.architecture, table.dearest()))
    return f"whole architectures take {figure(low)} to {figure(high)} ms"


def device_table(profiles: Sequence[Device]) -> Table:
    """The profiles with their figures; where each figure is from is in the JSON."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = ("threads", "GFLOP/s", "fp16", "int8", "GB/s", "us/operator", "MB", "idle W", "pJ/FLOP")
    drawn.add_column("device", no_wrap=True)
    for column in columns:
        drawn.add_column(column, justify="right")
    drawn.add_column("description")
    for profile in profiles:
        drawn.add_row(
            profile.name, str(profile.threads), *_device_figures(profile), escape(profile.description)
        )
    return drawn


def _device_figures(profile: Device) -> list[str]:
    """Of the roofline, the memory and the energy; nothing for what the profile does not say."""
    roofline, energy = profile.roofline, profile.energy
    if roofline is None:
        return ["measured"] * 5 + [""] * 3
    peak = roofline.peak_gflops
    figures = (
        *(peak.get("float32"), peak.get("float16"), peak.get("int8")),
        *(roofline.bandwidth_gb_s, roofline.overhead_us, profile.memory_mb),
        *((energy.idle_w, energy.pj_per_op["float32"]) if energy is not None else (None, None)),
    )
    return ["" if figure is None else f"{figure.value:.10g}" for figure in figures]


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    """Where there is little room, words break and figures do not."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in left:
        drawn.add_column(column, overflow="fold")
    for column in right:
        drawn.add_column(column, justify="right", no_wrap=True)
    return drawn


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
