"""What a search looks like in a terminal: the progress bar and the closing table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from nas.budget import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from hw_cost_models.cost import Cost
    from hw_cost_models.device import Device
    from nas.cost_table import CostTable

_COLOUR = {"within": "green", "over": "red", "undecided": "yellow", "predicted, not verified": "yellow"}


class Bar:
    """One line a phase: what it does, how far it is, what is left.

    Where the output is no terminal, a line when a phase begins.
    """

    def __init__(self, console: Console) -> None:
        self.console, self.phases, self.number = console, 0, 0
        self.progress = Progress(
            TextColumn("[bold]{task.fields[number]:>5}[/]  {task.description:<34}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            disable=not console.is_terminal,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def plan(self, phases: int) -> None:
        self.phases = phases

    def phase(self, title: str) -> None:
        self._finish()
        self.number += 1
        number = f"{self.number}/{self.phases}"
        self.task = self.progress.add_task(title, total=None, number=number)
        if not self.console.is_terminal:
            self.console.print(f"{number:>5}  {title}", highlight=False)

    def start(self, total: int, done: int = 0) -> None:
        if self.task is not None:
            self.progress.reset(self.task, total=total, completed=done)

    def advance(self) -> None:
        if self.task is not None:
            self.progress.advance(self.task)

    def note(self, message: str) -> None:
        self.console.print(f"[yellow]note[/]  {escape(message)}", highlight=False)

    def _finish(self) -> None:
        if self.task is not None:
            task = self.progress.tasks[self.task]
            self.progress.update(self.task, total=task.total or 1, completed=task.total or 1)


def verdict_table(result: Mapping[str, Any]) -> Table:
    """Target, predicted, measured and verdict of every metric."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("", "", "target", "predicted", "measured", ""):
        table.add_column(column, justify="left" if not column else "right", style=None)
    measured, verification = result["measured"] or {}, result["verification"] or {}
    for metric in METRICS:
        if metric.name not in result["predicted"]:
            continue
        limit = result["budget"].get(metric.name)
        verdict = verification.get("verdicts", {}).get(
            metric.name, result["verdict"] if limit and not measured else ""
        )
        table.add_row(
            metric.title,
            metric.unit,
            _figure(limit),
            _figure(result["predicted"].get(metric.name)),
            _figure(measured.get(metric.name)),
            f"[{_COLOUR[verdict]}]{verdict}[/]" if verdict else "",
        )
    return table


def quality_table(result: Mapping[str, Any]) -> Table:
    """The winner and what it stands beside: trained in the same way, and before that in shared weights."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for column in (result["task"]["metric"], "test nats", "shared-weight nats", "latency ms"):
        table.add_column(column, justify="right")
    winner = {**result["quality"], "measured": result["measured"], "predicted": result["predicted"]}
    rivals = {name: row for name, row in result["baselines"].items() if name != "random"}
    for name, row in {"winner": winner, **rivals}.items():
        figures = row["measured"] or row["predicted"]
        table.add_row(
            name.replace("_", " "),
            f"{row['test_metric']:.3f}",
            f"{row['test_loss']:.4f}",
            f"{row['shared_loss']:.4f}",
            _figure(figures["latency_ms"]),
        )
    return table


def show(console: Console, result: Mapping[str, Any], path: Path) -> None:
    """The end of a search."""
    console.print()
    console.print(verdict_table(result))
    console.print()
    console.print(quality_table(result))
    console.print()
    use = result["use"]
    if filling := use["filling"]:
        comparison = "no better" if filling["shared_loss"] >= filling["winner_shared_loss"] else "better"
        console.print(
            f"{use['fraction']:.0%} of the limit is used: of {filling['architectures']} architectures "
            f"that fill it, the best is {comparison} in shared weights "
            f"({filling['shared_loss']:.4f} nats against {filling['winner_shared_loss']:.4f})",
            highlight=False,
        )
        console.print()
    console.print(
        f"winner {path / 'winner.onnx'}   report {path / 'report.html'}", highlight=False, soft_wrap=True
    )


def cost_table(table: CostTable) -> Table:
    """Options by choice, dearest first, with their share of the dearest architecture; equal choices once."""
    dearest = table.figures(table.dearest())["latency_ms"]
    drawn = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("choice", "option"):
        drawn.add_column(column)
    for column in ("latency ms", "share", "weights MB", "peak MB", "params M", "MFLOP"):
        drawn.add_column(column, justify="right")
    groups: dict[tuple[tuple[str, Cost], ...], list[str]] = {}
    for path, names in table.choices.items():
        groups.setdefault(tuple((name, table.options[path, name]) for name in names), []).append(path)
    rows = [
        (", ".join(paths) if i == 0 else "", name, cost)
        for options, paths in groups.items()
        for i, (name, cost) in enumerate(sorted(options, key=lambda o: -o[1].latency_ms))
    ]
    for label, name, cost in [*rows, ("the rest", "", table.fixed)]:
        drawn.add_row(
            label,
            name,
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
    return drawn


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


def _figure(value: float | None) -> str:
    """Three significant digits, and never an exponent."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
