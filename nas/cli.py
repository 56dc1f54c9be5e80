"""The command line. Everything heavy is imported inside the commands: `nas --help` must be instant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from nas import cost_cli, kit_cli
from nas.cli_runs import bar, close, console, exit_with, open_run, space_and_task
from nas.options import (
    BATCH,
    DEVICE,
    LENGTH,
    LOCAL,
    STATISTIC,
    ContextOption,
    ControllerName,
    DecodeLimit,
    EnergyLimit,
    LatencyLimit,
    MemoryLimit,
    ParametersLimit,
    PlaceOption,
    PrecisionOption,
    PrefillLimit,
    Preset,
    ProviderOption,
    RunArgument,
    RuntimeOption,
    ScheduleName,
    SpaceOption,
    StateLimit,
    StatisticName,
    ThreadsOption,
    precisions_of,
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Architecture search that ends in an ONNX file [bold]measured[/] to fit its budget.

    Start with [bold]nas search[/]: every option has a default.""",
    epilog="Exit codes: 0 done, 2 bad input, 3 infeasible budget, 4 verification failed, 1 anything else.",
)

app.command()(cost_cli.cost)
app.command()(cost_cli.devices)
app.add_typer(kit_cli.app, name="kit")

_INTERRUPTED = 130
"""What Ctrl-C ends a command with."""


@app.command()
def search(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:FUNCTION]",
            help="A function of yours that returns a SearchSpace, or (SearchSpace, Task); or --space's name.",
            show_default=False,
        ),
    ] = None,
    space: SpaceOption = "hybrid-lm",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A name ([bold]recall[/], [bold]copying[/], [bold]compression[/], [bold]memorisation[/], "
            "generated; [bold]digits[/], [bold]fashion-mnist[/]) or a path. For [bold]hybrid-lm[/], a text "
            "file or a folder of texts; for [bold]encoder[/], a folder of texts with a sub-folder for each "
            "class, or .npz arrays of sequences; for [bold]mobile-vision[/], a folder of images with a "
            "sub-folder for each class, IDX files, or .npz arrays. Default: the Python standard library's "
            "sources; for [bold]encoder[/], their packages as classes; for [bold]mobile-vision[/], digits.",
            rich_help_panel="What",
        ),
    ] = None,
    precision: PrecisionOption = None,
    place: PlaceOption = None,
    latency_ms: LatencyLimit = None,
    prefill_ms: PrefillLimit = None,
    decode_ms: DecodeLimit = None,
    energy_mj: EnergyLimit = None,
    memory_mb: MemoryLimit = None,
    state_mb: StateLimit = None,
    params_m: ParametersLimit = None,
    device: Annotated[str | None, DEVICE] = None,
    threads: ThreadsOption = None,
    runtime: RuntimeOption = None,
    provider: ProviderOption = None,
    batch: Annotated[int | None, BATCH] = None,
    length: Annotated[int | None, LENGTH] = None,
    context: ContextOption = None,
    statistic: Annotated[StatisticName | None, STATISTIC] = None,
    preset: Annotated[
        Preset,
        typer.Option(
            help="How long to search: the supernet is trained for 400, 1,200 or 12,000 steps, winner and "
            "baselines for 120, 400 or 6,000. By default on two cores that is 4 or 8 minutes, or hours.",
            rich_help_panel="How",
        ),
    ] = Preset.standard,
    controller: Annotated[
        ControllerName,
        typer.Option(
            help="gumbel samples one path a step, darts mixes all options, random learns nothing.",
            rich_help_panel="How",
        ),
    ] = ControllerName.gumbel,
    schedule: Annotated[
        ScheduleName,
        typer.Option(
            help="staged trains the supernet fairly and then learns the architecture; joint alternates.",
            rich_help_panel="How",
        ),
    ] = ScheduleName.staged,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.", rich_help_panel="How")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of the run. Default: runs/1, runs/2, ...", rich_help_panel="How"),
    ] = None,
) -> None:
    """Search under a budget, train the winner, export it and measure it.

    [dim]nas search --latency-ms 4 --memory-mb 3 --preset quick --out runs/mine[/]
    [dim]nas search my_package.my_module:build_space --latency-ms 4[/]

    Prints target, predicted and measured, and where the ONNX file and the report are.
    """
    import nas
    import nas.places
    from hw_cost_models.device import load_device
    from nas import own_space
    from nas.settings import CONTEXT
    from nas.terminal import show_place
    from nas.workloads import workload_of
    from search_spaces.catalogue import lasting

    budget = nas.Budget(
        latency_ms=latency_ms,
        prefill_ms=prefill_ms,
        decode_ms=decode_ms,
        energy_mj=energy_mj,
        memory_mb=memory_mb,
        state_mb=state_mb,
        params_m=params_m,
    )
    where = nas.places.place(place.value) if place else None
    if where:
        device, batch = device or where.device, batch or where.batch
        budget = where.budget_with(budget, energy_known=load_device(device).energy is not None)
        statistic = statistic or StatisticName(where.statistic)
        show_place(console, where, budget)
    if context is not None and budget.kinds == ("forward",):
        raise typer.BadParameter("--context needs one of --prefill-ms, --decode-ms, --state-mb to be limited")
    if target and space != "hybrid-lm":
        raise typer.BadParameter(f"{target} beside --space {space}: which of the two?")
    name = target or space
    precisions = precisions_of(precision)
    built, task = own_space.space_and_task(name, data, length, precisions)
    path = out or _next_run()
    with bar() as shown:
        result = nas.search(
            built,
            task,
            path,
            budget=budget if budget.limits() else None,
            device=device or LOCAL,
            threads=threads,
            runtime=runtime.value if runtime else None,
            provider=provider,
            workload=workload_of(built, batch or 1, own_space.length_of(task, length)),
            context=context or CONTEXT,
            statistic=(statistic or StatisticName.p50).value,
            preset=preset.value,
            controller=controller.value,
            schedule=schedule.value,
            seed=seed,
            data=lasting(data),
            origin=name if own_space.is_own(name) else None,
            precisions=precisions,
            progress=shown,
        )
    close(result.summary, result.path)


@app.command()
def resume(run: RunArgument) -> None:
    """Go on with a search that was stopped, crashed or killed."""
    import nas

    opened = open_run(run)
    space, task = space_and_task(opened)
    with bar() as shown:
        result = nas.resume(run, space, task, progress=shown)
    close(result.summary, result.path)


@app.command()
def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="Where to write the ONNX file.")],
    weights_beside: Annotated[
        bool | None,
        typer.Option(
            "--weights-beside/--weights-inside",
            help="Whether weights go to a file of their own, F.onnx.data, from which they are mapped: a "
            "process then needs their memory once at its peak and not twice. Default: beside where the run's "
            "budget limits memory and they are 16 MB or more.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the winner's ONNX file again, checked against PyTorch.

    A language model leaves with its state: F-prefill.onnx and F-decode.onnx stand beside F.onnx.
    """
    from nas.after import export_again

    opened = open_run(run)
    for path, parity in export_again(opened, space_and_task(opened)[0], out, weights_beside).items():
        console.print(
            f"{path}   largest difference from PyTorch {parity.max_difference:.1e}",
            highlight=False,
            soft_wrap=True,
        )


@app.command()
def verify(run: RunArgument) -> None:
    """Measure the exported file on this machine: target, predicted, measured."""
    from nas.after import verify_again
    from nas.terminal import verdict_table

    opened = open_run(run)
    result = verify_again(opened, space_and_task(opened)[0])
    console.print(verdict_table(result))
    exit_with(result["verdict"])


@app.command()
def report(run: RunArgument, out: Annotated[Path, typer.Option(help="Where to write the page.")]) -> None:
    """Write the page of a run again; of an unfinished run, as far as it got."""
    from nas.outcome import write_report

    write_report(open_run(run), out)
    console.print(str(out), highlight=False)


def _next_run() -> Path:
    number = 1
    while (path := Path("runs") / str(number)).exists():
        number += 1
    return path


def main() -> None:
    """The entry point: one line and an exit code for every error that is understood."""
    try:
        code = app(standalone_mode=False)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        if message:  # none where the help was shown instead
            line = f"[red]error[/]  {escape(message)}"
            Console(stderr=True, emoji=False).print(line, highlight=False, soft_wrap=True)
    if code == _INTERRUPTED:
        Console(stderr=True).print("stopped; `nas resume RUN` goes on", highlight=False)
    sys.exit(code)


def _exit_code(error: Exception) -> int | None:
    """None for what is a defect, which keeps its traceback."""
    from hw_cost_models.errors import DeviceError, HardwareCostError, SubjectError
    from nas.errors import NasError
    from search_spaces.errors import SearchSpaceError

    if isinstance(error, NasError | typer.TyperException):
        return error.exit_code
    if isinstance(error, DeviceError | SearchSpaceError | SubjectError):
        return 2
    if isinstance(error, HardwareCostError | OSError):
        return 1
    return None
