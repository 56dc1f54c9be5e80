"""What an option costs and is worth in its kind of place, for every figure that the run limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from nas.budget import METRICS, Metric, metric
from nas.paths import together
from search_spaces.quantised import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nas.report.record import Json, RunRecord

Costs = dict[str, float]
"""By option, in the order of the choice."""

_TIME = (("latency_ms", "time"),)
_HELD = {
    "latency_ms": _TIME,
    "prefill_ms": _TIME,
    "decode_ms": _TIME,
    "energy_mj": (("energy_mj", "energy"),),
    "memory_mb": (("weight_mb", "weights"), ("peak_activation_mb", "activations")),
    "state_mb": (("state_mb", "state"),),
    "params_m": (("params_m", "parameters"),),
}
"""For each metric, the keys of a cost that it is read from, and what they are of."""


@dataclass(frozen=True)
class Group:
    """All choices of the same options."""

    options: tuple[str, ...]
    paths: tuple[str, ...]

    @property
    def title(self) -> str:
        """`layers.*.mixer`."""
        return together(self.paths)

    def taken(self, architecture: Mapping[str, str]) -> Counter[str]:
        """How often an architecture takes each option."""
        return Counter(architecture[path] for path in self.paths if path in architecture)


@dataclass(frozen=True)
class Figure:
    """A part of a cost under one workload."""

    metric: Metric
    key: str
    of: str
    """What it is a figure of: time, weights."""
    table: Json
    """The cost table of that workload."""

    def costs(self, group: Group) -> Costs:
        """Means over the places."""
        return self._mean(group, self.key)

    def flops(self, group: Group) -> Costs:
        return self._mean(group, "flops")

    def _mean(self, group: Group, key: str) -> Costs:
        """With what is nested in an option, at the first of its options."""
        places = [path for path in group.paths if path in self._choices]
        return {o: mean(self._whole(path, o, key) for path in places) for o in group.options if places}

    @property
    def _choices(self) -> Json:
        return self.table.get("choices") or {}

    def _whole(self, path: str, option: str, key: str) -> float:
        """A cost that a table does not name is zero, as energy is where the device tells none."""
        nesting = self.table.get("nesting") or {}
        inner = [p for p, outer in nesting.items() if outer and tuple(outer) == (path, option)]
        own = self._choices[path][option].get(key) or 0.0
        inside = [self._whole(p, next(iter(self._choices[p])), key) for p in inner]
        return max([own, *inside]) if key == "peak_activation_mb" else own + sum(inside)


def is_precision(options: Iterable[str]) -> bool:
    """Whether a choice is one of precision: such have a section of their own."""
    return set(options) <= set(PRECISIONS)


def groups(run: RunRecord) -> list[Group]:
    """Of all choices but those of precision; where the winner reaches some of them, of those alone.

    Elsewhere the same options may cost something else, as where images have another size.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for path in run.ordered([path for path, options in run.choices.items() if not is_precision(options)]):
        found.setdefault(tuple(run.choices[path]), []).append(path)
    reached = {
        options: [path for path in paths if path in run.architecture] for options, paths in found.items()
    }
    return [Group(options, tuple(reached[options] or paths)) for options, paths in found.items()]


def limits(run: RunRecord) -> dict[str, float]:
    """By metric, in the order of METRICS; of a run without a result as it was asked for."""
    asked = run.budget or run.config.get("budget") or {}
    return {m.name: asked[m.name] for m in METRICS if asked.get(m.name)}


def limited(run: RunRecord) -> list[Figure]:
    """What the limits are on, as far as the cost table tells it."""
    return [
        Figure(metric(name), key, of, table)
        for name in limits(run)
        if (table := _table_of(run, metric(name).kind))
        for key, of in _HELD[name]
    ]


def latency(run: RunRecord) -> Figure:
    """The latency of the run's own workload, limited or not."""
    return Figure(metric("latency_ms"), *_TIME[0], run.cost_table)


def _table_of(run: RunRecord, kind: str) -> Json:
    """Empty where the run has no table of that kind of workload."""
    own = (run.cost_table.get("workload") or {}).get("kind", "forward")
    beside = run.cost_table.get("beside") or {}
    return run.cost_table if kind == own else beside.get(kind) or {}


def reference_option(run: RunRecord, group: Group) -> str | None:
    """What the reference architecture takes there most often, skips apart; None without a reference."""
    reference = run.part("baselines").get("reference") or {}
    work = latency(run).flops(group)
    taken = group.taken(reference.get("architecture") or {})
    return next((option for option, _ in taken.most_common() if work.get(option, 0.0) > 0), None)


def qualities(run: RunRecord, group: Group) -> Costs:
    """Fitted quality in nats, higher is better, as the difference from the mean of the options.

    The mean over the places; where neighbours were fitted, too, over all options of each neighbour, every one
    as often. Empty where nothing has been fitted.
    """
    worth = {(path, option): score for path, option, score in run.scores.get("options") or []}
    count = Counter(path for path, _ in worth)
    for p, a, q, b, score in run.scores.get("neighbours") or []:
        worth[p, a] += score / count[q]
        worth[q, b] += score / count[p]
    places = [path for path in group.paths if count[path]]
    if not places:
        return {}
    means = {option: mean(worth[path, option] for path in places) for option in group.options}
    middle = mean(means.values())
    return {option: value - middle for option, value in means.items()}
