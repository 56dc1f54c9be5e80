"""The options of the command line that commands share, each with its help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


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
LatencyLimit = Annotated[
    float | None,
    typer.Option(
        help="Upper limit. Default, when no limit is given: half of the dearest architecture's.",
        rich_help_panel="Budget (limits hold together)",
    ),
]
PrefillLimit = Annotated[
    float | None,
    typer.Option(
        help="Time to the first token of a language model, after a prompt of --context tokens.",
        rich_help_panel="Budget (limits hold together)",
    ),
]
DecodeLimit = Annotated[
    float | None,
    typer.Option(
        help="Time per token of a language model, after --context tokens.",
        rich_help_panel="Budget (limits hold together)",
    ),
]
EnergyLimit = Annotated[
    float | None,
    typer.Option(
        help="Millijoules per inference, on devices whose profile tells them.",
        rich_help_panel="Budget (limits hold together)",
    ),
]
MemoryLimit = Annotated[
    float | None,
    typer.Option(
        help="Weights plus the runtime's peak arena, in 10^6 bytes.",
        rich_help_panel="Budget (limits hold together)",
    ),
]
StateLimit = Annotated[
    float | None,
    typer.Option(
        help="What a language model keeps of --context tokens: key-value cache, recurrent state.",
        rich_help_panel="Budget (limits hold together)",
    ),
]
ParametersLimit = Annotated[
    float | None,
    typer.Option(
        help="Non-zero parameters, in millions.",
        rich_help_panel="Budget (limits hold together)",
    ),
]
