"""Views: a network with other modules in some places, sharing everything else with the original."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from search_spaces.choice import join

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


def view(
    network: nn.Module, instead: Callable[[str, nn.Module], nn.Module | None], prefix: str = ""
) -> nn.Module:
    """A view in which `instead(path, module)` stands wherever it gives one, and is not asked inside it.

    Only modules on the way to a replaced one are copied, and those shallowly: parameters, buffers and
    everything else are shared. A module that stands at several places stands there in the view, too, and is
    asked about once. `prefix` is the path of `network` itself.
    """
    views: dict[int, nn.Module] = {}

    def build(module: nn.Module, path: str) -> nn.Module:
        if id(module) not in views:
            views[id(module)] = instead(path, module) or _with_children(module, path)
        return views[id(module)]

    def _with_children(module: nn.Module, path: str) -> nn.Module:
        children = {
            name: None if child is None else build(child, join(path, name))
            for name, child in module._modules.items()
        }
        if all(children[name] is child for name, child in module._modules.items()):
            return module
        twin = copy.copy(module)
        twin._modules = children
        return twin

    return build(network, prefix)
