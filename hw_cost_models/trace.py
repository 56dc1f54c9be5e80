"""What a module does on its inputs: a graph of operators, the life of every tensor, and what they cost.

A dispatch mode listens to the operators of one forward over fake tensors, which have shapes but no data: any
module, in milliseconds. Where a shape depends on data (routing), or an operator knows no fakes,
the forward runs again on the real inputs.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hw_cost_models import formulas
from hw_cost_models.cost import Cost
from hw_cost_models.evaluating import evaluating

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Storage:
    """Memory of one or more tensors that are views of each other: alive in the steps `born` to `dies`.

    A step is the number of an operator. Inputs are born in step -1, outputs outlive the last step.
    """

    bytes: int
    born: int
    dies: int


def trace(module: nn.Module, inputs: tuple[Tensor, ...]) -> nx.DiGraph:
    """The operators of one forward in evaluation, in order: nodes 0, 1, …, edges from producer to consumer.

    A node has `operator`, `shapes` and `dtypes` (of its outputs), `flops`, `bytes_read`, `bytes_written` and
    `free`: views move nothing, and what depends on weights alone is computed before the network ever runs
    (exporters and runtimes fold it). `graph.graph["storages"]` holds the lifetimes of everything else than
    weights. Raises UnknownOperatorError for an operator without a formula.
    """
    weights = [*module.parameters(), *module.buffers()]
    try:
        return _record(module, inputs, weights, FakeTensorMode(allow_non_fake_inputs=True))
    except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException):
        return _record(module, inputs, weights, None)


def static_cost(module: nn.Module, inputs: tuple[Tensor, ...]) -> Cost:
    """Everything but the latency, which stays 0.

    `parameters` are the non-zero ones; of a tensor that is zero throughout all, since it is one that training
    has not reached yet, such as a bias. A submodule that has a method `nonzero_parameters() -> int` is asked
    instead of having its own parameters counted: one that masks its weights in the forward knows better.
    """
    graph = trace(module, inputs)
    weights = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return Cost(
        flops=float(sum(flops for _, flops in graph.nodes.data("flops"))),
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in weights.values()),
        parameters=_nonzero_parameters(module),
        peak_activation_bytes=peak_bytes(graph.graph["storages"]),
    )


def peak_bytes(storages: Iterable[Storage]) -> int:
    """The largest sum of storages alive in one step."""
    change: Counter[int] = Counter()
    for storage in storages:
        change[storage.born] += storage.bytes
        change[storage.dies + 1] -= storage.bytes
    alive = peak = 0
    for step in sorted(change):
        alive += change[step]
        peak = max(peak, alive)
    return peak


def _nonzero_parameters(module: nn.Module) -> int:
    total, seen = 0, set[int]()
    for part in module.modules():
        own = [p for p in part.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        knows = getattr(part, "nonzero_parameters", None)
        total += knows() if callable(knows) else sum(int(torch.count_nonzero(p)) or p.numel() for p in own)
    return total


def _record(
    module: nn.Module, inputs: tuple[Tensor, ...], weights: list[Tensor], fake: FakeTensorMode | None
) -> nx.DiGraph:
    if fake is not None:
        inputs = tuple(fake.from_tensor(tensor) for tensor in inputs)
    recorder = _Recorder(inputs, weights)
    with ExitStack() as modes:
        modes.enter_context(evaluating(module))
        modes.enter_context(torch.no_grad())
        if fake is not None:
            modes.enter_context(fake)
        modes.enter_context(recorder)
        outputs = module(*inputs)
    return recorder.finish([leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)])


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Listens to operators; holds every tensor it saw, so that no two of them ever share an address."""

    def __init__(self, inputs: tuple[Tensor, ...], weights: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.graph = nx.DiGraph()
        self.tensors: list[Tensor] = [*inputs, *weights]
        self.producers: dict[int, int] = {}  # tensor -> the operator that returned it
        self.writers: dict[int, int] = {}  # storage -> the operator that last changed it in place
        self.constant = {_storage(tensor) for tensor in weights}
        self.sizes = {_storage(tensor): _size(tensor) for tensor in inputs}
        self.born = dict.fromkeys(self.sizes, -1)
        self.dies = dict.fromkeys(self.sizes, -1)

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = _tensors((args, kwargs))
        outputs = _tensors(result)
        if outputs:  # a question about a tensor, such as its device, is no work
            self._note(formulas.Call(func, args, inputs, outputs))
        return result

    def _note(self, call: formulas.Call) -> None:
        step = self.graph.number_of_nodes()
        self.tensors += [*call.inputs, *call.outputs]
        # What is neither input nor computed was there before: a literal, or a tensor that is no buffer.
        self.constant.update({_storage(tensor) for tensor in call.inputs} - self.sizes.keys())
        changes = call.operator._schema.is_mutable
        free = not changes and (self._is_view(call) or self._is_constant(call))
        self.graph.add_node(
            step,
            operator=call.operator,
            shapes=[tuple(tensor.shape) for tensor in call.outputs],
            dtypes=[tensor.dtype for tensor in call.outputs],
            flops=0.0 if free else formulas.flops(call),
            bytes_read=0 if free else formulas.bytes_read(call),
            bytes_written=0 if free else formulas.bytes_written(call),
            free=free,
        )
        self._connect(step, call)
        self._live(step, call)
        if changes:
            self.writers.update({_storage(tensor): step for tensor in call.outputs})

    def _is_view(self, call: formulas.Call) -> bool:
        sources = {_storage(tensor) for tensor in call.inputs}
        return all(_storage(tensor) in sources for tensor in call.outputs)

    def _is_constant(self, call: formulas.Call) -> bool:
        return bool(call.inputs) and all(_storage(tensor) in self.constant for tensor in call.inputs)

    def _connect(self, step: int, call: formulas.Call) -> None:
        for tensor in call.inputs:
            for source in (self.producers.get(id(tensor)), self.writers.get(_storage(tensor))):
                if source is not None:
                    self.graph.add_edge(source, step)
        self.producers.update({id(tensor): step for tensor in call.outputs})

    def _live(self, step: int, call: formulas.Call) -> None:
        folded = self._is_constant(call)
        for tensor in call.inputs:
            if _storage(tensor) in self.dies:
                self.dies[_storage(tensor)] = step
        for tensor in call.outputs:
            storage = _storage(tensor)
            if folded and storage not in self.dies:
                self.constant.add(storage)
            elif storage not in self.constant:
                self.born.setdefault(storage, step)
                self.sizes.setdefault(storage, _size(tensor))
                self.dies[storage] = step

    def finish(self, outputs: list[Tensor]) -> nx.DiGraph:
        for tensor in outputs:
            if _storage(tensor) in self.dies:
                self.dies[_storage(tensor)] = self.graph.number_of_nodes()
        self.graph.graph["storages"] = tuple(
            Storage(self.sizes[key], born, self.dies[key]) for key, born in self.born.items()
        )
        return self.graph


def _tensors(value: Any) -> tuple[Tensor, ...]:
    return tuple(leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _size(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()
