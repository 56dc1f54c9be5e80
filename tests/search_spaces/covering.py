"""Few architectures in which every option of a space stands somewhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from search_spaces import Architecture, choices, parents

if TYPE_CHECKING:
    from torch import nn


def covering(network: nn.Module) -> list[Architecture]:
    """For a space in which choices of the same options repeat, as in layers.

    The i-th of them takes the i-th option; the next time that it is reached, it goes on from where all of
    them got to, until every option was taken. A choice inside an option is reached where that one is taken.
    """
    found, nesting = choices(network), parents(network)
    kinds: dict[tuple[str, ...], list[str]] = {}
    for path, choice in found.items():
        kinds.setdefault(choice.options, []).append(path)
    missing = {(options, option) for options in kinds for option in options}
    reached: Counter[str] = Counter()
    architectures = []
    while missing:
        taken: dict[str, str] = {}
        for path, choice in found.items():
            outer, places = nesting[path], kinds[choice.options]
            if outer is None or taken.get(outer[0]) == outer[1]:
                number = reached[path] * len(places) + places.index(path)
                taken[path] = choice.options[number % len(choice.options)]
                reached[path] += 1
                missing.discard((choice.options, taken[path]))
        architectures.append(Architecture(taken))
    return architectures
