"""Modules as ONNX files: one network, or many options in a single pass of the exporter.

The exporter spends a second on things that do not grow with the graph, so a few small modules are exported as
one graph, from which each is cut out again.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hw_cost_models.cut_out import cut_out
from hw_cost_models.errors import ExportError
from hw_cost_models.evaluating import evaluating
from hw_cost_models.exporter import readied
from hw_cost_models.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import onnx

    from hw_cost_models.cost import Item

_MODULES_IN_A_BATCH = 30
"""A few options, or a whole network: the exporter's time grows faster than the graph. All blocks of a small
hybrid-lm took 67 s of CPU with 25, 81 with 50 and 92 with 120."""

_ROOM = 256
"""How long an example is made for the exporter: several chunks or windows of the blocks people use."""


def export_onnx(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    *,
    dynamic: Mapping[int, str],
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> None:
    """Write the module, as it is in evaluation, to one ONNX file with its weights inside.

    `dynamic` names the dimensions that stay free, by index; they apply to every input that has them. A module
    that has a method `free_dimensions() -> Sequence[Mapping[int, str]]`, one for each input, is asked
    instead: the state of a sequence has other dimensions than its tokens. Raises
    ExportError when the module cannot be exported, OSError when the file cannot be written.
    """
    free = _free_dimensions(module, inputs, dynamic)
    model = _to_onnx(module, inputs, free, list(input_names), list(output_names))
    write_atomic(path, model.SerializeToString())


def export_many(items: Mapping[str, Item], folder: Path, dynamic: Mapping[int, str]) -> dict[str, Path]:
    """Write each module to its own file `folder/0.onnx`, `folder/1.onnx`, …, by name.

    Tensors that are the same object are one input. Raises ExportError, naming the item, when one of
    the modules cannot be exported.
    """
    files = {name: folder / f"{number}.onnx" for number, name in enumerate(items)}
    for names in _batches(items):
        _export_batch({name: items[name] for name in names}, files, dynamic)
    return files


def _batches(items: Mapping[str, Item]) -> list[list[str]]:
    """Names in order, as many in a batch as make up a graph that is still quick to export."""
    batches: list[list[str]] = []
    room = 0
    for name, (module, _) in items.items():
        size = sum(1 for _ in module.modules())
        if size > room:
            batches.append([])
            room = _MODULES_IN_A_BATCH
        batches[-1].append(name)
        room -= size
    return batches


def _export_batch(items: Mapping[str, Item], files: Mapping[str, Path], dynamic: Mapping[int, str]) -> None:
    together = _Together(items, dynamic)
    try:
        joint = _to_onnx(
            together, together.inputs, together.free, together.input_names, together.output_names
        )
    except ExportError:
        joint = None  # exported one by one, either all succeed or the culprit is named
    for name in items:
        model = joint and cut_out(joint, together.inputs_of(name), together.outputs_of(name))
        model = model or _alone(name, items[name], dynamic)
        write_atomic(files[name], model.SerializeToString())


def feeds(path: Path, inputs: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    """The inputs as ONNX Runtime takes them: names of the file's inputs, in order, to arrays."""
    import onnx

    names = [value.name for value in onnx.load(str(path), load_external_data=False).graph.input]
    return {
        name: tensor.detach().cpu().numpy()
        for name, tensor in zip(names, _distinct(inputs).values(), strict=True)
    }


class _Together(nn.Module):
    """All items as one module: every distinct tensor an input, every item's outputs in a row."""

    def __init__(self, items: Mapping[str, Item], dynamic: Mapping[int, str]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(module for module, _ in items.values())
        distinct = _distinct(tuple(tensor for _, inputs in items.values() for tensor in inputs))
        position = {key: index for index, key in enumerate(distinct)}
        self.inputs = tuple(distinct.values())
        free = {
            id(tensor): dimensions
            for module, inputs in items.values()
            for tensor, dimensions in zip(inputs, _free_dimensions(module, inputs, dynamic), strict=True)
        }
        self.free = [free[key] for key in distinct]
        self.arguments = {name: [position[id(t)] for t in inputs] for name, (_, inputs) in items.items()}
        self.counts = {name: _count_outputs(*item) for name, item in items.items()}
        self.input_names = [f"input_{index}" for index in range(len(self.inputs))]
        self.output_names = [name for item in items for name in self.outputs_of(item)]

    def inputs_of(self, name: str) -> list[str]:
        return list(dict.fromkeys(f"input_{index}" for index in self.arguments[name]))

    def outputs_of(self, name: str) -> list[str]:
        number = list(self.counts).index(name)
        return [f"output_{number}_{index}" for index in range(self.counts[name])]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        results: list[Tensor] = []
        for module, positions in zip(self.parts, self.arguments.values(), strict=True):
            result = module(*(tensors[position] for position in positions))
            results.extend([result] if isinstance(result, Tensor) else result)
        return tuple(results)


def _distinct(tensors: tuple[Tensor, ...]) -> dict[int, Tensor]:
    return {id(tensor): tensor for tensor in tensors}


def _count_outputs(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    with evaluating(module), torch.no_grad():
        result = module(*inputs)
    return 1 if isinstance(result, Tensor) else len(result)


def _alone(name: str, item: Item, dynamic: Mapping[int, str]) -> onnx.ModelProto:
    single = _Together({name: item}, dynamic)
    try:
        return _to_onnx(single, single.inputs, single.free, single.input_names, single.output_names)
    except ExportError as error:
        raise ExportError(error.said, name) from error


def _free_dimensions(
    module: nn.Module, inputs: tuple[Tensor, ...], dynamic: Mapping[int, str]
) -> Sequence[Mapping[int, str]]:
    """The free dimensions of each input."""
    knows = getattr(module, "free_dimensions", None)
    if callable(knows):
        return list(knows())
    return [{d: name for d, name in dynamic.items() if d < tensor.dim()} for tensor in inputs]


def _to_onnx(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    free: Sequence[Mapping[int, str]],
    input_names: list[str],
    output_names: list[str],
) -> onnx.ModelProto:
    def program(room: int) -> torch.onnx.ONNXProgram:
        examples = tuple(_roomy(t, dimensions, room) for t, dimensions in zip(inputs, free, strict=True))
        return _program(module, examples, free, input_names, output_names)

    try:
        made = program(_ROOM)
    except torch.onnx.OnnxExporterError:  # perhaps a table of positions ends before the roomy example does
        try:
            made = program(2)
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(f"{_describe(module)} cannot be exported: {_cause(error)}") from error
    return _without_traces(made.model_proto)


def _program(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    free: Sequence[Mapping[int, str]],
    input_names: list[str],
    output_names: list[str],
) -> torch.onnx.ONNXProgram:
    with evaluating(module), readied(), torch.no_grad():
        program = torch.onnx.export(
            module,
            examples,
            dynamo=True,
            dynamic_shapes=_arranged(module, free),
            input_names=input_names,
            output_names=output_names,
            verbose=False,
        )
    assert program is not None
    return program


def _arranged(module: nn.Module, free: Sequence[Mapping[int, str]]) -> tuple[Any, ...]:
    """The free dimensions as the exporter wants them: those in one starred argument are one tuple."""
    shapes = tuple(dict(dimensions) for dimensions in free)
    for position, parameter in enumerate(inspect.signature(module.forward).parameters.values()):
        if parameter.kind is parameter.VAR_POSITIONAL:
            return (*shapes[:position], shapes[position:])
    return shapes


def _roomy(tensor: Tensor, free: Mapping[int, str], room: int) -> Tensor:
    """The input with at least two in its free dimensions, and `room` in those beside the first, the batch.

    The exporter fixes for good every dimension that is one in its example: a batch of one, but also the one
    chunk of a block that works in chunks as long as the whole example. Only shapes matter: nothing runs.
    """
    for dimension in free:
        if size := tensor.shape[dimension]:
            wanted = room if dimension and size > 1 else 2
            tensor = torch.cat([tensor] * -(-wanted // size), dimension)
    return tensor


def _describe(module: nn.Module) -> str:
    parts = module.parts if isinstance(module, _Together) else [module]
    return ", ".join(type(part).__name__ for part in parts)


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without stack traces, which hold the paths of this machine, and without inner shapes.

    The exporter gives each inner dimension an expression of its own, by which ONNX Runtime fails to see that
    two tensors have one size: left to infer the shapes itself, it reuses more memory (arenas of hybrid-lm
    architectures shrink by a third, at the same speed).
    """
    _clear_traces(model.graph)
    return model


def _clear_traces(graph: onnx.GraphProto) -> None:
    """Those of loop bodies and branches, too."""
    for field in ("value_info", "metadata_props"):
        graph.ClearField(field)
    for node in graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _clear_traces(attribute.g)
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.ClearField("metadata_props")
