"""Our spaces with fewer options, so that a whole search takes seconds: most of its time goes to pricing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from search_spaces import Choice, SearchSpace, Slice, choices

if TYPE_CHECKING:
    from collections.abc import Collection

    from search_spaces.elastic import Option


def narrowed(space: SearchSpace, kept: Collection[str]) -> SearchSpace:
    """Without the options that are not named, of choices that have two of those; references that still stand.

    What options share stays shared. The space that was given is changed.
    """
    for path, choice in choices(space.network).items():
        options = {name: _as_given(choice, name) for name in choice.options if name in kept}
        if len(options) > 1:
            space.network.set_submodule(path, Choice(options))
    left = {path: choice.options for path, choice in choices(space.network).items()}
    references = {
        name: tuple(size for size in sizes if all(option in left[path] for path, option in size.items()))
        for name, sizes in space.references.items()
    }
    return replace(space, references={name: sizes for name, sizes in references.items() if sizes})


def _as_given(choice: Choice, name: str) -> Option:
    whole, sizes = choice.slice_of(name)
    return choice.option(name) if whole == name else Slice(choice.option(whole), **sizes)
