"""The options of the command line that commands share, each with its help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

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


class PlaceName(StrEnum):
    edge = "edge"
    server = "server"
    research = "research"


class RuntimeName(StrEnum):
    """Those that run exported files."""

    onnxruntime = "onnxruntime"
    openvino = "openvino"


class StatisticName(StrEnum):
    p50 = "p50"
    p95 = "p95"


SpaceOption = Annotated[
    str,
    typer.Option(
        "--space",
        help="What the network could be: [bold]hybrid-lm[/], a language model, [bold]encoder[/], a "
        "classifier of texts, [bold]mobile-vision[/], a classifier of images, or [bold]my_module:build[/], a "
        "function of yours.",
        rich_help_panel="What",
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="LIST",
        help="Let every block choose its precision, as in [bold]fp32,int8,int4[/]: int8 by QDQ, int4 by "
        "MatMulNBits. Fewer bits are fewer bytes, and faster only where the measured table says so.",
        rich_help_panel="What",
    ),
]


def precisions_of(given: str | None) -> tuple[str, ...]:
    """Those of a PrecisionOption; none where it is not given."""
    return () if given is None else tuple(name.strip() for name in given.split(","))


LOCAL = "local"
_BUDGET = "Budget (limits hold together)"
DEVICE = typer.Option(
    "--device",
    help="What it runs on: [bold]local[/], the default, is measured here; other profiles are priced by "
    "roofline, the latency.json of a measuring kit by what a board measured. See [bold]nas devices[/] and "
    "[bold]nas kit[/].",
    rich_help_panel="Where",
    show_default=False,
)
DeviceOption = Annotated[str, DEVICE]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of the runtime.", rich_help_panel="Where")
]
RuntimeOption = Annotated[
    RuntimeName | None,
    typer.Option(
        "--runtime",
        help="What runs the exported file on this machine. Default: onnxruntime.",
        rich_help_panel="Where",
    ),
]
ProviderOption = Annotated[
    str | None,
    typer.Option(
        "--provider",
        help="What the runtime runs on, by its own name: CUDAExecutionProvider, GPU. Default: its CPU.",
        rich_help_panel="Where",
    ),
]
BATCH = typer.Option(
    "--batch", min=1, help="Batch of what is priced. Default: 1.", rich_help_panel="Where", show_default=False
)
BatchOption = Annotated[int, BATCH]
LENGTH = typer.Option(
    "--length",
    min=1,
    help="Length of sequences, or of the sides of images in pixels, priced and trained. Default: that of the "
    "images, else 256, and 512 for generated tasks and encoders.",
    rich_help_panel="Where",
    show_default=False,
)
LengthOption = Annotated[
    int | None,
    typer.Option(
        "--length",
        min=1,
        help="Length of sequences, or of the sides of images in pixels, that is priced. Default: 256, and 28 "
        "for images.",
        rich_help_panel="Where",
        show_default=False,
    ),
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
STATISTIC = typer.Option(
    "--statistic",
    help="Of the latency: p50, the default, or p95 for real-time use.",
    rich_help_panel="Where",
    show_default=False,
)
StatisticOption = Annotated[StatisticName, STATISTIC]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _limit(explained: str) -> Any:
    return typer.Option(help=explained, rich_help_panel=_BUDGET)


LatencyLimit = Annotated[
    float | None,
    _limit("Upper limit. Default, when no limit is given: half of the dearest architecture's."),
]
PrefillLimit = Annotated[
    float | None,
    _limit("Time to the first token of a language model, after a prompt of --context tokens."),
]
DecodeLimit = Annotated[
    float | None,
    _limit("Time per token of a language model, after --context tokens."),
]
EnergyLimit = Annotated[
    float | None,
    _limit("Millijoules per inference, on devices whose profile tells them."),
]
MemoryLimit = Annotated[
    float | None,
    _limit("Weights plus the runtime's peak arena, in 10^6 bytes."),
]
StateLimit = Annotated[
    float | None,
    _limit("What a language model keeps of --context tokens: key-value cache, recurrent state."),
]
ParametersLimit = Annotated[
    float | None,
    _limit("Non-zero parameters, in millions."),
]
PlaceOption = Annotated[
    PlaceName | None,
    typer.Option(
        "--for",
        help="What is limited there, and on which device: limits, device, batch and statistic to start from. "
        "Your own come first.",
        rich_help_panel=_BUDGET,
    ),
]
