"""`nas kit`: the command line of searches for a device that has no PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nas.cli_runs import console, exit_with, open_run, space_and_task
from nas.options import (
    BatchOption,
    LengthOption,
    PrecisionOption,
    RunArgument,
    SpaceOption,
    precisions_of,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Search for a board that only runs onnxruntime, by what it measures there.

    [bold]nas kit make[/] here, [bold]python measure.py[/] there, [bold]nas search --device latency.json[/]
    here, [bold]python measure.py --verify winner.onnx[/] there, [bold]nas kit verify[/] here.""",
)


@app.command()
def make(
    space: SpaceOption = "hybrid-lm",
    precision: PrecisionOption = None,
    batch: BatchOption = 1,
    length: LengthOption = None,
    context: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Measure prefill and decode of that many tokens, too. Default: neither.",
            rich_help_panel="Where",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write the zip file.")] = Path("kit.zip"),
) -> None:
    """Write the networks to measure on the board, and the script that measures them.

    [dim]nas kit make --space hybrid-lm --out kit.zip[/]
    """
    from hw_cost_models.cost import Workload
    from nas.kit import make as make_kit
    from nas.own_space import space_named
    from nas.terminal import Bar
    from nas.workloads import workload_of

    built = space_named(space, precisions_of(precision))
    workloads = [workload_of(built, batch, length)]
    if context is not None:
        workloads += [Workload(batch, context, "prefill"), Workload(batch, context, "decode")]
    with Bar(Console(stderr=True)) as bar:
        bar.plan(1)
        bar.phase("exporting what is measured")
        manifest = make_kit(built, workloads, out)
    megabytes = out.stat().st_size / 1e6
    console.print(
        f"{out}   {len(manifest.networks)} networks, {megabytes:.1f} MB: unpack it on the board and run "
        "`python measure.py` there",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def pack(
    run: RunArgument, out: Annotated[Path, typer.Option(help="Where to write it.")] = Path("winner.zip")
) -> None:
    """Write the winner with its inputs in one file for the board: needed where the search limits decoding."""
    from nas.kit_verdict import pack_winner

    opened = open_run(run)
    pack_winner(opened, space_and_task(opened)[0], out)
    console.print(
        f"{out}   run `python measure.py --verify {out.name}` on the board", highlight=False, soft_wrap=True
    )


@app.command()
def verify(
    run: RunArgument,
    answer: Annotated[
        Path, typer.Argument(metavar="VERIFICATION.JSON", help="What `measure.py --verify` wrote.")
    ],
) -> None:
    """Close a run by what the board measured of its winner: target, predicted, measured."""
    from nas.kit_verdict import close
    from nas.terminal import verdict_table

    opened = open_run(run)
    result = close(opened, space_and_task(opened)[0], answer)
    console.print(verdict_table(result))
    exit_with(result["verdict"])
