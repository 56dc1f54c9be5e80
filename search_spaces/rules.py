"""Rules: which options of different choices may stand together.

    space = replace(space, rules=(
        tied(space.network, "layers.*.feedforward"),                         # one decision for all layers
        at_least(2, where(space.network, "layers.*.mixer", "attention")),    # two attention layers
        excluded(("layers.0.mixer", "skip"), ("layers.1.mixer", "skip")),
        requires(("layers.0.mixer", "skip"), ("layers.0.feedforward", "swiglu_4x")),
    ))

Every rule is a linear row over decisions, so that a solver can obey it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from search_spaces.choice import choices
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import nn

Decision = tuple[str, str]
"""(choice path, option name)"""


@dataclass(frozen=True)
class Row:
    """low <= sum of the terms of the decisions that are taken <= high."""

    terms: Mapping[Decision, float]
    low: float = -math.inf
    high: float = math.inf

    def allows(self, architecture: Mapping[str, str]) -> bool:
        total = sum(self.terms.get(decision, 0.0) for decision in architecture.items())
        return self.low <= total <= self.high


@dataclass(frozen=True)
class Rule:
    """`name` says it in words. Choices that `tied` names are one decision: all take the same option."""

    name: str
    rows: tuple[Row, ...]
    tied: tuple[str, ...] = ()

    def allows(self, architecture: Mapping[str, str]) -> bool:
        return all(row.allows(architecture) for row in self.rows)

    def check(self, network: nn.Module) -> None:
        """Raises SearchSpaceError for a choice or an option that the network does not have."""
        found = choices(network)
        for path, option in (decision for row in self.rows for decision in row.terms):
            if path not in found:
                raise SearchSpaceError(
                    f"rule {self.name!r}: no choice {path!r}; the choices are {', '.join(found)}"
                )
            if option not in found[path].options:
                options = ", ".join(found[path].options)
                raise SearchSpaceError(
                    f"rule {self.name!r}: choice {path!r} has no {option!r}, but {options}"
                )

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "rows": [
                {
                    "terms": [[*decision, term] for decision, term in row.terms.items()],
                    "low": None if row.low == -math.inf else row.low,
                    "high": None if row.high == math.inf else row.high,
                }
                for row in self.rows
            ],
            "tied": list(self.tied),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rule:
        rows = (
            Row(
                {(path, option): term for path, option, term in row["terms"]},
                -math.inf if row["low"] is None else row["low"],
                math.inf if row["high"] is None else row["high"],
            )
            for row in data["rows"]
        )
        return cls(data["name"], tuple(rows), tuple(data["tied"]))


def where(network: nn.Module, pattern: str, *options: str) -> list[Decision]:
    """The decisions for one of these options at every choice whose path matches, as in `layers.*.mixer`.

    Raises SearchSpaceError where there is none.
    """
    found = choices(network)
    matching = [
        (path, option)
        for path, choice in found.items()
        if fnmatchcase(path, pattern)
        for option in choice.options
        if option in options
    ]
    if not matching:
        raise SearchSpaceError(
            f"no choice {pattern!r} with an option {' or '.join(map(repr, options))}; "
            f"the choices are {', '.join(found)}"
        )
    return matching


def tied(network: nn.Module, pattern: str) -> Rule:
    """One decision for all choices whose paths match. Raises SearchSpaceError where their options differ."""
    found = {path: choice for path, choice in choices(network).items() if fnmatchcase(path, pattern)}
    kinds = {choice.options for choice in found.values()}
    if len(found) < 2 or len(kinds) > 1:
        raise SearchSpaceError(
            f"{pattern!r} ties {', '.join(found) or 'nothing'}: "
            "it takes two or more choices of the same options"
        )
    (options,) = kinds
    return one_decision(f"{pattern} are tied", tuple(found), options)


def one_decision(name: str, paths: Sequence[str], options: Iterable[str]) -> Rule:
    """The choices at these paths, which have these options, take the same."""
    first, *others = paths
    rows = (Row({(first, o): 1.0, (other, o): -1.0}, 0.0, 0.0) for o in options for other in others)
    return Rule(name, tuple(rows), tuple(paths))


def at_least(count: int, decisions: Iterable[Decision]) -> Rule:
    """So many of the decisions are taken, or more."""
    counted = dict.fromkeys(decisions, 1.0)
    return Rule(f"at least {count} of {_said(counted)}", (Row(counted, low=count),))


def at_most(count: int, decisions: Iterable[Decision]) -> Rule:
    """So many of the decisions are taken, or fewer."""
    counted = dict.fromkeys(decisions, 1.0)
    return Rule(f"at most {count} of {_said(counted)}", (Row(counted, high=count),))


def excluded(*decisions: Decision) -> Rule:
    """No two of the decisions are taken together."""
    return Rule(f"no two of {_said(decisions)}", (Row(dict.fromkeys(decisions, 1.0), high=1.0),))


def requires(decision: Decision, needed: Decision) -> Rule:
    """Where the first decision is taken, the second is, too."""
    row = Row({decision: 1.0, needed: -1.0}, high=0.0)
    return Rule(f"{_said([decision])} requires {_said([needed])}", (row,))


def _said(decisions: Iterable[Decision]) -> str:
    return ", ".join(f"{path}={option}" for path, option in decisions)
