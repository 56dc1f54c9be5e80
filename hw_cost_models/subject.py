"""What a person names to have it priced: an ONNX file, or a function that builds a module with its inputs."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from hw_cost_models.errors import HardwareCostError, SubjectError
from hw_cost_models.onnx_graph import read_onnx
from hw_cost_models.trace import trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    import networkx as nx

    from hw_cost_models.cost import Item
    from hw_cost_models.graph import Unknown


def graph_of(target: str, dimensions: Mapping[str, int], unknown: Unknown = "error") -> nx.DiGraph:
    """The operators of `FILE.onnx`, or of what `module:function` returns: a module and its inputs.

    `dimensions` set the free ones of a file. The function is imported from the current folder too, and called
    without arguments. Raises SubjectError for what cannot be priced.
    """
    try:
        if target.endswith(".onnx"):
            return read_onnx(Path(target), dimensions, unknown)
        return trace(*_built(target), unknown=unknown)
    except SubjectError:
        raise
    except HardwareCostError as error:
        raise SubjectError(str(error)) from error


def _built(target: str) -> Item:
    place, colon, name = target.partition(":")
    if not colon or not place or not name:
        raise SubjectError(f"{target!r} is neither a file that ends in .onnx nor of the form module:function")
    function = getattr(_imported(place, target), name, None)
    if not callable(function):
        raise SubjectError(f"{target}: module {place!r} has no function {name!r}")
    built = function()
    match built:
        case (nn.Module() as module, tuple() as inputs) if all(isinstance(t, Tensor) for t in inputs):
            return module, inputs
    raise SubjectError(
        f"{target}: the function must return (module, (tensor, ...)), it returned {type(built).__name__}"
    )


def _imported(place: str, target: str) -> object:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise SubjectError(f"{target}: module {place!r} cannot be imported: {error}") from None
    finally:
        sys.path.remove(os.getcwd())
