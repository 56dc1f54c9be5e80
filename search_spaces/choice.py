"""Choice: one place in a network with several alternatives, and the mixture that says which of them run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from search_spaces.elastic import Slice, Sliced
from search_spaces.errors import SearchSpaceError, UnboundChoiceError

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture
    from search_spaces.elastic import Option


@dataclass(frozen=True)
class Mixture:
    """This step's weight for each option, and which options run.

    `weights[path]` holds the options that run at that choice: a scalar tensor through which the gradient
    reaches the architecture parameters, or None for "exactly as it is". `probabilities[path]` has shape
    (options,), in the order of the choice's options; the expected cost is computed from it.
    """

    weights: Mapping[str, Mapping[str, Tensor | None]]
    probabilities: Mapping[str, Tensor] = field(default_factory=dict)

    def hard(self) -> Mixture:
        """Without weights where one option runs at every choice: that path, exactly as it is."""
        if any(len(running) > 1 for running in self.weights.values()):
            return self
        return Mixture(
            {path: dict.fromkeys(running) for path, running in self.weights.items()}, self.probabilities
        )

    @staticmethod
    def of(architecture: Architecture) -> Mixture:
        """The one-hot mixture: that architecture alone."""
        return Mixture({path: {option: None} for path, option in architecture.items()})


class Choice(nn.Module):
    """Named options, each an ordinary module that takes the same inputs to an output of the same shape.

    An option is `forward(x, *context) -> y`. Depth is a choice with `nn.Identity()` among its options, width
    is one with a `Slice` of another option, which has no weights of its own.

    `inline` says that the network around the choice runs differently under one option than under another, as
    where examples may leave half-way: whoever cuts options out of it has to cut once for each of these.
    """

    def __init__(self, options: Mapping[str, Option], *, inline: bool = False) -> None:
        super().__init__()
        self.inline = inline
        if not isinstance(options, Mapping):
            kind = type(options).__name__
            raise SearchSpaceError(
                f'a choice takes options by name, as Choice({{"a": a, "b": b}}), got a {kind}'
            )
        if len(options) < 2:
            raise SearchSpaceError(f"a choice needs at least two options, got {list(options)}")
        self.options = tuple(options)
        wholes = {id(option): name for name, option in options.items()}
        self._slices: dict[str, tuple[str, dict[str, int]]] = {}
        for name, option in options.items():
            if not name or hasattr(self, module_name(name)):
                raise SearchSpaceError(f"{name!r} cannot name an option: it is empty, reserved or used twice")
            if not isinstance(option, nn.Module | Slice):
                raise SearchSpaceError(f"option {name!r} is a {type(option).__name__}, and not a module")
            if not isinstance(option, Slice):
                self.add_module(module_name(name), option)
                continue
            if id(option.block) not in wholes:
                raise SearchSpaceError(f"option {name!r} is a slice of a block that is not an option itself")
            if any(isinstance(part, Choice) for part in option.block.modules()):
                raise SearchSpaceError(f"option {name!r} is a slice of a block that holds a choice")
            self._slices[name] = wholes[id(option.block)], option.sizes

    def option(self, name: str) -> nn.Module:
        """The option itself, sharing its weights. Raises SearchSpaceError for a name it does not have."""
        if name not in self.options:
            raise SearchSpaceError(f"no option {name!r}; the options are {', '.join(self.options)}")
        if name in self._slices:
            whole, sizes = self._slices[name]
            return Sliced(self.option(whole), sizes)
        option: nn.Module = self._modules[module_name(name)]  # type: ignore[assignment]  # set in __init__
        made = getattr(option, "as_option", None)  # what holds only what it is made of
        return made() if callable(made) else option

    def slice_of(self, name: str) -> tuple[str, dict[str, int]]:
        """The option that this one is a slice of, and its sizes; of one that is no slice itself, and none."""
        return self._slices.get(name, (name, {}))

    def extract(self, name: str) -> nn.Module:
        """A plain copy of an option, for pricing it and for standing in a selected network."""
        return copy.deepcopy(self.option(name))

    def forward(self, *inputs: Tensor) -> Tensor:
        raise UnboundChoiceError(
            f"a Choice of {', '.join(self.options)} was called outside a supernet: "
            "call Supernet(space)(inputs, mixture), or select(network, architecture) for a plain network"
        )


def module_name(option: str) -> str:
    """An option's name as part of a path: module names must not hold dots, option names may."""
    return option.replace("%", "%25").replace(".", "%2E")


def join(path: str, name: str) -> str:
    """The path of a child."""
    return f"{path}.{name}" if path else name


def choices(network: nn.Module) -> dict[str, Choice]:
    """Every choice by its path, outer before inner. Raises SearchSpaceError when there is none.

    One that stands at several places takes one decision and has the path of the first, but where it stands in
    several options of a choice around it, only one of which can be taken, it has a path in each: see `twins`.
    """
    found: dict[str, Choice] = {}

    def visit(module: nn.Module, path: str, seen: set[nn.Module]) -> None:
        if module in seen:
            return
        seen.add(module)
        if isinstance(module, Choice):
            found[path] = module
        for name, child in module.named_children():
            visit(child, join(path, name), set() if isinstance(module, Choice) else seen)

    visit(network, "", set())
    if not found:
        raise SearchSpaceError(f"{type(network).__name__} holds no Choice: there is nothing to search")
    return found


def twins(found: Mapping[str, Choice]) -> dict[str, str]:
    """For each choice the path where it comes first: it has several where options share what it stands in."""
    first: dict[Choice, str] = {}
    return {path: first.setdefault(choice, path) for path, choice in found.items()}


def parents(network: nn.Module) -> dict[str, tuple[str, str] | None]:
    """For each choice the (path, option) that it is nested in, or None: it counts only if that is taken."""
    found = choices(network)
    return {path: _parent(path, found) for path in found}


def _parent(path: str, found: Mapping[str, Choice]) -> tuple[str, str] | None:
    outer = [p for p in found if p != path and (p == "" or path.startswith(p + "."))]
    if not outer:
        return None
    nearest = max(outer, key=len)
    child = path[len(nearest) :].lstrip(".").split(".")[0]
    return nearest, next(name for name in found[nearest].options if module_name(name) == child)
