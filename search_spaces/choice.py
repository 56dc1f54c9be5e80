"""Choice: one place in a network with several alternatives, and the mixture that says which of them run.

A network that holds choices never runs as it is. `bind(network, mixture)` returns a *view*: the same
modules and parameters, with every Choice replaced by what the mixture says. Where one option runs with
weight one, the view holds that very option and nothing else, so a single path costs what the plain network
costs, and `select` is a copy of that same view. Because the binding is in the view and not in a global or
on the modules, it survives activation checkpointing, which calls parts of a forward again much later.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.errors import SearchSpaceError, UnboundChoiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search_spaces.architecture import Architecture


@dataclass(frozen=True)
class Mixture:
    """This step's weight for each option, and which options run.

    `weights[path]` holds the options that run at that choice: a scalar tensor through which the gradient
    reaches the architecture parameters, or None for "exactly as it is". `probabilities[path]` has shape
    (options,), in the order of the choice's options; the expected cost is computed from it.
    """

    weights: Mapping[str, Mapping[str, Tensor | None]]
    probabilities: Mapping[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def of(architecture: Architecture) -> Mixture:
        """The one-hot mixture: that architecture alone."""
        return Mixture({path: {option: None} for path, option in architecture.items()})


class Choice(nn.Module):
    """Named options, each an ordinary module that takes the same inputs to an output of the same shape.

    An option is `forward(x, *context) -> y`. Depth is a choice with `nn.Identity()` among its options.
    """

    def __init__(self, options: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if len(options) < 2:
            raise SearchSpaceError(f"a choice needs at least two options, got {list(options)}")
        self.options = tuple(options)
        for name, module in options.items():
            if not name or hasattr(self, _attribute(name)):
                raise SearchSpaceError(f"{name!r} cannot name an option: it is empty, reserved or used twice")
            self.add_module(_attribute(name), module)

    def option(self, name: str) -> nn.Module:
        """The option itself, sharing its weights. Raises SearchSpaceError for a name it does not have."""
        if name not in self.options:
            raise SearchSpaceError(f"no option {name!r}; the options are {', '.join(self.options)}")
        return self._modules[_attribute(name)]  # type: ignore[return-value]  # never None: set in __init__

    def extract(self, name: str) -> nn.Module:
        """A plain copy of an option, for pricing it and for standing in a selected network."""
        return copy.deepcopy(self.option(name))

    def forward(self, *inputs: Tensor) -> Tensor:
        raise UnboundChoiceError(
            f"a Choice of {', '.join(self.options)} was called outside a supernet: "
            "call Supernet(space)(inputs, mixture), or select(network, architecture) for a plain network"
        )


def _attribute(option: str) -> str:
    """Module names must not hold dots; option names may."""
    return option.replace("%", "%25").replace(".", "%2E")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def choices(network: nn.Module) -> dict[str, Choice]:
    """Every choice by its path, outer before inner. Raises SearchSpaceError when there is none."""
    found = {path: module for path, module in network.named_modules() if isinstance(module, Choice)}
    if not found:
        raise SearchSpaceError(f"{type(network).__name__} holds no Choice: there is nothing to search")
    return found


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
    return nearest, next(name for name in found[nearest].options if _attribute(name) == child)


class _Mixed(nn.Module):
    """What stands in a view where a choice runs under weights that carry a gradient."""

    def __init__(
        self, path: str, options: Mapping[str, nn.Module], weights: Mapping[str, Tensor | None]
    ) -> None:
        super().__init__()
        self.path = path
        self.names = tuple(options)
        self.running = nn.ModuleList(options.values())
        self.weights = tuple(weights.values())

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        outputs = [option(x, *context) for option in self.running]
        if len(outputs) == 1:
            return _single_path(outputs[0], x, self.weights[0])
        for name, y in zip(self.names, outputs, strict=True):
            if y.shape != outputs[0].shape:
                raise SearchSpaceError(
                    f"choice {self.path!r}: option {name!r} returns shape {tuple(y.shape)}, "
                    f"option {self.names[0]!r} returns {tuple(outputs[0].shape)}; options must agree"
                )
        return torch.stack(
            [y if w is None else w * y for w, y in zip(self.weights, outputs, strict=True)]
        ).sum(0)


def _single_path(y: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
    """The sampled option's output exactly, with a gradient to its weight: <dL/dy, y - x>.

    The identity is the reference point: what every option has in common (the residual stream) says nothing
    about which is better, and without it the estimate has far less variance.
    """
    if weight is None:
        return y
    reference = x if x.shape == y.shape else torch.zeros_like(y)
    return y + (weight - 1) * (y - reference).detach()


def bind(network: nn.Module, mixture: Mixture) -> nn.Module:
    """A view of the network in which every reached Choice runs as the mixture says; parameters are shared.

    Raises SearchSpaceError when the mixture lacks a reached choice or names an option it does not have.
    """
    on_the_way = {
        path[:i]
        for path in choices(network)
        for i in range(len(path) + 1)
        if i == len(path) or path[i] == "."
    } | {""}
    views: dict[int, nn.Module] = {}

    def view(module: nn.Module, path: str) -> nn.Module:
        if path in on_the_way and id(module) not in views:
            views[id(module)] = replace(module, path)
        return views.get(id(module), module)

    def replace(module: nn.Module, path: str) -> nn.Module:
        if isinstance(module, Choice):
            weights = mixture.weights.get(path)
            if not weights:
                raise SearchSpaceError(f"the mixture says nothing about choice {path!r}")
            running = {name: view(module.option(name), _join(path, _attribute(name))) for name in weights}
            only = next(iter(weights.values())) if len(weights) == 1 else weights
            return next(iter(running.values())) if only is None else _Mixed(path, running, weights)
        twin = copy.copy(module)
        twin._modules = {
            name: None if child is None else view(child, _join(path, name))
            for name, child in module._modules.items()
        }
        return twin

    return view(network, "")


def select(network: nn.Module, architecture: Architecture) -> nn.Module:
    """The architecture as a plain network of its own: a copy without choices, weights inherited.

    Raises SearchSpaceError when the architecture does not fit the network's choices.
    """
    check(network, architecture)
    return copy.deepcopy(bind(network, Mixture.of(architecture)))


def check(network: nn.Module, architecture: Architecture) -> None:
    """Raises SearchSpaceError unless the architecture decides exactly the choices it reaches."""
    found, nesting = choices(network), parents(network)
    unknown = [path for path in architecture if path not in found]
    if unknown:
        raise SearchSpaceError(f"no choice {unknown[0]!r}; the choices are {', '.join(found)}")
    for path, choice in found.items():
        outer = nesting[path]
        reached = outer is None or architecture.get(outer[0]) == outer[1]
        if reached and path not in architecture:
            raise SearchSpaceError(f"the architecture does not decide choice {path!r}")
        if not reached and path in architecture:
            raise SearchSpaceError(f"choice {path!r} is decided but not reached under {outer}")
        if reached:
            choice.option(architecture[path])


def capture_inputs(network: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, tuple[Tensor, ...]]:
    """What each choice is called with, in one forward that runs every option.

    Raises SearchSpaceError, naming choice and option, where an option changes the shape.
    """
    captured: dict[str, tuple[Tensor, ...]] = {}
    found = choices(network)
    even = Mixture({p: {o: torch.tensor(1.0 / len(c.options)) for o in c.options} for p, c in found.items()})
    view = bind(network, even)

    def spy(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, _Mixed)
        captured[module.path] = tuple(t.detach() for t in args)

    for module in view.modules():
        if isinstance(module, _Mixed):  # the view's own stand-in: the user's modules are not touched
            module.register_forward_pre_hook(spy)
    with torch.no_grad():
        view(*inputs)
    return captured
