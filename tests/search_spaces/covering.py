"""Few architectures in which every option of a space stands somewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces import Architecture, choices, parents

if TYPE_CHECKING:
    from torch import nn


def covering(network: nn.Module) -> list[Architecture]:
    """For a space in which choices of the same options repeat, as in layers, and do not nest.

    The i-th of them takes the i-th option; the next architecture goes on from there, until all were taken.
    """
    found = choices(network)
    assert not any(parents(network).values())
    kinds: dict[tuple[str, ...], list[str]] = {}
    for path, choice in found.items():
        kinds.setdefault(choice.options, []).append(path)
    count = max(-(-len(options) // len(paths)) for options, paths in kinds.items())
    return [
        Architecture(
            {
                path: options[(number * len(paths) + place) % len(options)]
                for options, paths in kinds.items()
                for place, path in enumerate(paths)
            }
        )
        for number in range(count)
    ]
