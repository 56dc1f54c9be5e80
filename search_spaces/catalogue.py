"""The spaces that a command line can name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.hybrid_lm import hybrid_lm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from search_spaces.space import SearchSpace

SPACES: Mapping[str, Callable[[], SearchSpace]] = {"hybrid-lm": hybrid_lm}
