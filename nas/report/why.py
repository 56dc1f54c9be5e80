"""Why the winner is what it is, in costs: what each option would take of each limit, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hw_cost_models.cost import Workload
from nas.budget import metric
from nas.report.arithmetic import against_arithmetic
from nas.report.markup import (
    ABSENT,
    Html,
    breakable,
    code,
    join,
    listed,
    missing,
    note,
    number,
    paragraph,
    percent,
    quantity,
    section,
    table,
)
from nas.report.option_costs import groups, latency, limited, limits, qualities, reference_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nas.report.option_costs import Costs, Figure, Group
    from nas.report.record import RunRecord

BINDS = 0.9
"""From this fraction of a limit on, the page says that it binds: a winner stays a margin below."""


def why(run: RunRecord) -> Html:
    figures = limited(run)
    if not figures:
        told = "No limit stands beside a cost table yet, so costs explain nothing."
        return section("why", "Why, in costs", missing(told))
    timed = [figure for figure in figures if figure.metric.timed] or [latency(run)]
    kinds = groups(run)
    return section(
        "why",
        "Why, in costs",
        *map(paragraph, _explanations(run, figures, kinds)),
        *(paragraph(against_arithmetic(figure, kinds)) for figure in timed),
        note(
            "Cost of one option at one place, as a share of each limit: the mean over all places of the "
            "same options. Memory is all weights and, once, the largest activations of any part. Fitted "
            "quality is in nats of shared-weight loss: how much better than the mean of the options there. "
            f"A limit is said to bind from {percent(BINDS)} of use on. Dear or cheap for its arithmetic is "
            "an option whose share of the time is more than twice or less than half its share of the FLOPs; "
            "shares and ranks are among all options of the same choices."
        ),
        *(_options(run, figures, group) for group in kinds),
    )


def _explanations(run: RunRecord, figures: list[Figure], kinds: list[Group]) -> Iterator[Html]:
    use = _use(run)
    if use:
        yield binding(use)
    for name in _decisive(use) or list(limits(run))[:1]:
        parts = [figure for figure in figures if figure.metric.name == name]
        for group in kinds:
            if parts:
                part = max(parts, key=lambda figure: max(figure.costs(group).values(), default=0.0))
                told = compared(run, part, group)
                yield from [told] if told else []


def _use(run: RunRecord) -> dict[str, float]:
    """The fraction of each limit that the winner takes, measured where it was measured."""
    figures = run.part("measured") or run.part("predicted")
    return {name: figures[name] / limit for name, limit in limits(run).items() if name in figures}


def _decisive(use: Mapping[str, float]) -> list[str]:
    """The limits that bind, or else the fullest."""
    return [name for name in use if use[name] >= BINDS] or sorted(use, key=use.__getitem__)[-1:]


def binding(use: Mapping[str, float]) -> Html:
    """Which limits bind, by the fraction of each that the winner takes."""
    told = {name: f"{metric(name).title} ({percent(share)} used)" for name, share in use.items()}
    tight = [told[name] for name in use if use[name] >= BINDS]
    loose = [told[name] for name in use if use[name] < BINDS]
    if not tight:
        return Html(f"No limit binds: {listed(loose)}.")
    bound = f"The limit on {tight[0]} binds" if len(tight) == 1 else f"The limits on {listed(tight)} bind"
    free = f"; {listed(loose)} {'does' if len(loose) == 1 else 'do'} not" if loose else ""
    return Html(f"{bound}{free}.")


def compared(run: RunRecord, figure: Figure, group: Group) -> Html | None:
    """What the winner takes most there beside the reference's option, or else the dearest.

    None where fewer than two options do work and cost anything.
    """
    work = figure.flops(group)
    costs = {option: cost for option, cost in figure.costs(group).items() if cost > 0 and work[option] > 0}
    if len(costs) < 2:
        return None
    limit, taken = limits(run)[figure.metric.name], group.taken(run.architecture)
    dear, cheap = sorted(_pair(costs, reference_option(run, group), taken), key=costs.__getitem__)[::-1]
    return join(
        [
            f"{_where(figure)}, ",
            code(dear),
            f" takes {number(costs[dear] / costs[cheap], 2)} times the {figure.of} of ",
            code(cheap),
            f": {_share(costs[dear] / limit)} of the limit at each place, against "
            f"{_share(costs[cheap] / limit)}.",
            _worth(qualities(run, group), dear, cheap),
            _takes(group, taken, dear, cheap),
        ]
    )


def _pair(costs: Costs, reference: str | None, taken: Mapping[str, int]) -> set[str]:
    """What stands for the winner, and what for the others; two different options."""
    own = max(costs, key=lambda option: (taken.get(option, 0), -costs[option]))
    dearest, cheapest = max(costs, key=costs.__getitem__), min(costs, key=costs.__getitem__)
    others = (option for option in (reference, dearest, cheapest) if option in costs and option != own)
    return {own, str(next(others))}


def _where(figure: Figure) -> str:
    workload, device = Workload(**figure.table.get("workload") or {}), figure.table.get("device")
    length, batch = number(workload.length), workload.batch
    per = {
        "forward": f"In a forward of {workload.size}",
        "prefill": f"For a prompt of {length} tokens",
        "decode": f"For one token after {length} tokens",
    }[figure.metric.kind]
    return per + (f", {batch} at a time," if batch != 1 else "") + (f" on {device}" if device else "")


def _worth(quality: Costs, dear: str, cheap: str) -> Html:
    if not quality:
        return Html("")
    gain = quality[dear] - quality[cheap]
    than = f" is {abs(gain):.4f} nats {'better' if gain >= 0 else 'worse'}."
    return join([" By fitted quality ", code(dear), than])


def _takes(group: Group, taken: Mapping[str, int], dear: str, cheap: str) -> Html:
    """How often the winner has either, and what it has most where that is neither."""
    if not taken:
        return Html("")
    favourite = max(taken, key=taken.__getitem__)
    told = list(dict.fromkeys((dear, cheap, favourite)))
    often = [Html(f"{code(o)} {_times(taken.get(o, 0), len(group.paths))}") for o in told]
    return join([" The winner takes ", Html(listed(often)), "."])


def _times(count: int, places: int) -> str:
    return f"at {count} of {places} place{'s' if places > 1 else ''}" if count else "nowhere"


def _share(fraction: float) -> str:
    """With two digits, however small: a weight may be a thousandth of what memory there is."""
    return f"{number(100 * fraction, 2)} %"


def _options(run: RunRecord, figures: list[Figure], group: Group) -> Html:
    """One row an option; a figure that is zero for all of them has no column."""
    reference, quality = reference_option(run, group), qualities(run, group)
    columns = [
        _Column(figure, limits(run)[figure.metric.name], costs, reference)
        for figure in figures
        if any((costs := figure.costs(group)).values())
    ]
    taken, places = group.taken(run.architecture), len(group.paths)
    rows = [
        (
            _named(option, reference),
            *(column.cell(option) for column in columns),
            f"{round(quality[option], 4) + 0.0:+.4f}" if quality else ABSENT,
            Html(f"<strong>{taken[option]} of {places}</strong>") if taken[option] else ABSENT,
        )
        for option in group.options
    ]
    headings = ("", *(column.heading() for column in columns), "fitted quality, nats", "winner")
    return join([Html("<h3>"), group.title, Html("</h3>"), table(headings, rows, "figures")])


def _named(option: str, reference: str | None) -> Html:
    tag = Html('<span class="tag">reference</span>') if option == reference else ""
    return join([breakable(option), tag])


@dataclass(frozen=True)
class _Column:
    """A figure of every option: its share of the limit, and how many times that of one option it is."""

    figure: Figure
    limit: float
    costs: Costs
    reference: str | None

    @property
    def base(self) -> str:
        """What the others stand beside: the reference's option, where it costs anything, or the dearest."""
        free = self.reference is None or not self.costs[self.reference]
        return max(self.costs, key=self.costs.__getitem__) if free else str(self.reference)

    def heading(self) -> Html:
        title = self.figure.metric.title
        of = "" if self.figure.of in ("time", title) else f", {self.figure.of}"
        limit = quantity(self.figure.metric.name, self.limit)
        return join([title, of, Html("<br>"), f"% of {limit} · × ", breakable(self.base)])

    def cell(self, option: str) -> Html:
        cost = self.costs[option]
        if not cost:
            return Html(ABSENT)
        times = number(cost / self.costs[self.base], 2)
        return join([_share(cost / self.limit), Html(' <span class="quiet">· '), times, Html(" ×</span>")])
