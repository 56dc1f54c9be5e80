"""The spaces that a command line can name, and what `--data` gives each of them to learn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from search_spaces.encoder import encoder
from search_spaces.errors import DataError, SearchSpaceError
from search_spaces.hybrid_lm import hybrid_lm
from search_spaces.labelled_text import LabelledText
from search_spaces.space import Task
from search_spaces.synthetic import KINDS, SyntheticTask
from search_spaces.text import ByteText

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from search_spaces.space import SearchSpace


class SequenceTask(Task, Protocol):
    """A task on sequences of one length."""

    length: int


AnyTask = TypeVar("AnyTask", bound=SequenceTask)


@dataclass(frozen=True)
class Entry:
    """A space, and how it comes by a task that fits it.

    `alone` builds the space, to be priced. `with_task(data, length)` builds it for a task: `data` is the
    name of a generated one or a path, None for the data at hand everywhere; `length` None for the task's own.
    """

    alone: Callable[[], SearchSpace]
    with_task: Callable[[str | None, int | None], tuple[SearchSpace, SequenceTask]]


def language_task(data: str | None, length: int | None) -> SequenceTask:
    """Of a language model: a generated task by name, or text by its path.

    Raises DataError for what is neither, and for text that cannot be learnt.
    """
    if data is None:
        return _of_length(ByteText, length)
    if data in KINDS:
        return _of_length(partial(SyntheticTask, data), length)
    if not Path(data).exists():
        raise DataError(f"{data}: no such file or folder, and the generated tasks are {', '.join(KINDS)}")
    return _of_length(partial(ByteText, Path(data)), length)


def labelled_task(data: str | None, length: int | None) -> LabelledText:
    """Of a classifier of texts: a folder with a sub-folder for each class.

    Raises DataError for the name of a generated task, and for text that cannot be learnt.
    """
    if data is None:
        return _of_length(LabelledText, length)
    if data in KINDS:
        raise DataError(
            f"{data} is generated for language models, and a classifier of texts takes a folder with a "
            f"sub-folder for each class: ./{data} is one of that name"
        )
    return _of_length(partial(LabelledText, Path(data)), length)


def _encoder(data: str | None, length: int | None) -> tuple[SearchSpace, SequenceTask]:
    task = labelled_task(data, length)
    return encoder(classes=task.classes), task


def _of_length(task: Callable[..., AnyTask], length: int | None) -> AnyTask:
    return task() if length is None else task(length=length)


SPACES: Mapping[str, Entry] = {
    "hybrid-lm": Entry(hybrid_lm, lambda data, length: (hybrid_lm(), language_task(data, length))),
    "encoder": Entry(encoder, _encoder),
}


def space_named(name: str) -> SearchSpace:
    """Raises SearchSpaceError for a name that is not in SPACES."""
    return _entry(name).alone()


def space_and_task(name: str, data: str | None, length: int | None) -> tuple[SearchSpace, SequenceTask]:
    """The space and what it is to learn. Raises as `space_named` does, and DataError for the data."""
    return _entry(name).with_task(data, length)


def lasting(data: str | None) -> str | None:
    """The same data, named so that it is found from any folder: a path becomes absolute."""
    return data if data is None or data in KINDS else str(Path(data).resolve())


def _entry(name: str) -> Entry:
    if name not in SPACES:
        raise SearchSpaceError(f"no space {name!r}; the spaces are {', '.join(SPACES)}")
    return SPACES[name]
