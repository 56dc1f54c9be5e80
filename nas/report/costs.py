"""The cost table as heat: what each option takes in each place."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from nas.report.headline import workload
from nas.report.markup import (
    Html,
    breakable,
    escape,
    metric_name,
    missing,
    note,
    number,
    quantity,
    section,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nas.report.record import Json, RunRecord

LATENCY = "latency_ms"

Group = dict[tuple[float | None, ...], list[str]]
"""Latencies of one row, in the order of the options → the choices that have exactly these."""


def costs(run: RunRecord) -> Html:
    if not run.choices:
        return section("costs", "Cost table", missing("No cost table has been built yet."))
    beside = (run.cost_table.get("beside") or {}).values()
    tables = [run, *(replace(run, cost_table=table) for table in beside)]
    return section("costs", "Cost table", *(part for one in tables for part in _one_workload(one)))


def _one_workload(run: RunRecord) -> Iterator[Html]:
    """The heat of one table of the run."""
    groups: dict[tuple[str, ...], Group] = {}
    for path in run.ordered(list(run.choices)):
        options = run.choices[path]
        row = tuple(options[name].get(LATENCY) for name in options)
        groups.setdefault(tuple(options), {}).setdefault(row, []).append(path)
    figures = [value for group in groups.values() for row in group for value in row if value is not None]
    yield note(
        f"Latency in ms of one option in one place{_conditions(run)}; the stronger the tint, the dearer. "
        "Places with equal costs share a row. Outlined: what the winner took, and how often. "
        "Point at a cell for its other costs."
    )
    for names, group in groups.items():
        yield _heat(run, names, group, max(figures, default=0.0))
    yield _fixed(run.cost_table.get("fixed"))


def _conditions(run: RunRecord) -> str:
    told = workload(run.cost_table.get("workload") or {})
    return f" ({told})" if told else ""


def _heat(run: RunRecord, options: tuple[str, ...], group: Group, dearest: float) -> Html:
    rows = []
    for row, paths in group.items():
        taken = Counter(run.architecture.get(path) for path in paths)
        cells = [
            _cell(run.choices[paths[0]][option], value, dearest, taken[option])
            for option, value in zip(options, row, strict=True)
        ]
        rows.append([_places(paths), *cells])
    return table(("", *map(breakable, options)), rows, "heat")


def _places(paths: list[str]) -> Html:
    rest = f' <span class="quiet">and {len(paths) - 1} more</span>' if len(paths) > 1 else ""
    return Html(f'<span title="{escape(", ".join(paths))}">{escape(paths[0])}{rest}</span>')


def _cell(cost: Json, value: float | None, dearest: float, taken: int) -> Html:
    heat = 0.0 if value is None or dearest <= 0 else max(0.0, value / dearest)
    often = f"<sup>×{taken}</sup>" if taken else ""
    return Html(
        f'<div class="cell{" taken" if taken else ""}" style="--heat:{heat:.3f}" '
        f'title="{escape(_all_costs(cost))}">{number(value)}{often}</div>'
    )


def _fixed(fixed: Json | None) -> Html:
    if not fixed:
        return missing("The table does not say what the rest of the network costs.")
    return note("The rest of the network, which holds no choice: ", _all_costs(fixed), ".")


def _all_costs(cost: Json) -> str:
    return ", ".join(f"{metric_name(key)} {quantity(key, figure)}" for key, figure in cost.items())
