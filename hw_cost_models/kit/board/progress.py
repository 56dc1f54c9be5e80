"""What the board's script says while it measures: one line that is rewritten, or many where none can be."""

from __future__ import annotations

import sys
import time


class Progress:
    """How far a stage is, and how long it still takes."""

    def __init__(self) -> None:
        self._rewrite = sys.stdout.isatty()
        self._title, self._done, self._total, self._began, self._first = "", 0, 0, 0.0, 0

    def start(self, title: str, total: int, done: int = 0) -> None:
        """A stage of `total` pieces, of which `done` are there from before."""
        self._title, self._total, self._done, self._first = title, total, done, done
        self._began = time.monotonic()

    def advance(self) -> None:
        """One piece more."""
        self._done += 1
        seconds = (time.monotonic() - self._began) / (self._done - self._first) * (self._total - self._done)
        text = f"{self._title:<28} {self._done:>4} of {self._total}   {_duration(seconds):>8} left"
        if not self._rewrite:
            print(text, flush=True)
        else:
            print(f"\r{text}   ", end="" if self._done < self._total else "\n", flush=True)

    def say(self, text: str) -> None:
        """A line of its own."""
        print(text, flush=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:>2} s" if minutes else f"{seconds} s"
