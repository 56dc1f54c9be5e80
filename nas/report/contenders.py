"""The networks that the page compares: the winner, and what was trained exactly as it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.report.markup import Html, escape
from nas.report.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, TEAL

if TYPE_CHECKING:
    from nas.report.record import Json, RunRecord


@dataclass(frozen=True)
class Role:
    """How one kind of network looks in every figure."""

    name: str
    colour: str
    symbol: str
    size: int = 13


ROLES = {
    "winner": Role("winner", BLUE, "star", 17),
    "best_random": Role("best random", ORANGE, "diamond"),
    "reference": Role("reference", TEAL, "hexagon"),
    "uniform": Role("uniform", GREEN, "square"),
    "largest": Role("largest", PURPLE, "triangle-up", 14),
}
RANDOM = Role("random", GREY, "circle", 7)
CANDIDATE = Role("candidate", BLUE, "circle-open", 10)


@dataclass(frozen=True)
class Contender:
    role: Role
    name: str
    architecture: dict[str, str]
    predicted: Json
    measured: Json
    shared_loss: float | None
    """Nats, with the supernet's weights. Never in one comparison with the figures below."""
    validation_loss: float | None
    test_loss: float | None
    test_metric: float | None
    test_error: float | None
    """Between 0 and 1; None for a task that knows no right and wrong."""


def contenders(run: RunRecord) -> dict[str, Contender]:
    """The winner and the baselines that are not one of many, those of them that the run has."""
    baselines = run.part("baselines")
    known = {key: baselines[key] for key in ROLES if baselines.get(key)}
    if run.architecture:
        winner = {key: run.result.get(key) for key in ("architecture", "predicted", "measured")}
        known = {"winner": winner | run.part("quality")} | known
    return {key: _contender(ROLES[key], data) for key, data in known.items()}


def _contender(role: Role, data: Json) -> Contender:
    return Contender(
        role,
        name=data.get("name") or role.name,
        architecture=data.get("architecture") or {},
        predicted=data.get("predicted") or {},
        measured=data.get("measured") or {},
        shared_loss=data.get("shared_loss"),
        validation_loss=data.get("validation_loss"),
        test_loss=data.get("test_loss"),
        test_metric=data.get("test_metric"),
        test_error=data.get("test_error"),
    )


def strip(run: RunRecord, architecture: dict[str, str], colours: dict[str, str]) -> Html:
    """An architecture as a row of coloured ticks, each naming its choice and option under the pointer."""
    paths = run.ordered(list(architecture))
    ticks = "".join(
        f'<i class="tick" style="background:{colours.get(architecture[path], GREY)}" '
        f'title="{escape(path)}: {escape(architecture[path])}"></i>'
        for path in paths
    )
    return Html(f'<span class="strip">{ticks}</span>')


def in_words(run: RunRecord, architecture: dict[str, str]) -> str:
    """`2 × linear_attention, skip, …`, the commonest option first."""
    taken = Counter(architecture[path] for path in run.ordered(list(architecture)))
    return ", ".join(
        f"{count}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{option}" if count > 1 else option
        for option, count in taken.most_common()
    )
