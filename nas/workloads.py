"""What a space is priced under, where less than all of it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_cost_models.cost import Workload

if TYPE_CHECKING:
    from hw_cost_models.cost import Kind, Unit
    from search_spaces import SearchSpace


def workload_of(
    space: SearchSpace, batch: int = 1, length: int | None = None, kind: Kind = "forward"
) -> Workload:
    """At the length that is asked for, else the one that the space is laid out for, if any."""
    return Workload(batch, length or space.length or Workload.length, kind, unit_of(space))


def unit_of(space: SearchSpace) -> Unit:
    """What its lengths are counted in: nothing, where none is free and it is laid out for none."""
    has_length = space.length is not None or "length" in space.dynamic.values()
    return space.unit if has_length else "examples"
