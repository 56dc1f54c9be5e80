"""PyTorch: eager, and compiled by torch.compile.

It runs modules, not files. A module reaches the measuring process by a pipe, pickled by the process that
started it, and no file is unpickled. A saved program would be no safer way: `torch.export.load` falls back to
plain unpickling where a safe load fails, and evaluates the expressions of dynamic shapes as Python. It would
not be the same program either, but a graph of aten operators.
"""

from __future__ import annotations

import pickle
from typing import IO, TYPE_CHECKING, Any, ClassVar

from hw_cost_models.errors import MeasurementError
from hw_cost_models.runtimes.clocks import clock_for
from hw_cost_models.runtimes.runtime import Bound, in_short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from hw_cost_models.cost import Item

_MANY = 10_000
"""Compiled variants of one function: every option of one class is a variant of its forward."""


class PyTorch:
    """Runs modules as they are, in evaluation mode and without gradients, on a device of PyTorch."""

    takes_modules: ClassVar[bool] = True

    def __init__(self, provider: str, threads: int) -> None:
        import torch

        try:
            torch.empty(1, device=provider).cpu()
        except (RuntimeError, AssertionError):  # NotImplementedError, for a backend left out, is the former
            raise MeasurementError(
                f"this PyTorch ({torch.__version__}) cannot use {provider!r}; it has {', '.join(_devices())}"
            ) from None
        self.provider = provider
        self.threads = threads
        self.clock = clock_for(threads, on_cpu=torch.device(provider).type == "cpu")

    @staticmethod
    def version() -> str:
        import torch

        return str(torch.__version__)

    def bind(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> Bound:
        import torch

        torch.set_num_threads(self.threads)
        forward = self.prepared(network.eval().to(self.provider))

        def run() -> list[Any]:
            with torch.inference_mode():
                return [output.cpu() for output in _tensors(forward(*(x.to(self.provider) for x in inputs)))]

        try:
            run()
        except Exception as error:  # whatever the module raises
            raise MeasurementError(in_short(f"{type(error).__name__}: {error}")) from None
        return Bound(run)

    def prepared(self, network: nn.Module) -> Callable[..., Any]:
        """What is called to run the network."""
        return network


class CompiledPyTorch(PyTorch):
    """The same through torch.compile, for these very shapes; it needs a C++ compiler, and seconds to minutes.

    Left to itself, torch.compile makes kernels for any shape once it has seen a class with two: a network's
    time would hang on the networks before it.
    """

    def prepared(self, network: nn.Module) -> Callable[..., Any]:
        import torch
        import torch._dynamo as dynamo

        # Beyond its limit torch.compile would run further networks of a class eagerly, without a word.
        dynamo.config.recompile_limit = dynamo.config.accumulated_recompile_limit = _MANY
        dynamo.config.fail_on_recompile_limit_hit = True
        compiled: Callable[..., Any] = torch.compile(network, dynamic=False)
        return compiled


def write_items(stream: IO[bytes], items: Mapping[str, Item]) -> None:
    """Hand the items to a process that reads them with `read_items`.

    Raises MeasurementError, naming the item, for a module that cannot be pickled.
    """
    try:
        import cloudpickle
    except ImportError:
        raise MeasurementError(
            "measuring in PyTorch needs cloudpickle; install the extra: pip install 'dnas[pytorch]'"
        ) from None
    for name, item in items.items():
        try:
            data = cloudpickle.dumps(item)
        except Exception as error:  # whatever the parts of the module raise
            raise MeasurementError(
                f"{name}: {type(item[0]).__name__} cannot be handed to the measuring process: "
                f"{in_short(str(error))}"
            ) from None
        stream.write(data)


def read_items(stream: IO[bytes], names: list[str]) -> list[Item]:
    """What `write_items` wrote, in the process that its writer started."""
    items: list[Item] = []
    for name in names:
        try:
            items.append(pickle.load(stream))
        except Exception as error:  # whatever an import raises
            raise MeasurementError(
                f"{name} cannot be made again in the measuring process: {in_short(str(error))}; "
                "its class must be importable"
            ) from None
    return items


def _tensors(outputs: Any) -> list[Tensor]:
    """The tensors of any nesting of tuples, lists and dictionaries, in order."""
    from torch import Tensor
    from torch.utils._pytree import tree_leaves

    if isinstance(outputs, Tensor):
        return [outputs]
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _devices() -> list[str]:
    import torch

    accelerator = torch.accelerator.current_accelerator()
    return ["cpu"] if accelerator is None else ["cpu", accelerator.type]
