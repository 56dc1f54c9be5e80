"""Every candidate that was measured, and every time a measurement corrected the cost table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.candidates import guard
from nas.report.contenders import strip
from nas.report.headline import VERDICTS, mark
from nas.report.markup import (
    Html,
    escape,
    join,
    metric_name,
    missing,
    note,
    number,
    paragraph,
    percent,
    quantity,
    section,
    table,
)

if TYPE_CHECKING:
    from nas.report.record import Json, RunRecord


def attempts(run: RunRecord, colours: dict[str, str]) -> Html:
    candidates = run.rows("candidates")
    if not candidates:
        return section(
            "attempts", "Candidates and corrections", missing("No candidate has been discretised yet.")
        )
    headings = (
        "attempt",
        "architecture",
        "found by",
        "shared-weight loss",
        "tuned loss",
        *_headings(run),
        "fits",
    )
    told = table(headings, (_candidate(run, c, colours) for c in candidates), "figures")
    return section("attempts", "Candidates and corrections", told, _corrections(run, colours))


def _metrics(run: RunRecord) -> list[str]:
    return list(run.budget) or ["latency_ms"]


def _headings(run: RunRecord) -> list[str]:
    return [f"{metric_name(key)}, {how}" for key in _metrics(run) for how in ("predicted", "measured")]


def _candidate(run: RunRecord, candidate: Json, colours: dict[str, str]) -> list[object]:
    predicted, measured = candidate.get("predicted") or {}, candidate.get("measured") or {}
    costs = [
        quantity(key, kind.get(key)) if key in kind else "–"
        for key in _metrics(run)
        for kind in (predicted, measured)
    ]
    architecture = candidate.get("architecture") or {}
    names = [strip(run, architecture, colours)]
    if architecture and architecture == run.architecture:
        names.append(Html(' <b class="tag">winner</b>'))
    return [
        number(candidate.get("attempt")),
        join(names),
        candidate.get("source", "–"),
        number(candidate.get("shared_loss"), 4),
        number(candidate.get("tuned_loss"), 4),
        *costs,
        _fits(candidate.get("fits")),
    ]


def _fits(fits: bool | None) -> Html:
    if fits is None:
        return Html('<span class="quiet">not measured</span>')
    verdict = VERDICTS["within" if fits else "over"]
    return Html(f'<span class="{verdict.style}">{mark(verdict, 16)} {"yes" if fits else "no"}</span>')


def _corrections(run: RunRecord, colours: dict[str, str]) -> Html:
    heading = Html("<h3>Corrections</h3>")
    repeated = (run.cost_table.get("calibration") or {}).get("repeatability") or 0.0
    corrections = run.rows("corrections")
    if not corrections:
        return join(
            [heading, paragraph("None: no measured candidate went over a limit that its prediction met.")]
        )
    return join(
        [
            heading,
            note(
                "A candidate measured over a limit raises the table's cost and is cut; then the solver tries "
                f"again. Of what is timed, a candidate has to stay {percent(guard(repeated))} below the "
                "limit, because the verdict comes from processes still to come; by how much they may differ "
                "was found with the cost table."
            ),
            table(
                ("attempt", "architecture", "cost", "predicted", "measured", "limit", "measured over limit"),
                (_correction(run, c, colours) for c in corrections),
                "figures",
            ),
        ]
    )


def _correction(run: RunRecord, correction: Json, colours: dict[str, str]) -> list[object]:
    key = str(correction.get("metric", ""))
    measured, limit = correction.get("measured"), correction.get("limit")
    over = measured / limit - 1 if measured is not None and limit else None
    return [
        number(correction.get("attempt")),
        strip(run, correction.get("architecture") or {}, colours),
        escape(metric_name(key)),
        quantity(key, correction.get("predicted"), 4),
        quantity(key, measured, 4),
        quantity(key, limit, 4),
        percent(over, signed=True),
    ]
