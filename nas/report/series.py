"""Long noisy curves made short and readable."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 400
"""Points a trace, at most: more cannot be told apart on a laptop, and the page stays small."""

T = TypeVar("T")

Points = list[tuple[float, float]]


def points(lines: Sequence[dict[str, object]], key: str, within: str | None = None) -> Points:
    """(step, value) of every line that has a finite value under `key`, or under `within` and then `key`."""
    found: Points = []
    for line in lines:
        holder = line.get(within) if within else line
        value = holder.get(key) if isinstance(holder, dict) else None
        step = line.get("step")
        if isinstance(step, int | float) and isinstance(value, int | float) and math.isfinite(value):
            found.append((float(step), float(value)))
    return found


def thin(items: Sequence[T], longest: int = LONGEST) -> list[T]:
    """Evenly spaced items, the first and the last among them."""
    if len(items) <= longest:
        return list(items)
    return [items[round(i * (len(items) - 1) / (longest - 1))] for i in range(longest)]


def running_mean(curve: Points) -> Points:
    """The mean over a centred window of a twenty-fifth of the curve, cut off at both ends."""
    sums = [0.0, *accumulate(value for _, value in curve)]
    reach = max(2, len(curve) // 50)

    def mean(i: int) -> float:
        start, stop = max(0, i - reach), min(len(curve), i + reach + 1)
        return (sums[stop] - sums[start]) / (stop - start)

    return [(step, mean(i)) for i, (step, _) in enumerate(curve)]
