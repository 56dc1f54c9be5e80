"""A dispatch mode that listens to the operators of a forward and puts them into a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from hw_cost_models import call_bytes, formulas, higher_order
from hw_cost_models.eight_bits import EightBits
from hw_cost_models.graph import Operator, Storage, Unknown, add_operator, arithmetic_type, finish
from hw_cost_models.operator_call import Call, tensors, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Listens to operators; holds every tensor it saw, so that no two of them ever share an address.

    `inputs` are what the forward is given; every other tensor that no operator made is a weight or constant.
    With a fake mode below, tensors that are real are made fake on their way to it.
    """

    supports_higher_order_operators = True

    def __init__(self, inputs: Iterable[Tensor], unknown: Unknown, fake: FakeTensorMode | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.graph = nx.DiGraph()
        self.unknown: Unknown = unknown
        self.fake = fake
        self.tensors: list[Tensor] = list(inputs)
        self.unpacked: dict[int, tuple[Any, tuple[Tensor, ...]]] = {}  # packed weights -> themselves, tensors
        self.producers: dict[int, int] = {}  # tensor -> the operator that returned it
        self.writers: dict[int, int] = {}  # storage -> the operator that last changed it in place
        self.constant = set[int]()  # storages
        self.eight_bits = EightBits(_storage)
        self.sizes = {_storage(tensor): tensor.untyped_storage().nbytes() for tensor in self.tensors}
        self.workspaces: list[Storage] = []
        self.born = dict.fromkeys(self.sizes, -1)
        self.dies = dict.fromkeys(self.sizes, -1)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        leaves, form = tree_flatten((args, dict(kwargs or {})))
        if self.fake is not None and any(map(_is_real, leaves)):
            leaves = [self.fake.from_tensor(leaf) if _is_real(leaf) else leaf for leaf in leaves]
        arguments, keywords = tree_unflatten(leaves, form)
        if isinstance(func, torch._ops.HigherOrderOperator):
            return higher_order.run(self, func, arguments, keywords)
        if formulas.is_composite(func):
            with self:
                return func.decompose(*arguments, **keywords)
        result = func(*arguments, **keywords)
        outputs = tensors(result)
        if outputs:  # a question about a tensor, such as its device, is no work
            self._note(Call(func, arguments, keywords, self._inputs(leaves), outputs))
        return result

    def finish(self, outputs: Iterable[Tensor], weight_bytes: int) -> nx.DiGraph:
        """The graph of all that was heard; `outputs` outlive it, and the weights take that many bytes."""
        for tensor in outputs:
            if _storage(tensor) in self.dies:
                self.dies[_storage(tensor)] = self.graph.number_of_nodes()
        storages = (Storage(self.sizes[key], born, self.dies[key]) for key, born in self.born.items())
        return finish(self.graph, (*storages, *self.workspaces), weight_bytes)

    def body(self, function: Callable[..., Any], varying: Sequence[Any], fixed: Sequence[Any]) -> nx.DiGraph:
        """The graph of `function(*varying, *fixed)`, to be called inside of an operator of higher order.

        Of the fixed arguments those that are constant here are constant there, too.
        """
        changing = [leaf for leaf in tensors(fixed) if not self.is_constant((leaf,))]
        inner = Recorder((*tensors(varying), *changing), self.unknown, self.fake)
        with inner:
            result = function(*varying, *fixed)
        return inner.finish(tensors(result), 0)

    def is_constant(self, inputs: tuple[Tensor, ...]) -> bool:
        """Whether all of them are there before the forward begins, and there are any."""
        self._find_constants(inputs)
        return bool(inputs) and all(_storage(tensor) in self.constant for tensor in inputs)

    def place(self, operator: Operator, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> int:
        """Append the operator, connected to the producers of its inputs; its number."""
        self.tensors += [*inputs, *outputs]
        step = add_operator(self.graph, operator)
        for tensor in inputs:
            for source in (self.producers.get(id(tensor)), self.writers.get(_storage(tensor))):
                if source is not None:
                    self.graph.add_edge(source, step)
        self.producers.update({id(tensor): step for tensor in outputs})
        self._live(step, inputs, outputs)
        return step

    def work_in(self, size: int) -> None:
        """The last operator takes that many bytes while it runs."""
        step = self.graph.number_of_nodes() - 1
        self.workspaces.append(Storage(size, step, step))

    def _note(self, call: Call) -> None:
        self._find_constants(call.inputs)
        changes = call.operator._schema.is_mutable and torch.Tag.inplace_view not in call.operator.tags
        free = not changes and (_is_view(call) or self.is_constant(call.inputs))
        step = self.place(self._describe(call, free), call.inputs, call.outputs)
        if changes:
            self.writers.update({_storage(tensor): step for tensor in call.outputs})

    def _describe(self, call: Call, free: bool) -> Operator:
        kind, flops, covered = formulas.price(call, "skip" if free else self.unknown)
        integers = self.eight_bits
        integers.note(call, constant=self.is_constant(call.inputs))
        reads = (
            [] if free else [(tensor, integers.bytes_of(tensor, n)) for tensor, n in call_bytes.reads(call)]
        )
        arithmetic = arithmetic_type(type_name(tensor.dtype) for tensor in (*call.inputs, *call.outputs))
        return Operator(
            operator=str(call.operator.overloadpacket),
            kind=kind,
            shapes=[tuple(tensor.shape) for tensor in call.outputs],
            dtypes=[type_name(tensor.dtype) for tensor in call.outputs],
            input_shapes=[tuple(tensor.shape) for tensor in call.inputs],
            dtype="int8" if integers.multiplies(call, kind) else arithmetic,
            flops=0.0 if free else flops,
            bytes_read=sum(count for _, count in reads),
            bytes_written=0 if free else integers.bytes_of(call.outputs[0], call_bytes.bytes_written(call)),
            weight_bytes=sum(count for tensor, count in reads if _storage(tensor) in self.constant),
            launches=0 if free else 1,
            free=free,
            covered=free or covered,
        )

    def _find_constants(self, inputs: Iterable[Tensor]) -> None:
        """What is neither input nor computed was there before: a weight, a literal."""
        self.constant.update({_storage(tensor) for tensor in inputs} - self.sizes.keys())

    def _live(self, step: int, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        folded = self.is_constant(inputs)
        for tensor in inputs:
            if _storage(tensor) in self.dies:
                self.dies[_storage(tensor)] = step
        for tensor in outputs:
            storage = _storage(tensor)
            if folded and storage not in self.dies:
                self.constant.add(storage)
            elif storage not in self.constant:
                self.born.setdefault(storage, step)
                self.sizes.setdefault(storage, tensor.untyped_storage().nbytes())
                self.dies[storage] = step

    def _inputs(self, leaves: Iterable[Any]) -> tuple[Tensor, ...]:
        """Every tensor among the arguments, packed ones unpacked."""
        found: list[Tensor] = []
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                found.append(leaf)
            elif isinstance(leaf, torch.ScriptObject) and hasattr(leaf, "unpack"):
                if id(leaf) not in self.unpacked:
                    self.unpacked[id(leaf)] = (leaf, tensors(leaf.unpack()))
                found += self.unpacked[id(leaf)][1]
        return tuple(found)


def _is_real(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and not isinstance(leaf, FakeTensor)


def _is_view(call: Call) -> bool:
    sources = {_storage(tensor) for tensor in call.inputs}
    return all(_storage(tensor) in sources for tensor in call.outputs)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
