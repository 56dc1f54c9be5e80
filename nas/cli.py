"""The command line. Everything heavy is imported inside the commands: `nas --help` must be instant."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nas.run import Run
    from search_spaces import SearchSpace, Task

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Architecture search that ends in an ONNX file [bold]measured[/] to fit its budget.

    Start with [bold]nas search[/]: every option has a default.""",
    epilog="Exit codes: 0 done, 2 bad input, 3 infeasible budget, 4 verification failed, 1 anything else.",
)
console = Console()

_INTERRUPTED = 130
"""What Ctrl-C ends a command with."""


class Preset(StrEnum):
    quick = "quick"
    standard = "standard"
    thorough = "thorough"


class ControllerName(StrEnum):
    gumbel = "gumbel"
    darts = "darts"
    random = "random"


class ScheduleName(StrEnum):
    staged = "staged"
    joint = "joint"


class KindName(StrEnum):
    forward = "forward"
    prefill = "prefill"
    decode = "decode"


class StatisticName(StrEnum):
    p50 = "p50"
    p95 = "p95"


SpaceOption = Annotated[
    str, typer.Option("--space", help="What the network could be.", rich_help_panel="What")
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        help="What it runs on: [bold]local[/] is measured here, other profiles are priced by roofline and "
        "end as predicted, not verified. See [bold]nas devices[/].",
        rich_help_panel="Where",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of the runtime.", rich_help_panel="Where")
]
BatchOption = Annotated[
    int, typer.Option("--batch", min=1, help="Batch of the forward that is priced.", rich_help_panel="Where")
]
LengthOption = Annotated[
    int, typer.Option("--length", min=1, help="Sequence length, priced and trained.", rich_help_panel="Where")
]
ContextOption = Annotated[
    int | None,
    typer.Option(
        "--context",
        min=1,
        help="Tokens of the prompt that is prefilled, or before the one that is decoded. Default: 1024.",
        rich_help_panel="Where",
    ),
]
StatisticOption = Annotated[
    StatisticName,
    typer.Option("--statistic", help="Of the latency: p95 for real-time use.", rich_help_panel="Where"),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def search(
    space: SpaceOption = "hybrid-lm",
    data: Annotated[
        Path | None,
        typer.Option(
            help="A text file or a folder of text files. Default: the Python standard library's sources.",
            rich_help_panel="What",
        ),
    ] = None,
    latency_ms: Annotated[
        float | None,
        typer.Option(
            help="Upper limit. Default, when no limit is given: half of the dearest architecture's.",
            rich_help_panel="Budget (limits hold together)",
        ),
    ] = None,
    prefill_ms: Annotated[
        float | None,
        typer.Option(
            help="Time to the first token of a language model, after a prompt of --context tokens.",
            rich_help_panel="Budget (limits hold together)",
        ),
    ] = None,
    decode_ms: Annotated[
        float | None,
        typer.Option(
            help="Time per token of a language model, after --context tokens.",
            rich_help_panel="Budget (limits hold together)",
        ),
    ] = None,
    energy_mj: Annotated[
        float | None,
        typer.Option(
            help="Millijoules per inference, on devices whose profile tells them.",
            rich_help_panel="Budget (limits hold together)",
        ),
    ] = None,
    memory_mb: Annotated[
        float | None,
        typer.Option(
            help="Weights plus the runtime's peak arena, in 10^6 bytes.",
            rich_help_panel="Budget (limits hold together)",
        ),
    ] = None,
    state_mb: Annotated[
        float | None,
        typer.Option(
            help="What a language model keeps of --context tokens: key-value cache, recurrent state.",
            rich_help_panel="Budget (limits hold together)",
        ),
    ] = None,
    params_m: Annotated[
        float | None,
        typer.Option(
            help="Non-zero parameters, in millions.", rich_help_panel="Budget (limits hold together)"
        ),
    ] = None,
    device: DeviceOption = "local",
    threads: ThreadsOption = None,
    batch: BatchOption = 1,
    length: LengthOption = 256,
    context: ContextOption = None,
    statistic: StatisticOption = StatisticName.p50,
    preset: Annotated[
        Preset, typer.Option(help="How long to search.", rich_help_panel="How")
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

    Prints target, predicted and measured, and where the ONNX file and the report are.
    """
    import nas
    from hw_cost_models.cost import Workload
    from nas.settings import CONTEXT

    budget = nas.Budget(
        latency_ms=latency_ms,
        prefill_ms=prefill_ms,
        decode_ms=decode_ms,
        energy_mj=energy_mj,
        memory_mb=memory_mb,
        state_mb=state_mb,
        params_m=params_m,
    )
    if context is not None and budget.kinds == ("forward",):
        raise typer.BadParameter("--context needs one of --prefill-ms, --decode-ms, --state-mb to be limited")
    built, task = _space(space), _task(data, length)
    path = out or _next_run()
    with _bar() as bar:
        result = nas.search(
            built,
            task,
            path,
            budget=budget if budget.limits() else None,
            device=device,
            threads=threads,
            workload=Workload(batch=batch, length=length),
            context=context or CONTEXT,
            statistic=statistic.value,
            preset=preset.value,
            controller=controller.value,
            schedule=schedule.value,
            seed=seed,
            data=None if data is None else str(data.resolve()),
            progress=bar,
        )
    _close(result.summary, result.path)


@app.command()
def resume(run: RunArgument) -> None:
    """Go on with a search that was stopped, crashed or killed."""
    import nas

    opened = _open(run)
    space, task = _space_and_task(opened)
    with _bar() as bar:
        result = nas.resume(run, space, task, progress=bar)
    _close(result.summary, result.path)


@app.command()
def export(
    run: RunArgument, out: Annotated[Path, typer.Option(help="Where to write the ONNX file.")]
) -> None:
    """Write the winner's ONNX file again, checked against PyTorch."""
    from nas.after import export_again

    opened = _open(run)
    parity = export_again(opened, _space_and_task(opened)[0], out)
    console.print(f"{out}   largest difference from PyTorch {parity.max_difference:.1e}", highlight=False)


@app.command()
def verify(run: RunArgument) -> None:
    """Measure the exported file on this machine: target, predicted, measured."""
    from nas.after import verify_again
    from nas.terminal import verdict_table

    opened = _open(run)
    result = verify_again(opened, _space_and_task(opened)[0])
    console.print(verdict_table(result))
    _exit_with(result["verdict"])


@app.command()
def report(run: RunArgument, out: Annotated[Path, typer.Option(help="Where to write the page.")]) -> None:
    """Write the page of a run again; of an unfinished run, as far as it got."""
    from nas.outcome import write_report

    write_report(_open(run), out)
    console.print(str(out), highlight=False)


@app.command()
def cost(
    space: SpaceOption = "hybrid-lm",
    device: DeviceOption = "local",
    threads: ThreadsOption = None,
    batch: BatchOption = 1,
    length: LengthOption = 256,
    kind: Annotated[
        KindName,
        typer.Option(
            help="forward and prefill take --length tokens, decode takes one after --length.",
            rich_help_panel="Where",
        ),
    ] = KindName.forward,
    statistic: StatisticOption = StatisticName.p50,
    as_json: JsonOption = False,
) -> None:
    """Price every option of a space on a device, without any training."""
    from hw_cost_models.cost import Workload
    from hw_cost_models.device import load_device
    from nas.pricing import assembly_of, price_on
    from nas.settings import PRESETS
    from nas.terminal import Bar, cost_table

    profile = load_device(device)
    profile = profile.with_threads(threads or profile.threads)
    workload = Workload(batch, length, kind.value)
    with Bar(Console(stderr=True)) as bar:
        bar.plan(1)
        bar.phase("pricing every option")
        table, _ = price_on(
            profile,
            assembly_of(_space(space), workload),
            statistic.value,
            PRESETS["standard"].rounds,
            bar,
        )
    if as_json:
        sys.stdout.write(json.dumps(table.to_dict(), indent=1) + "\n")
    else:
        console.print(cost_table(table))


@app.command()
def devices(as_json: JsonOption = False) -> None:
    """List the device profiles, each figure with its source."""
    from hw_cost_models.device import device_names, load_device
    from nas.terminal import device_table

    profiles = [load_device(name) for name in device_names()]
    if as_json:
        sys.stdout.write(json.dumps([p.model_dump(exclude_none=True) for p in profiles], indent=1) + "\n")
    else:
        console.print(device_table(profiles))


def _space(name: str) -> SearchSpace:
    from nas.errors import BadInputError
    from search_spaces.catalogue import SPACES

    if name not in SPACES:
        raise BadInputError(f"no space {name!r}; the spaces are {', '.join(SPACES)}")
    return SPACES[name]()


def _task(data: Path | None, length: int) -> Task:
    from search_spaces import ByteText

    return ByteText(data, length)


def _open(path: Path) -> Run:
    from nas.run import Run

    return Run.open(
        path, lambda message: console.print(f"[yellow]note[/]  {escape(message)}", highlight=False)
    )


def _space_and_task(run: Run) -> tuple[SearchSpace, Task]:
    data = run.config["data"]
    return _space(run.config["space"]), _task(data and Path(data), run.config["workload"]["length"])


def _next_run() -> Path:
    number = 1
    while (path := Path("runs") / str(number)).exists():
        number += 1
    return path


@contextmanager
def _bar() -> Iterator[Any]:
    from nas.terminal import Bar

    with Bar(console) as bar:
        yield bar


def _close(summary: dict[str, Any], path: Path) -> None:
    from nas.terminal import show

    show(console, summary, path)
    _exit_with(summary["verdict"])


def _exit_with(verdict: str) -> None:
    """A budget that was not shown to hold is a failure, for whoever calls this from a script."""
    if verdict in ("over", "undecided"):
        raise typer.Exit(4)


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
            Console(stderr=True).print(line, highlight=False, soft_wrap=True)
    if code == _INTERRUPTED:
        Console(stderr=True).print("stopped; `nas resume RUN` goes on", highlight=False)
    sys.exit(code)


def _exit_code(error: Exception) -> int | None:
    """None for what is a defect, which keeps its traceback."""
    from hw_cost_models.errors import DeviceError, HardwareCostError
    from nas.errors import NasError
    from search_spaces.errors import SearchSpaceError

    if isinstance(error, NasError | typer.TyperException):
        return error.exit_code
    if isinstance(error, DeviceError | SearchSpaceError):
        return 2
    if isinstance(error, HardwareCostError | OSError):
        return 1
    return None
