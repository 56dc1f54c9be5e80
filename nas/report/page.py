"""The page: sections in the order in which a reader asks for them, in one file that needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.report.agreement import agreement
from nas.report.attempts import attempts
from nas.report.baselines import baselines
from nas.report.costs import costs
from nas.report.details import details
from nas.report.diagram import winner
from nas.report.experts import experts
from nas.report.headline import headline, verdict_of
from nas.report.markup import Html, escape, join
from nas.report.palette import option_colours
from nas.report.plane import plane
from nas.report.plot import DRAW, library
from nas.report.precision import precision
from nas.report.probabilities import probabilities
from nas.report.protocol import protocol
from nas.report.style import STYLE
from nas.report.trajectory import trajectory
from nas.report.why import why

if TYPE_CHECKING:
    from nas.report.record import RunRecord

CONTENTS = {
    "verdict": "Verdict",
    "winner": "Winner",
    "why": "Why",
    "precision": "Precision",
    "plane": "Quality and latency",
    "trajectory": "Trajectory",
    "probabilities": "Probabilities",
    "experts": "Experts",
    "agreement": "Predicted and measured",
    "baselines": "Baselines",
    "attempts": "Candidates",
    "protocol": "Measurement",
    "costs": "Costs",
    "details": "To repeat it",
}

# The browser itself refuses every request that this page could make.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


def render(run: RunRecord) -> str:
    """The run as one self-contained HTML file, about 5 MB of which 4.8 are plotly.js.

    A record with parts missing gives a page that says which. KeyError or TypeError when a part is there but
    is not shaped as the run directory writes it.
    """
    colours = option_colours([*run.choices.values(), run.architecture.values()])
    sections = join(
        [
            headline(run),
            winner(run, colours),
            why(run),
            precision(run),
            plane(run),
            trajectory(run),
            probabilities(run, colours),
            experts(run),
            agreement(run),
            baselines(run, colours),
            attempts(run, colours),
            protocol(run),
            costs(run),
            details(run),
        ]
    )
    return _document(_title(run), sections)


def _title(run: RunRecord) -> Html:
    return escape(f"{run.result.get('space', 'Search')} · {verdict_of(run).title.lower()}")


def _document(title: Html, sections: Html) -> str:
    present = {anchor: name for anchor, name in CONTENTS.items() if f'id="{anchor}"' in sections}
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name in present.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{STYLE}</style>
<script>{library()}</script>
</head>
<body>
<header><h1>Architecture search report</h1><nav aria-label="Sections">{links}</nav></header>
<main>{sections}</main>
<script>{DRAW}</script>
</body>
</html>
"""
