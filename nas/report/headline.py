"""What was asked, what was found, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hw_cost_models.cost import Workload
from nas.report.markup import (
    ABSENT,
    Html,
    escape,
    join,
    listed,
    metric_name,
    metric_unit,
    missing,
    number,
    percent,
    quantity,
    table,
)

if TYPE_CHECKING:
    from nas.report.record import Json, RunRecord


@dataclass(frozen=True)
class Verdict:
    title: str
    style: str
    mark: str
    """An SVG path in a box of 24: the verdict is never told by colour alone."""
    meaning: str


VERDICTS = {
    "within": Verdict(
        "Within budget", "good", "M6 12.5l4 4 8-9", "Every fresh process measured it at or under every limit."
    ),
    "over": Verdict(
        "Over budget", "bad", "M7 7l10 10M17 7L7 17", "At least one limit was measured as exceeded."
    ),
    "undecided": Verdict(
        "Undecided",
        "unsure",
        "M9 9.5a3 3 0 1 1 4.2 2.7c-.8.4-1.2 1-1.2 1.8M12 17.2v.1",
        "The machine drifted too far during verification for a verdict.",
    ),
    "predicted, not verified": Verdict(
        "Predicted, not verified",
        "unsure",
        "M5.5 10.5c2-2 4-2 6.500 0s4.500 2 6.500 0M5.500 15c2-2 4-2 6.500 0s4.500 2 6.500 0",
        "The device is not here, so nothing was measured on it.",
    ),
}
UNFINISHED = Verdict("Unfinished", "none", "M7 12h.1M12 12h.1M17 12h.1", "This run has no verdict yet.")


def verdict_of(run: RunRecord) -> Verdict:
    return VERDICTS.get(str(run.result.get("verdict")), UNFINISHED)


def headline(run: RunRecord) -> Html:
    verdict = verdict_of(run)
    return Html(
        f'<section id="verdict" class="{verdict.style}"><div class="hero">{mark(verdict, 44)}'
        f"<div><h2>{escape(verdict.title)}</h2><p>{asked(run)} {found(run)} {verdict.meaning}</p></div></div>"
        f"{verdict_table(run)}</section>"
    )


def mark(verdict: Verdict, size: int) -> Html:
    return Html(
        f'<svg class="mark {verdict.style}" width="{size}" height="{size}" viewBox="0 0 24 24" '
        'aria-hidden="true">'
        f'<circle cx="12" cy="12" r="11"/><path d="{verdict.mark}"/></svg>'
    )


def asked(run: RunRecord) -> Html:
    """One sentence: the space, the limits, and what they are limits on."""
    limits = [f"{metric_name(key)} of at most {quantity(key, limit)}" for key, limit in run.budget.items()]
    wish = listed(limits) if limits else "no limit that this record names"
    device = run.part("device")
    where = [
        run.result.get("statistic"),
        device.get("name"),
        _threads(device.get("threads")),
        workload(run.part("workload")),
    ]
    conditions = ", ".join(str(part) for part in where if part)
    space = run.result.get("space", "")
    return join(["Asked for a ", space, " network with ", wish, f" ({conditions})." if conditions else "."])


def found(run: RunRecord) -> str:
    """One sentence: the winner's cost under each limit, measured where it was measured."""
    measured, predicted = run.part("measured"), run.part("predicted")
    figures, how = (measured, "measures") if measured else (predicted, "is predicted at")
    told = [
        f"{quantity(key, figures[key])} {metric_name(key)}" for key in run.budget or figures if key in figures
    ]
    return (
        f"The network found {how} {listed(told)}.{_unused(run)}" if told else "No network has been found yet."
    )


def _unused(run: RunRecord) -> str:
    """Why much of a limit is left, where it is: what the networks that fill it are worth."""
    filling = run.part("use").get("filling")
    if not filling:
        return ""
    theirs, own = filling.get("shared_loss"), filling.get("winner_shared_loss")
    return (
        f" It uses {percent(run.part('use').get('fraction'))} of its fullest limit: of the "
        f"{filling.get('architectures')} networks tried that fill it, the best reaches "
        f"{number(theirs, 4)} nats in shared weights, this one {number(own, 4)}."
    )


def workload(parts: Json) -> str:
    """`forward, batch 1, length 256`, or `forward, batch 1, 28 x 28 pixels`."""
    return str(Workload(**parts)) if parts else ""


def _threads(count: object) -> str:
    return "" if count is None else f"{count} thread{'' if count == 1 else 's'}"


def verdict_table(run: RunRecord) -> Html:
    columns = (run.budget, run.part("predicted"), run.part("measured"))
    rows = [
        (
            join([metric_name(key), Html(' <span class="unit">'), metric_unit(key), Html("</span>")]),
            *(number(figures.get(key), 4 if key in run.budget else 3) for figures in columns),
            _limit_verdict(run, key),
        )
        for key in dict.fromkeys(key for figures in columns for key in figures)
    ]
    beside = (("resident_mb", "whole process, resident"), ("file_mb", "file on disk"))
    for key, name in beside:
        if key in run.part("verification"):
            heading = Html(f'{name} <span class="unit">MB</span>')
            rows.append((heading, ABSENT, ABSENT, number(run.part("verification")[key]), Html("")))
    if not rows:
        return missing("This record has neither a limit nor a figure yet.")
    return table(("", "target", "predicted", "measured", "verdict"), rows, "figures verdicts")


def _limit_verdict(run: RunRecord, key: str) -> Html:
    """This limit's own verdict; where verification names none, the measurement against the limit."""
    if key not in run.budget:
        return Html('<span class="quiet">no limit</span>')
    said = (run.part("verification").get("verdicts") or {}).get(key)
    value = run.part("measured").get(key)
    if said is None and value is not None:
        said = "within" if value <= run.budget[key] else "over"
    if said is None:
        said = run.result.get("verdict")
    verdict = VERDICTS.get(str(said), UNFINISHED)
    return Html(f'<span class="{verdict.style}">{mark(verdict, 16)} {escape(said or "not yet")}</span>')
