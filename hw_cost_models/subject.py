"""What a person names to have it priced: an ONNX file, or a function that builds a module with its inputs."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from hw_cost_models.errors import HardwareCostError, SubjectError
from hw_cost_models.onnx_graph import read_onnx
from hw_cost_models.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


def returned_by(target: str) -> object:
    """What the function of `module:function` returns, called without arguments.

    The module is sought in the current folder, too. Raises SubjectError, in one line, for a module or a
    function that is missing, and for what they raise.
    """
    place, colon, name = target.partition(":")
    if not colon or not place or not name:
        raise SubjectError(f"{target!r} is not of the form module:function")
    if place.endswith(".py"):
        raise SubjectError(f"{target}: a module is named without .py, as {place.removesuffix('.py')}:{name}")
    sys.path.insert(0, os.getcwd())
    try:
        function = _function(place, name, target)
        return function()
    except SubjectError:
        raise
    except Exception as error:
        raise SubjectError(f"{target}: {_last_line(error)}") from error
    finally:
        sys.path.remove(os.getcwd())


def _function(place: str, name: str, target: str) -> Callable[[], object]:
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise  # something that it imports
        raise SubjectError(
            f"{target}: no module {error.name!r} in {os.getcwd()}, and none is installed: "
            "start where it can be imported, or install it"
        ) from None
    function: object = getattr(module, name, None)
    if not callable(function):
        own = [n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == place]
        has = f"; it has {', '.join(own)}" if own else ""
        raise SubjectError(f"{target}: module {place!r} has no function {name!r}{has}")
    return function


def _last_line(error: Exception) -> str:
    """What went wrong, and the innermost line of it in the folder of the function's own file."""
    said = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
    if isinstance(error, SyntaxError):
        return f"{said} ({error.filename}, line {error.lineno})"
    frames, passed = traceback.extract_tb(error.__traceback__), ("<", __file__, importlib.__file__)
    entered = [frame for frame in frames if not frame.filename.startswith(passed)]
    if not entered:
        return said
    folder = Path(entered[0].filename).parent
    last = [frame for frame in entered if Path(frame.filename).is_relative_to(folder)][-1]
    return f"{said} ({last.filename}, line {last.lineno})"


def _built(target: str) -> Item:
    if ":" not in target:
        raise SubjectError(f"{target!r} is neither a file that ends in .onnx nor of the form module:function")
    built = returned_by(target)
    match built:
        case (nn.Module() as module, tuple() as inputs) if all(isinstance(t, Tensor) for t in inputs):
            return module, inputs
    raise SubjectError(
        f"{target}: the function must return (module, (tensor, ...)), it returned {type(built).__name__}"
    )
