"""What the commands that work on runs share: opening them, showing progress, closing with a verdict."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nas.run import Run
    from search_spaces import SearchSpace, Task

console = Console()


def open_run(path: Path) -> Run:
    from nas.run import Run

    return Run.open(
        path, lambda message: console.print(f"[yellow]note[/]  {escape(message)}", highlight=False)
    )


def space_and_task(run: Run) -> tuple[SearchSpace, Task]:
    from nas import own_space
    from nas.errors import BadInputError
    from search_spaces.catalogue import SPACES

    config = run.config
    name, length = config.get("origin") or config["space"], config["workload"]["length"]
    if name not in SPACES and not own_space.is_own(name):
        raise BadInputError(
            f"{run.path} was searched from Python, in a space {name!r} that only your program can build: "
            f"nas.resume({str(run.path)!r}, space, task) goes on with it there, and nas.search(..., "
            "origin='module:function') says beforehand where this command finds it"
        )
    return own_space.space_and_task(name, config["data"], length, config.get("precisions", ()))


@contextmanager
def bar() -> Iterator[Any]:
    from nas.terminal import Bar

    with Bar(console) as bar:
        yield bar


def close(summary: dict[str, Any], path: Path) -> None:
    from nas.terminal import show

    show(console, summary, path)
    exit_with(summary["verdict"])


def exit_with(verdict: str) -> None:
    """A budget that was not shown to hold is a failure, for whoever calls this from a script."""
    if verdict in ("over", "undecided"):
        raise typer.Exit(4)
