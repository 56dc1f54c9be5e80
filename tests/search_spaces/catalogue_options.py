"""Every option of every space of the catalogue, found by looking, and what it is called with there."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hw_cost_models.structure import structure_key
from search_spaces import SearchSpace, Stateful, capture_inputs, choices
from search_spaces.blocks import GeGLU
from search_spaces.catalogue import SPACES
from search_spaces.elastic import Sliced
from search_spaces.mobile_vision import mobile_vision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from search_spaces.auxiliary import Load

WIDTH = 64
ALONE = {"GeGLU": GeGLU(WIDTH, 2 * WIDTH)}
"""Blocks that are an option of no space."""

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Option:
    """An option where it stands first: for all of its structure, at other places and in other spaces."""

    name: str
    module: nn.Module
    """Left as it is: tests take copies."""
    shapes: Callable[[int, int], Inputs]
    """What it is called with at a batch and a length."""
    beside: nn.Module
    """Another option of the same choice."""
    causal: bool
    dynamic: tuple[tuple[int, str], ...]
    longest: int
    """How long inputs are in tests."""

    def copy(self) -> nn.Module:
        """In evaluation."""
        return copy.deepcopy(self.module).eval()

    def inputs(self, batch: int, length: int) -> Inputs:
        """Noise in place of what is real-valued, the same for the same size; no longer than the longest."""
        length = min(length, self.longest)
        draw = torch.Generator().manual_seed(1000 * batch + length)
        return tuple(
            torch.randn(x.shape, generator=draw) if x.is_floating_point() else x
            for x in self.shapes(batch, length)
        )


@cache
def space(name: str) -> SearchSpace:
    """The space as the command line builds it; convolutions, whose work grows with the square, narrower."""
    return mobile_vision(width=8, resolution=12) if name == "mobile-vision" else SPACES[name].alone()


def longest(space: SearchSpace) -> int:
    return 14 if space.unit == "pixels" else 150


def decodes(space: SearchSpace) -> bool:
    """Whether it is a language model: something in it keeps a state, so it can go on token by token."""
    return any(isinstance(module, Stateful) for module in space.network.modules())


@cache
def captured(name: str, batch: int, length: int) -> dict[str, Inputs]:
    """What each choice of a space is called with."""
    found = space(name)
    return capture_inputs(found.network.eval(), found.example_inputs(batch, length))


def _options() -> Iterator[Option]:
    """Language models first: what they share with others has to be causal."""
    for name in sorted(SPACES, key=lambda name: not decodes(space(name))):
        for path, choice in choices(space(name).network).items():
            for number, option in enumerate(choice.options):
                yield Option(
                    f"{name}/{path}/{option}",
                    choice.option(option),
                    lambda batch, length, name=name, path=path: captured(name, batch, length)[path],
                    choice.option(choice.options[number - 1]),
                    decodes(space(name)),
                    tuple(space(name).dynamic.items()),
                    longest(space(name)),
                )
    for name, block in ALONE.items():
        yield Option(
            name,
            block,
            lambda batch, length: (torch.empty(batch, length, WIDTH),),
            nn.Identity(),
            True,
            ((0, "batch"), (1, "length")),
            150,
        )


def every_option() -> dict[str, Option]:
    """By name, one of each structure."""
    first: dict[str, Option] = {}
    for option in _options():
        first.setdefault(_structure(option), option)
    return {option.name: option for option in first.values()}


def _structure(option: Option) -> str:
    """Over images there are many sizes of few blocks: of those the name without its numbers, whether it is a
    slice, and whether it adds to its input."""
    if "length" in dict(option.dynamic).values():
        return structure_key(option.module, ())
    block = re.sub(r"\d", "", option.name.split("/")[-1])
    whole = option.module.block if isinstance(option.module, Sliced) else option.module
    return f"{block} {whole is option.module} {getattr(whole, 'residual', None)}"


def without_tokens(module: nn.Module, loads: Sequence[Load]) -> set[int]:
    """The identities of parameters of experts that their router sent nothing to."""
    routed = {id(part.router): part for part in module.modules() if hasattr(part, "router")}
    return {
        id(parameter)
        for load in loads
        for expert, share in zip(routed[id(load.router)].experts, load.shares, strict=True)
        if share == 0
        for parameter in expert.parameters()
    }
