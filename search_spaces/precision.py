"""Precision as a choice: the same block in floats, in eight bits, and in four."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from search_spaces.architecture import Architecture
from search_spaces.choice import Choice, choices, parents
from search_spaces.elastic import Sliced, elastic
from search_spaces.errors import SearchSpaceError
from search_spaces.integers import BLOCK
from search_spaces.quantised import PRECISIONS, Part, is_quantised, quantised
from search_spaces.view import view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from search_spaces.space import SearchSpace


def with_precisions(space: SearchSpace, precisions: Sequence[str]) -> SearchSpace:
    """The space with a choice of precision, nested, in every option that has something to quantise.

    An option `attention` of the choice `layers.0.mixer` becomes the choice `layers.0.mixer.attention` of the
    precisions, all of which share its weights. In an option that holds choices itself they are in what is
    nested there. Reference networks are there in each precision. Raises SearchSpaceError for precisions that
    are unknown, repeated or fewer than two, and where there is nothing to quantise.
    """
    _check(precisions)

    def instead(_: str, module: nn.Module) -> nn.Module | None:
        return with_nested(module) if isinstance(module, Choice) and not module.inline else None

    @cache  # a choice that several options of another share stays one
    def with_nested(choice: Choice) -> nn.Module | None:
        options = {name: choice.option(name) for name in choice.options}
        nested = {
            name: _nested(option, precisions) or view(option, instead) for name, option in options.items()
        }
        if all(nested[name] is options[name] for name in options):
            return None
        return Choice({name: _held(option) for name, option in nested.items()})

    network = view(space.network, instead)
    added = set(choices(network)) - set(choices(space.network))
    if not added:
        raise SearchSpaceError(
            f"space {space.name!r} has nothing to compute in {' or '.join(precisions)}: no option holds a "
            f"linear layer of {BLOCK} inputs and outputs or more"
        )
    references = {
        name if precision == precisions[0] else f"{name} {precision}": tuple(
            _all_in(precision, architecture, network, added) for architecture in sizes
        )
        for name, sizes in space.references.items()
        for precision in precisions
    }
    return replace(space, network=network, references=references)


def _nested(option: nn.Module, precisions: Sequence[str]) -> Choice | None:
    """The option in those of the precisions that it can be in; None where that is no choice."""
    if any(isinstance(part, Choice) for part in option.modules()):
        return None
    suitable = [name for name in precisions if name == "fp32" or _suits(option, name)]
    return Choice({name: _held(option, name) for name in suitable}) if len(suitable) > 1 else None


def _suits(option: nn.Module, precision: str) -> bool:
    plain = elastic(option.block).sliced(option.sizes) if isinstance(option, Sliced) else option
    return is_quantised(quantised(plain, precision))


def _held(option: nn.Module, precision: str = "fp32") -> nn.Module:
    """The option in this precision, as a choice holds it."""
    if isinstance(option, Sliced):
        return Part(option.block, option.sizes, precision)
    return quantised(option, precision)


def _all_in(precision: str, architecture: Architecture, network: nn.Module, added: set[str]) -> Architecture:
    """The same network in this precision; what does not come in it, in the first in which it comes."""
    found, taken = choices(network), dict(architecture)
    for path, outer in parents(network).items():
        if path in added and outer is not None and taken.get(outer[0]) == outer[1]:
            options = found[path].options
            taken[path] = precision if precision in options else options[0]
    return Architecture(taken)


def _check(precisions: Sequence[str]) -> None:
    for name in precisions:
        if name not in PRECISIONS:
            raise SearchSpaceError(f"no precision {name!r}; the precisions are {', '.join(PRECISIONS)}")
    if len(precisions) < 2 or len(set(precisions)) < len(precisions):
        raise SearchSpaceError(
            f"precisions {','.join(precisions) or 'none'}: give two or three, each once, such as fp32,int8"
        )
