"""Progress: how a search says what it is doing, how far it is and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Progress(Protocol):
    def plan(self, phases: int) -> None:
        """So many phases are to come."""
        ...

    def phase(self, title: str) -> None:
        """A new phase begins."""
        ...

    def start(self, total: int, done: int = 0) -> None:
        """The phase has `total` units of work, `done` of them from before."""
        ...

    def advance(self) -> None:
        """One unit is done."""
        ...

    def note(self, message: str) -> None:
        """Something a person should know: a correction, a damaged file passed over."""
        ...


class Silent:
    """No output: the default of the Python interface."""

    def plan(self, phases: int) -> None: ...

    def phase(self, title: str) -> None: ...

    def start(self, total: int, done: int = 0) -> None: ...

    def advance(self) -> None: ...

    def note(self, message: str) -> None: ...


def rounds(progress: Progress) -> Callable[[int, int], None]:
    """The rounds of a measurement, done and in all, as steps of a phase."""

    def report(done: int, total: int) -> None:
        if done == 1:
            progress.start(total)
        progress.advance()

    return report
