"""RunRecord: what the page is made of, read from a run directory and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """One run as plain JSON. Any key may be absent: a run that is unfinished still has a page."""

    result: Json = field(default_factory=dict)
    config: Json = field(default_factory=dict)
    cost_table: Json = field(default_factory=dict)
    trajectory: list[Json] = field(default_factory=list)
    scores: Json = field(default_factory=dict)

    @property
    def architecture(self) -> dict[str, str]:
        """The winner: choice path → option name."""
        return self.part("architecture")

    @property
    def budget(self) -> dict[str, float]:
        return self.part("budget")

    @property
    def choices(self) -> dict[str, dict[str, Json]]:
        """Choice path → option → cost, in the order of the network."""
        return self.cost_table.get("choices") or {}

    def part(self, key: str) -> Json:
        """One object of the result, empty where the run has not got that far."""
        return self.result.get(key) or {}

    def rows(self, key: str) -> list[Json]:
        """One list of the result, empty where the run has not got that far."""
        return self.result.get(key) or []

    def ordered(self, paths: list[str]) -> list[str]:
        """The paths as data passes them, which is the order of the cost table; what it does not name last."""
        place = {path: index for index, path in enumerate(self.choices)}
        return sorted(paths, key=lambda path: (place.get(path, len(place)), _natural(path)))


def layer_of(path: str) -> str:
    """The part of a choice's path that names its layer: up to the first number, or else the first name."""
    numbered = re.match(r".*?\.\d+(?=\.|$)", path)
    return numbered.group() if numbered else path.split(".")[0]


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", text)]
