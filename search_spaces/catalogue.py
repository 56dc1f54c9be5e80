"""The spaces that a command line can name, and what `--data` gives each of them to learn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from search_spaces.data_kinds import NAMES, Kind, images, kind_of, sequences
from search_spaces.digits import digits
from search_spaces.encoder import encoder
from search_spaces.errors import DataError, SearchSpaceError
from search_spaces.hybrid_lm import hybrid_lm
from search_spaces.labelled_text import LabelledText
from search_spaces.mobile_vision import mobile_vision
from search_spaces.space import Task
from search_spaces.synthetic import SyntheticTask
from search_spaces.text import ByteText

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from search_spaces.images import LabelledImages
    from search_spaces.sequences import LabelledSequences
    from search_spaces.space import SearchSpace


class SizedTask(Task, Protocol):
    """A task on inputs of one length: tokens of a sequence, or pixels of the side of an image."""

    length: int


AnyTask = TypeVar("AnyTask", bound=SizedTask)


@dataclass(frozen=True)
class Entry(Generic[AnyTask]):
    """A space, and what it can learn.

    `alone` builds it to be priced, `fitting(task)` for a task. `at_hand(length)` is the task where no data is
    named, `takes` are those by the kind of what is: `(data, length)`, a name or a path. A `length` of None is
    the task's own.
    """

    alone: Callable[[], SearchSpace]
    fitting: Callable[[AnyTask], SearchSpace]
    at_hand: Callable[[int | None], AnyTask]
    takes: Mapping[Kind, Callable[[str, int | None], AnyTask]]


def generated(data: str, length: int | None) -> SyntheticTask:
    """By its name."""
    return _of_length(partial(SyntheticTask, data), length)


def text(data: str | None, length: int | None) -> ByteText:
    """At a path, or the standard library's. Raises DataError for what cannot be learnt."""
    return _of_length(partial(ByteText, Path(data) if data else None), length)


def labelled_text(data: str | None, length: int | None) -> LabelledText:
    """At a path, or the standard library's. Raises DataError for what cannot be learnt."""
    return _of_length(partial(LabelledText, Path(data) if data else None), length)


def _of_length(task: Callable[..., AnyTask], length: int | None) -> AnyTask:
    return task() if length is None else task(length=length)


def _encoder(task: LabelledText | LabelledSequences) -> SearchSpace:
    return encoder(classes=task.classes)


def _mobile_vision(task: LabelledImages) -> SearchSpace:
    return mobile_vision(classes=task.classes, channels=task.channels, resolution=task.length)


SPACES: Mapping[str, Entry[Any]] = {
    "hybrid-lm": Entry(
        alone=hybrid_lm,
        fitting=lambda task: hybrid_lm(),
        at_hand=partial(text, None),
        takes={Kind.TEXT: text, Kind.GENERATED: generated},
    ),
    "encoder": Entry(
        alone=encoder,
        fitting=_encoder,
        at_hand=partial(labelled_text, None),
        takes={Kind.TEXT: labelled_text, Kind.SEQUENCES: sequences},
    ),
    "mobile-vision": Entry(
        alone=mobile_vision,
        fitting=_mobile_vision,
        at_hand=digits,
        takes={Kind.IMAGES: images},
    ),
}


def space_named(name: str) -> SearchSpace:
    """Raises SearchSpaceError for a name that is not in SPACES."""
    return _entry(name).alone()


def space_and_task(name: str, data: str | None, length: int | None) -> tuple[SearchSpace, SizedTask]:
    """The space and what it is to learn.

    Raises as `space_named` does, and DataError for data that cannot be learnt, or not by this space.
    """
    entry = _entry(name)
    task = entry.at_hand(length) if data is None else _task(name, entry, data)(data, length)
    return entry.fitting(task), task


def task_named(data: str, length: int | None) -> SizedTask:
    """Of a space that is not of the catalogue: any kind of data, text being for a language model."""
    takes: Mapping[Kind, Callable[[str, int | None], SizedTask]] = {
        Kind.TEXT: text,
        Kind.GENERATED: generated,
        Kind.IMAGES: images,
        Kind.SEQUENCES: sequences,
    }
    return takes[kind_of(data)](data, length)


def lasting(data: str | None) -> str | None:
    """The same data, named so that it is found from any folder: a path becomes absolute."""
    return data if data is None or data in NAMES else str(Path(data).resolve())


def _task(name: str, entry: Entry[Any], data: str) -> Callable[[str, int | None], Any]:
    """How the space learns data of that kind; DataError, with those that do, where it does not."""
    kind = kind_of(data)
    if kind in entry.takes:
        return entry.takes[kind]
    others = " or ".join(f"--space {other}" for other, entry in SPACES.items() if kind in entry.takes)
    apart = f"; ./{data} is what lies at that path" if data in NAMES and Path(data).exists() else ""
    raise DataError(
        f"{data} is taken for {kind.value}, and {name} learns {' or '.join(k.value for k in entry.takes)}: "
        f"for {kind.value} take {others}{apart}"
    )


def _entry(name: str) -> Entry[Any]:
    if name not in SPACES:
        own = "one of your own is named module:function, without .py"
        raise SearchSpaceError(f"no space {name!r}; the spaces are {', '.join(SPACES)}, and {own}")
    return SPACES[name]
