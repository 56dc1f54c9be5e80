"""What a module does on its inputs: a graph of operators, the life of every tensor, and what they cost.

A dispatch mode listens to the operators of one forward over fake tensors, which have shapes but no data: any
module, in milliseconds. Where a shape depends on data (routing), or an operator knows no fakes,
the forward runs again on the real inputs.
"""

from __future__ import annotations

from contextlib import ExitStack
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
from hw_cost_models.graph import Operator, Storage, Unknown, add_operator, finish, peak_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping


def trace(module: nn.Module, inputs: tuple[Tensor, ...], unknown: Unknown = "error") -> nx.DiGraph:
    """The operators of one forward in evaluation, as `hw_cost_models.graph` describes them.

    `free` are views, which move nothing, and what depends on weights alone: it is computed before the network
    ever runs (exporters and runtimes fold it). The weights are all parameters and buffers.

    Raises UnknownOperatorError for an operator without a formula; with `unknown="skip"` it counts no
    operations and lowers the coverage.
    """
    weights = [*module.parameters(), *module.buffers()]
    try:
        return _record(module, inputs, weights, unknown, FakeTensorMode(allow_non_fake_inputs=True))
    except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException):
        return _record(module, inputs, weights, unknown, None)


def static_cost(module: nn.Module, inputs: tuple[Tensor, ...]) -> Cost:
    """Everything but the latency, which stays 0.

    `parameters` are the non-zero ones; of a tensor that is zero throughout all, since it is one that training
    has not reached yet, such as a bias. A submodule that has a method `nonzero_parameters() -> int` is asked
    instead of having its own parameters counted: one that masks its weights in the forward knows better.
    """
    graph = trace(module, inputs)
    return Cost(
        flops=float(sum(flops for _, flops in graph.nodes.data("flops"))),
        weight_bytes=graph.graph["weight_bytes"],
        parameters=_nonzero_parameters(module),
        peak_activation_bytes=peak_bytes(graph.graph["storages"]),
    )


def _nonzero_parameters(module: nn.Module) -> int:
    total, seen = 0, set[int]()
    for part in module.modules():
        own = [p for p in part.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        knows = getattr(part, "nonzero_parameters", None)
        total += knows() if callable(knows) else sum(int(torch.count_nonzero(p)) or p.numel() for p in own)
    return total


def _record(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    weights: list[Tensor],
    unknown: Unknown,
    fake: FakeTensorMode | None,
) -> nx.DiGraph:
    if fake is not None:
        inputs = tuple(fake.from_tensor(tensor) for tensor in inputs)
    recorder = _Recorder(inputs, weights, unknown)
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

    def __init__(self, inputs: tuple[Tensor, ...], weights: list[Tensor], unknown: Unknown) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.graph = nx.DiGraph()
        self.unknown = unknown
        self.weight_bytes = sum(map(formulas.size, {id(tensor): tensor for tensor in weights}.values()))
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
        self.tensors += [*call.inputs, *call.outputs]
        # What is neither input nor computed was there before: a literal, or a tensor that is no buffer.
        self.constant.update({_storage(tensor) for tensor in call.inputs} - self.sizes.keys())
        changes = call.operator._schema.is_mutable
        free = not changes and (self._is_view(call) or self._is_constant(call))
        step = add_operator(self.graph, self._describe(call, free))
        self._connect(step, call)
        self._live(step, call)
        if changes:
            self.writers.update({_storage(tensor): step for tensor in call.outputs})

    def _describe(self, call: formulas.Call, free: bool) -> Operator:
        kind, flops, covered = formulas.price(call, "skip" if free else self.unknown)
        reads = [] if free else formulas.reads(call)
        return Operator(
            operator=str(call.operator.overloadpacket),
            kind=kind,
            shapes=[tuple(tensor.shape) for tensor in call.outputs],
            dtypes=[_name(tensor.dtype) for tensor in call.outputs],
            input_shapes=[tuple(tensor.shape) for tensor in call.inputs],
            dtype=_name(formulas.arithmetic(call)),
            flops=0.0 if free else flops,
            bytes_read=sum(count for _, count in reads),
            bytes_written=0 if free else formulas.bytes_written(call),
            weight_bytes=sum(count for tensor, count in reads if _storage(tensor) in self.constant),
            free=free,
            covered=free or covered,
        )

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
        storages = (Storage(self.sizes[key], born, self.dies[key]) for key, born in self.born.items())
        return finish(self.graph, storages, self.weight_bytes)


def _tensors(value: Any) -> tuple[Tensor, ...]:
    return tuple(leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _size(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()
