"""Binding: from a network with choices to one that runs.

A network that holds choices never runs as it is. `bind(network, mixture)` returns a *view*: the same
modules and parameters, with every Choice replaced by what the mixture says. Where one option runs with
weight one, the view holds that very option and nothing else, so a single path costs what the plain network
costs, and `select` is a copy of that same view. Options that are slices of one block run as a slice of it, or
where several of them do, as one forward (see `search_spaces.elastic`). Because the binding is in the view and
not in a global or on the modules, it survives activation checkpointing, which calls parts of a forward again
much later.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.choice import Choice, Mixture, choices, join, module_name, parents
from search_spaces.elastic import Masked
from search_spaces.errors import SearchSpaceError
from search_spaces.view import view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from search_spaces.architecture import Architecture


def substitute(
    network: nn.Module, stand_in: Callable[[str, Choice], nn.Module], prefix: str = ""
) -> nn.Module:
    """A view of the network in which `stand_in(path, choice)` stands for every outermost Choice.

    `prefix` is the path of `network` itself.
    """

    def instead(path: str, module: nn.Module) -> nn.Module | None:
        return stand_in(path, module) if isinstance(module, Choice) else None

    return view(network, instead, prefix)


def bind(network: nn.Module, mixture: Mixture, prefix: str = "") -> nn.Module:
    """A view of the network in which every reached Choice runs as the mixture says; parameters are shared.

    Raises SearchSpaceError when the mixture lacks a reached choice or names an option it does not have.
    """

    def stand_in(path: str, choice: Choice) -> nn.Module:
        weights = mixture.weights.get(path)
        if not weights:
            raise SearchSpaceError(f"the mixture says nothing about choice {path!r}")
        running = {
            name: bind(choice.option(name), mixture, join(path, module_name(name))) for name in weights
        }
        if len(running) > 1:
            return _Mixed(path, *_merged(choice, running, weights))
        ((option, weight),) = zip(running.values(), weights.values(), strict=True)
        return option if weight is None else _SinglePath(option, weight)

    return substitute(network, stand_in, prefix)


def _merged(
    choice: Choice, running: Mapping[str, nn.Module], weights: Mapping[str, Tensor | None]
) -> tuple[dict[str, nn.Module], dict[str, Tensor | None]]:
    """The same with one option in place of those that are parts of one block; its weights are inside it."""
    families: dict[str, list[str]] = {}
    for name in running:
        families.setdefault(choice.slice_of(name)[0], []).append(name)
    options, left = dict(running), dict(weights)
    for whole, names in families.items():
        if len(names) > 1:
            sizes = [choice.slice_of(name)[1] for name in names]
            options[whole] = Masked(choice.option(whole), sizes, [weights[name] for name in names])
            left[whole] = None
            for name in set(names) - {whole}:
                del options[name], left[name]
    return options, left


class _SinglePath(nn.Module):
    """Where one option runs under a weight that carries a gradient: x + weight (y - x).

    The option is weighed against doing nothing, so the gradient of the weight is <dL/dy, y - x>: what every
    option has in common, the residual stream, says nothing about which is better. Where an option changes
    the shape, doing nothing is zero.
    """

    def __init__(self, option: nn.Module, weight: Tensor) -> None:
        super().__init__()
        self.option = option
        self.weight = weight

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        y: Tensor = self.option(x, *context)
        return torch.lerp(x, y, self.weight) if x.shape == y.shape else self.weight * y


class _Mixed(nn.Module):
    """Where several options run: the weighted sum of their outputs."""

    def __init__(
        self, path: str, options: Mapping[str, nn.Module], weights: Mapping[str, Tensor | None]
    ) -> None:
        super().__init__()
        self.path = path
        self.names = tuple(options)
        self.running = nn.ModuleList(options.values())
        self.weights = tuple(weights[name] for name in options)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        outputs = [option(x, *context) for option in self.running]
        for name, y in zip(self.names, outputs, strict=True):
            if y.shape != outputs[0].shape:
                raise SearchSpaceError(
                    f"choice {self.path!r}: option {name!r} returns shape {tuple(y.shape)}, "
                    f"option {self.names[0]!r} returns {tuple(outputs[0].shape)}; options must agree"
                )
        return torch.stack(
            [y if w is None else w * y for w, y in zip(self.weights, outputs, strict=True)]
        ).sum(0)


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
