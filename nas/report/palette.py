"""Colours: mid-tones that read on white and on black, one for each option name and each contender."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SKIP = "skip"
"""The name that search spaces give to the option that does nothing; it is drawn faint."""

GREY = "#9097a3"
BLUE, ORANGE, GREEN, PURPLE, TEAL = "#4c78d8", "#e0843a", "#2a9d7c", "#8d6bd6", "#37a3c6"

_OPTIONS = (
    BLUE, ORANGE, GREEN, "#c2517d", PURPLE, "#c9a227", TEAL, "#a8603c", "#7d9b3b", "#dc625c",
    "#5a6ea6", "#c983c3", "#55b598", "#a58d5f", "#79abe6", "#e5a583", "#93c06f", "#985b98",
)  # fmt: skip


def option_colours(choices: Iterable[Iterable[str]]) -> dict[str, str]:
    """Option name → colour, the same on the whole page; the palette repeats after 18 names."""
    names = dict.fromkeys(name for options in choices for name in options)
    names.pop(SKIP, None)
    colours = {name: _OPTIONS[i % len(_OPTIONS)] for i, name in enumerate(names)}
    return colours | {SKIP: GREY}
