"""How routers spread their tokens: every expert's share over time, and in words what went wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.report.contenders import ROLES
from nas.report.markup import Html, join, listed, missing, note, panel, panels, paragraph, percent, section
from nas.report.palette import option_colours
from nas.report.plot import bands
from nas.report.series import thin

if TYPE_CHECKING:
    from nas.report.record import Json, RunRecord

DEAD = 0.1
"""An expert with less than this part of an even share is dead."""
UNBALANCED = 0.75
"""A router is unbalanced whose load is that of less than this part of its experts."""
_LATELY = 0.25
"""Judged is the last part of what was recorded: where the router ended."""
_POINTS = 80
_DRAWN = ("the supernet", "the winner")
"""Rivals are judged, too, but not drawn: they may hold a router in each of many layers."""


@dataclass(frozen=True)
class Router:
    """One router in one training."""

    network: str
    path: str
    steps: list[float]
    shares: list[list[float]]
    """By step, the fraction of assignments that each expert got; null experts got the rest."""

    @property
    def lately(self) -> list[float]:
        """The mean share of each expert towards the end."""
        last = self.shares[-math.ceil(_LATELY * len(self.shares)) :]
        return [sum(column) / len(last) for column in zip(*last, strict=True)]


def experts(run: RunRecord) -> Html:
    routers = _routers(run)
    if not routers:
        told = "No mixture of experts has been trained: none was sampled, or the space holds none."
        return section("experts", "Experts", missing(told))
    findings = [finding for router in routers for finding in findings_of(router)]
    good = "No expert is dead and no router unbalanced."
    return section(
        "experts",
        "Experts",
        note(
            "The height of a band is the part of all assignments that its expert got; grey went to null "
            "experts, which cost nothing. An expert is dead below a tenth of an even share; a router is "
            "unbalanced when its load is that of less than three quarters of its experts (the exponential of "
            "the entropy of their shares). Judged is the last quarter of each training."
        ),
        *(map(paragraph, findings) if findings else [paragraph(good)]),
        panels(*(panel(_title(r), _figure(r)) for r in routers if r.network in _DRAWN), width=240),
    )


def findings_of(router: Router) -> list[str]:
    """What is wrong with it, a sentence each."""
    shares, where = router.lately, f"In {router.network}, {router.path}"
    used = sum(shares)
    if used < DEAD:
        return [f"{where} sends {percent(1 - used)} of its assignments to null experts."]
    found = []
    dead = [str(index) for index, share in enumerate(shares) if share < DEAD * used / len(shares)]
    if dead:
        named = f"expert {dead[0]} is" if len(dead) == 1 else f"experts {listed(dead)} are"
        found.append(f"{where}: {named} dead, with less than a tenth of an even share.")
    alike = effective(shares)
    if alike < UNBALANCED * len(shares):
        found.append(f"{where} is unbalanced: its load is that of {alike:.1f} experts out of {len(shares)}.")
    return found


def effective(shares: list[float]) -> float:
    """How many experts with even shares would have as much entropy: exp(-Σ p log p), the p summing to one."""
    total = sum(shares)
    return math.exp(-sum(s / total * math.log(s / total) for s in shares if s > 0))


def _routers(run: RunRecord) -> list[Router]:
    by_network: dict[str, list[Json]] = {}
    for entry in run.trajectory:
        if entry.get("experts"):
            by_network.setdefault(_network(entry), []).append(entry)
    return [
        _router(network, path, entries)
        for network, entries in by_network.items()
        for path in run.ordered(list(dict.fromkeys(path for e in entries for path in e["experts"])))
    ]


def _network(entry: Json) -> str:
    if entry.get("phase") != "train":
        return "the supernet"
    name = str(entry.get("network"))
    return f"the {ROLES[name].name if name in ROLES else name}"


def _router(network: str, path: str, entries: list[Json]) -> Router:
    own = [entry for entry in entries if path in entry["experts"]]
    steps = [entry.get("step", index) for index, entry in enumerate(own)]
    return Router(network, path, steps, [entry["experts"][path] for entry in own])


def _title(router: Router) -> Html:
    skipped = 1 - sum(router.lately)
    null = f", {percent(skipped)} skipped" if skipped > 1e-3 else ""
    return join([router.path, Html('<br><span class="quiet">'), router.network, null, Html("</span>")])


def _figure(router: Router) -> Html:
    shown = thin(list(zip(router.steps, router.shares, strict=True)), _POINTS)
    names = [f"expert {index}" for index in range(len(router.lately))]
    heights = {name: [shares[index] for _, shares in shown] for index, name in enumerate(names)}
    heights["null"] = [max(0.0, 1 - sum(shares)) for _, shares in shown]
    return bands([step for step, _ in shown], heights, option_colours([names]))
