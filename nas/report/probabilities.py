"""What the controller came to prefer: every option's probability over time, one small figure a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.report.markup import Html, escape, join, missing, note, panel, panels, section, swatch
from nas.report.palette import GREY
from nas.report.plot import bands
from nas.report.series import thin

if TYPE_CHECKING:
    from nas.report.record import Json, RunRecord


def probabilities(run: RunRecord, colours: dict[str, str]) -> Html:
    lines = [entry for entry in run.trajectory if entry.get("probabilities")]
    if not lines:
        told = "No option probabilities were recorded: the controller has not run, or it learns none."
        return section("probabilities", "Option probabilities", missing(told))
    known = dict.fromkeys(path for entry in lines for path in entry["probabilities"])
    paths = run.ordered([path for path in known if _reached(run, path)])
    return section(
        "probabilities",
        "Option probabilities",
        note(
            "The height of a band is the probability of its option. The option named is the one the winner "
            "took: discretisation may overrule the likeliest."
        ),
        legend(run, paths, colours),
        panels(*(panel(_title(run, path), _bands(run, path, lines, colours)) for path in paths), width=240),
    )


def _reached(run: RunRecord, path: str) -> bool:
    """Not what is nested in an option that the winner did not take: there may be hundreds."""
    nested = (run.cost_table.get("nesting") or {}).get(path)
    return not nested or not run.architecture or path in run.architecture


def legend(run: RunRecord, paths: list[str], colours: dict[str, str]) -> Html:
    names = dict.fromkeys(option for path in paths for option in run.choices.get(path, {}))
    entries = "".join(f"<li>{swatch(colours.get(name, GREY))}{escape(name)}</li>" for name in names)
    return Html(f'<ul class="legend">{entries}</ul>')


def _title(run: RunRecord, path: str) -> Html:
    taken = run.architecture.get(path)
    chosen = Html(f'<br><span class="quiet">{escape(taken)}</span>') if taken else Html("")
    return join([path, chosen])


def _bands(run: RunRecord, path: str, lines: list[Json], colours: dict[str, str]) -> Html:
    own = thin([entry for entry in lines if path in entry["probabilities"]])
    steps = [entry.get("step", index) for index, entry in enumerate(own)]
    count = max(len(entry["probabilities"][path]) for entry in own)
    names = list(run.choices.get(path, {})) or [f"option {index}" for index in range(count)]
    heights = {
        name: [entry["probabilities"][path][index] for entry in own] for index, name in enumerate(names)
    }
    return bands(steps, heights, colours)
