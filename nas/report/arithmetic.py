"""What a device makes cheap or dear: the share of the time that an option takes, beside that of the FLOPs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.report.markup import Html, code, join, listed, percent

if TYPE_CHECKING:
    from nas.report.option_costs import Costs, Figure, Group

APART = 2.0
"""Named is an option whose shares are further apart than this factor."""
SMALL = 0.02
"""Left alone is one of which both shares are below this: the ratio of two trifles says nothing."""


def against_arithmetic(figure: Figure, kinds: list[Group]) -> Html:
    """The options that take more or less time than their FLOPs say, among all options of the same choices."""
    dear: list[Html] = []
    cheap: list[Html] = []
    for group in kinds:
        times, flops = _shares(figure.costs(group)), _shares(figure.flops(group))
        for option in times:
            if max(times[option], flops[option]) < SMALL:
                continue
            if times[option] > APART * flops[option]:
                dear.append(_told(option, times, flops))
            elif APART * times[option] < flops[option]:
                cheap.append(_told(option, times, flops))
    found = [
        *(["dear for its arithmetic: ", Html(listed(dear))] if dear else []),
        *(["; "] if dear and cheap else []),
        *(["cheap for its arithmetic: ", Html(listed(cheap))] if cheap else []),
    ]
    nothing = "no option is dear or cheap for its arithmetic"
    return join([f"By {figure.metric.title} on {figure.table.get('device')}, ", *(found or [nothing]), "."])


def _shares(amounts: Costs) -> Costs:
    total = sum(amounts.values()) or 1.0
    return {option: amount / total for option, amount in amounts.items()}


def _told(option: str, times: Costs, flops: Costs) -> Html:
    """With its ranks among the options, the largest first."""
    of_time, of_flops = (
        1 + sum(other > shares[option] for other in shares.values()) for shares in (times, flops)
    )
    told = f"{percent(times[option])} of the time, {percent(flops[option])} of the FLOPs"
    return join([code(option), f" ({told}; ranks {of_time} and {of_flops} of {len(times)})"])
