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
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from nas.budget import Budget
    from nas.places import Place


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
            figure(limit),
            figure(result["predicted"].get(metric.name)),
            figure(measured.get(metric.name)),
            f"[{_COLOUR[verdict]}]{verdict}[/]" if verdict else "",
        )
    return table


def quality_table(result: Mapping[str, Any]) -> Table:
    """The winner and what it stands beside: trained in the same way, and before that in shared weights."""
    winner = {**result["quality"], "measured": result["measured"], "predicted": result["predicted"]}
    rivals = {name: row for name, row in result["baselines"].items() if name != "random"}
    limit = result["budget"].get("latency_ms")
    errors = ("errors",) if "test_error" in winner else ()  # of a task that counts them
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for column in (result["task"]["metric"], *errors, "test loss", "shared-weight loss", "latency ms"):
        table.add_column(column, justify="right")
    for name, row in {"winner": winner, **rivals}.items():
        figures = row["measured"] or row["predicted"]
        same = " (the same)" if row.get("architecture") == result["architecture"] else ""
        table.add_row(
            row.get("name", name.replace("_", " ")) + same,
            f"{row['test_metric']:.3f}" if "test_metric" in row else "–",
            *((f"{row['test_error']:.1%}" if "test_error" in row else "–",) if errors else ()),
            f"{row['test_loss']:.4f}" if "test_loss" in row else "–",
            f"{row['shared_loss']:.4f}",
            _beside(figures["latency_ms"], limit),
        )
    if tested := result["quality"].get("test_examples"):
        table.caption, table.caption_justify = f"on {tested:,} examples of the test data", "left"
    return table


def _beside(latency_ms: float, limit: float | None) -> str:
    over = limit is not None and latency_ms > limit
    return f"[red]over[/] {figure(latency_ms)}" if over else figure(latency_ms)


def show(console: Console, result: Mapping[str, Any], path: Path) -> None:
    """The end of a search."""
    console.print()
    console.print(verdict_table(result))
    console.print()
    console.print(quality_table(result))
    console.print()
    use = result["use"]
    if filling := use["filling"]:
        console.print(
            f"{use['fraction']:.0%} of the limit is used; of {filling['architectures']} architectures that "
            f"fill it, the best has a shared-weight loss of {filling['shared_loss']:.4f}, the winner "
            f"{filling['winner_shared_loss']:.4f}",
            highlight=False,
        )
        console.print()
    loose = _loose(result)
    if loose:
        console.print(loose, highlight=False)
        console.print()
    taken = result["architecture"]
    console.print("found " + escape(", ".join(taken.values())), highlight=False)
    console.print(
        f"winner {path / 'winner.onnx'}   report {path / 'report.html'}", highlight=False, soft_wrap=True
    )


def _loose(result: Mapping[str, Any]) -> str:
    """What a limit decided nothing of, because the largest architecture is within it."""
    largest = result["baselines"]["largest"]
    figures = {**largest["predicted"], **(largest["measured"] or {})}
    limits = [metric for metric in METRICS if metric.name in result["budget"]]
    if any(figures[metric.name] > result["budget"][metric.name] for metric in limits):
        return ""
    told = ", ".join(f"{metric.title} {figure(figures[metric.name])} {metric.unit}" for metric in limits)
    return f"every architecture is within this budget; the largest takes {told}"


def show_place(console: Console, place: Place, budget: Budget) -> None:
    """What a place limits, and why."""
    console.print(f"for {place.name}: {place.description}; device {place.device}", highlight=False)
    for metric, limit in budget.items():
        why = place.reasons.get(metric.name) if limit == getattr(place.budget, metric.name) else "yours"
        console.print(f"  {metric.title} {limit:.4g} {metric.unit}: {why}", highlight=False)


def figure(value: float | None) -> str:
    """Three significant digits, and never an exponent."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
