"""Which blocks compute in integers, what that saves and costs there, and what it loses on test data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.report.contenders import contenders
from nas.report.markup import (
    ABSENT,
    Html,
    breakable,
    code,
    join,
    listed,
    note,
    number,
    paragraph,
    section,
    table,
)
from nas.report.option_costs import is_precision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nas.report.record import Json, RunRecord

FASTER = 0.97
"""Below this part of the time of floats integers are called faster: within it, either may be."""


@dataclass(frozen=True)
class Place:
    """A block of the winner that had a choice of precision."""

    path: str
    taken: str
    costs: dict[str, Json]
    """By precision."""

    @property
    def others(self) -> list[str]:
        return [name for name in self.costs if name != "fp32"]

    def faster(self, name: str) -> bool:
        """Whether it takes less time there than floats do."""
        return "fp32" in self.costs and self._ms(name) < FASTER * self._ms("fp32")

    def _ms(self, name: str) -> float:
        return float(self.costs[name].get("latency_ms") or 0.0)


def precision(run: RunRecord) -> Html:
    """Nothing for a space without a choice of precision."""
    if not any(map(is_precision, run.choices.values())):
        return Html("")
    places = _places(run)
    return section(
        "precision",
        "Precision",
        *(paragraph(told) for told in _told(places)),
        *([_costs(places)] if places else []),
        *([_losses(run)] if run.part("precision") else []),
    )


def _places(run: RunRecord) -> list[Place]:
    taken = run.architecture
    return [
        Place(path, taken[path], run.choices[path])
        for path in run.ordered(list(taken))
        if is_precision(run.choices.get(path) or {})
    ]


def _told(places: list[Place]) -> Iterable[Html]:
    """For each precision below floats, where it was taken for its speed, where not, and where it was left."""
    for name in dict.fromkeys(name for place in places for name in place.others):
        open_to = [place for place in places if name in place.costs]
        taken = [place for place in open_to if place.taken == name]
        quick = sum(place.faster(name) for place in taken)
        left = sum(place.faster(name) for place in open_to if place.taken != name)
        yield join(
            [
                code(name),
                f" was taken at {len(taken)} of {len(open_to)} places: at {quick} it takes less time than "
                f"floats there, at {len(taken) - quick} it does not, and stands for its bytes. It would be "
                f"faster at {left} of the places where it was not taken.",
            ]
        )


def _costs(places: list[Place]) -> Html:
    names = list(dict.fromkeys(name for place in places for name in place.costs))
    rows = [
        (
            breakable(place.path),
            *(_cell(place, name, "latency_ms", 1.0) for name in names),
            *(_cell(place, name, "weight_mb", 1e3) for name in names),
        )
        for place in places
    ]
    headings = ("", *(f"{name}, ms" for name in names), *(f"{name}, kB" for name in names))
    return join(
        [
            note(
                "What each block of the winner takes in each precision, from the cost table; strong: what "
                f"was taken. Faster is less than {number(100 * FASTER)} % of the time of floats."
            ),
            table(headings, rows, "figures"),
        ]
    )


def _cell(place: Place, name: str, key: str, factor: float) -> Html:
    figure = (place.costs.get(name) or {}).get(key)
    if figure is None:
        return Html(ABSENT)
    told = number(factor * figure)
    return Html(f"<strong>{told}</strong>" if place.taken == name else told)


def _losses(run: RunRecord) -> Html:
    """Every trained network by the same weights: in floats, with all in int8, and as it ships."""
    told, known = run.part("precision"), contenders(run)
    names = {key: known[key].name if key in known else key for key in told}
    metric = (run.part("task").get("metric")) or "metric"
    rows = [
        (names[key], *(number(told[key].get(form), 4) for form in ("fp32", "int8", "as_shipped")))
        for key in told
    ]
    return join(
        [
            note(
                f"On test data, {metric}, lower is better: {listed(list(names.values()))} by the weights "
                "each was trained to, in floats, with every layer in int8 that can be, and as each ships."
            ),
            table(("", "fp32", "int8", "as shipped"), rows, "figures"),
        ]
    )
