"""Configuration, seeds, timings and versions: what is needed to repeat the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nas.report.markup import Html, escape, join, missing, number, section, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nas.report.record import Json, RunRecord


def details(run: RunRecord) -> Html:
    timings = {name: f"{number(seconds)} s" for name, seconds in run.part("timings").items()}
    chosen: Json = {
        key: run.result[key] for key in ("preset", "seed", "controller", "schedule") if key in run.result
    }
    blocks = (
        ("Search", chosen),
        ("Configuration", run.config),
        ("Task", run.part("task")),
        ("Device", run.part("device")),
        ("Architecture", {path: run.architecture[path] for path in run.ordered(list(run.architecture))}),
        ("Timings", timings | _total(run.part("timings"))),
        ("Versions", run.part("versions")),
    )
    return section("details", "To repeat it", *(_block(title, content) for title, content in blocks))


def _total(timings: Mapping[str, float]) -> dict[str, str]:
    return {"all phases": f"{number(sum(timings.values()))} s"} if timings else {}


def _block(title: str, content: Mapping[str, object]) -> Html:
    told = (
        table(("", ""), ((key, _plain(value)) for key, value in content.items()), "plain")
        if content
        else missing("Not in this record.")
    )
    return join([Html(f"<details><summary>{escape(title)}</summary>"), told, Html("</details>")])


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
