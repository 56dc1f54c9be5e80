"""What a module does on its inputs: a graph of operators, the life of every tensor, and what they cost.

A dispatch mode listens to the operators of one forward over fake tensors, which have shapes but no data: any
module, in milliseconds. Where a shape depends on data (routing), or an operator knows no fakes,
the forward runs again on the real inputs.
"""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hw_cost_models.cost import Cost
from hw_cost_models.errors import HardwareCostError
from hw_cost_models.evaluating import evaluating
from hw_cost_models.graph import Unknown, peak_bytes
from hw_cost_models.operator_call import size, tensors, type_name
from hw_cost_models.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import networkx as nx

    from hw_cost_models.cost import Item

_NO_COMPILER = "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG"


def trace(module: nn.Module, inputs: tuple[Tensor, ...], unknown: Unknown = "error") -> nx.DiGraph:
    """The operators of one forward in evaluation, as `hw_cost_models.graph` describes them.

    `free` are views, which move nothing, and what depends on weights alone: it is computed before the network
    ever runs (exporters and runtimes fold it). The weights are all parameters and buffers.

    Raises UnknownOperatorError for an operator without a formula; with `unknown="skip"` it counts no
    operations and lowers the coverage. Raises HardwareCostError when the module does not run on the inputs.
    """
    try:
        with _silently():
            return _record(module, inputs, unknown, FakeTensorMode(allow_non_fake_inputs=True))
    except HardwareCostError:
        raise
    except Exception:  # whatever a module does to data that is not there: the real inputs decide
        try:
            return _record(module, inputs, unknown, None)
        except HardwareCostError:
            raise
        except Exception as error:
            raise _refusal(module, inputs, error) from error


def static_cost(module: nn.Module, inputs: tuple[Tensor, ...], graph: nx.DiGraph | None = None) -> Cost:
    """Everything but the latency, which stays 0. `graph` is what `trace` gave, where it has been traced.

    `parameters` are the non-zero ones; of a tensor that is zero throughout all, since it is one that training
    has not reached yet, such as a bias. A submodule that has a method `nonzero_parameters() -> int` is asked
    instead of having its own parameters counted: one that masks its weights in the forward knows better.
    """
    graph = graph if graph is not None else trace(module, inputs)
    return Cost(
        flops=float(sum(flops for _, flops in graph.nodes.data("flops"))),
        weight_bytes=graph.graph["weight_bytes"],
        parameters=nonzero_parameters(module),
        peak_activation_bytes=peak_bytes(graph.graph["storages"]),
    )


def static_costs(items: Mapping[str, Item]) -> dict[str, Cost]:
    """The same of many."""
    return {name: static_cost(*item) for name, item in items.items()}


def nonzero_parameters(module: nn.Module) -> int:
    """As `static_cost` counts them."""
    total, seen = 0, set[int]()
    for part in module.modules():
        own = [p for p in part.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        knows = getattr(part, "nonzero_parameters", None)
        total += knows() if callable(knows) else sum(int(torch.count_nonzero(p)) or p.numel() for p in own)
    return total


def _record(
    module: nn.Module, inputs: tuple[Tensor, ...], unknown: Unknown, fake: FakeTensorMode | None
) -> nx.DiGraph:
    weights = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    if fake is not None:
        inputs = tuple(fake.from_tensor(tensor) for tensor in inputs)
    recorder = Recorder(inputs, unknown, fake)
    with ExitStack() as modes:
        modes.enter_context(evaluating(module))
        modes.enter_context(_unfused())
        modes.enter_context(torch.no_grad())
        if fake is not None:
            modes.enter_context(fake)
        modes.enter_context(recorder)
        outputs = module(*inputs)
    return recorder.finish(tensors(outputs), sum(map(size, weights.values())))


@contextmanager
def _silently() -> Iterator[None]:
    """Without the traceback that fake tensors log of an error: it is handled."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def _unfused() -> Iterator[None]:
    """Without PyTorch's single operator for a whole transformer layer, which exporters do not take.

    And without the compiler that flexible attention calls for.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    flexible = sys.modules.get("torch.nn.attention.flex_attention")  # a module that has it has imported it
    compiles_not = getattr(flexible, _NO_COMPILER, None)
    torch.backends.mha.set_fastpath_enabled(False)
    if compiles_not is not None:
        setattr(flexible, _NO_COMPILER, True)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        if compiles_not is not None:
            setattr(flexible, _NO_COMPILER, compiles_not)


def _refusal(module: nn.Module, inputs: tuple[Tensor, ...], error: Exception) -> HardwareCostError:
    given = ", ".join(f"{type_name(tensor.dtype)} {tuple(tensor.shape)}" for tensor in inputs)
    cause = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return HardwareCostError(
        f"{type(module).__name__} does not run on the inputs {given or 'none'}: {cause}; "
        "give it those that its forward takes"
    )
