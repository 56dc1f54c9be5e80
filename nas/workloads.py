"""What a space is priced under, where less than all of it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_cost_models.cost import Workload

if TYPE_CHECKING:
    from hw_cost_models.cost import Kind
    from search_spaces import SearchSpace


def workload_of(
    space: SearchSpace, batch: int = 1, length: int | None = None, kind: Kind = "forward"
) -> Workload:
    """At the length that is asked for, else the one that the space is laid out for, if any."""
    return Workload(batch, length or space.length or Workload.length, kind, space.unit)
