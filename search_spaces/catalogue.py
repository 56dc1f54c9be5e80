"""The spaces that a command line can name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.errors import SearchSpaceError
from search_spaces.hybrid_lm import hybrid_lm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from search_spaces.space import SearchSpace

SPACES: Mapping[str, Callable[[], SearchSpace]] = {"hybrid-lm": hybrid_lm}


def space_named(name: str) -> SearchSpace:
    """Raises SearchSpaceError for a name that is not in SPACES."""
    if name not in SPACES:
        raise SearchSpaceError(f"no space {name!r}; the spaces are {', '.join(SPACES)}")
    return SPACES[name]()
