"""A space by its name: one of the catalogue, or what a person's own function `module:function` returns.

That function takes no arguments and returns a SearchSpace, or (SearchSpace, Task): its own data, loss and
metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_cost_models.subject import returned_by
from nas.errors import BadInputError
from search_spaces import SearchSpace, catalogue, with_precisions
from search_spaces.trial import as_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces import Task


def is_own(name: str) -> bool:
    """Names of the catalogue hold no colon."""
    return ":" in name


def space_named(name: str, precisions: Sequence[str] = ()) -> SearchSpace:
    """The space alone, to be priced; with `precisions`, a choice of them in every option.

    Raises SearchSpaceError for a name that the catalogue has not, or precisions that do not suit;
    SubjectError for a function that is missing or fails, BadInputError for one that returns something else.
    """
    return in_precisions(_own(name)[0] if is_own(name) else catalogue.space_named(name), precisions)


def in_precisions(space: SearchSpace, precisions: Sequence[str]) -> SearchSpace:
    """With a choice of them in every option, where any are named."""
    return with_precisions(space, precisions) if precisions else space


def space_in(target: str) -> SearchSpace | None:
    """The space that `module:function` returns, alone or with a task; None where it returns something else.

    Raises SubjectError for a function that is missing or fails.
    """
    match returned_by(target):
        case SearchSpace() as space:
            return space
        case (SearchSpace() as space, _):
            return space
    return None


def space_and_task(
    name: str, data: str | None, length: int | None, precisions: Sequence[str] = ()
) -> tuple[SearchSpace, Task]:
    """The space and what it is to learn.

    Raises as `space_named` does, DataError for the data, and BadInputError for an own space that comes with a
    task beside `data`, or with neither.
    """
    space, task = _space_and_task(name, data, length)
    return in_precisions(space, precisions), task


def _space_and_task(name: str, data: str | None, length: int | None) -> tuple[SearchSpace, Task]:
    if not is_own(name):
        return catalogue.space_and_task(name, data, length)
    space, task = _own(name)
    if task and data is not None:
        raise BadInputError(f"--data {data}: {name} returns a task of its own: leave --data out")
    if task:
        return space, task
    if data is None:
        raise BadInputError(
            f"{name} returns a space and no task: give --data, or return (space, task), where a task is a "
            "search_spaces.DatasetTask or anything with the methods of search_spaces.Task"
        )
    return space, catalogue.task_named(data, length)


def length_of(task: Task, length: int | None) -> int | None:
    """What is priced: the length asked for, or else the task's; None where it has none."""
    told = getattr(task, "length", None)
    return length or (told if isinstance(told, int) else None)


def _own(name: str) -> tuple[SearchSpace, Task | None]:
    match returned_by(name):
        case SearchSpace() as space:
            return space, None
        case (SearchSpace() as space, task):
            return space, as_task(task)
        case tuple() as parts:
            returned = f"({', '.join(type(part).__name__ for part in parts)})"
        case other:
            returned = type(other).__name__
    raise BadInputError(
        f"{name} must return a SearchSpace, or (SearchSpace, Task), and it returned {returned}"
    )
