"""An ONNX file as nodes, values and bodies, without the data of its large weights.

Only shapes matter here, so a weight of more than a few thousand elements is dropped as soon as the file is
read, and data in files of their own are not read: such a file has to be there, and long enough. Nothing from
the file is run.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it has no types
from onnx import TensorProto, external_data_helper, helper, inliner, numpy_helper

from hw_cost_models.errors import DamagedFileError, HardwareCostError
from hw_cost_models.onnx_values import SMALL, Value, constant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_Proto = onnx.NodeProto


@dataclass(frozen=True, eq=False)
class Node:
    """One operator of a file."""

    name: str
    """Its own, or that of its first output."""
    operator: str
    domain: str
    """Empty for the standard's own operators."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    """Numbers, words and tensors; the bodies are apart."""
    bodies: dict[str, Body]
    proto: _Proto

    def attribute(self, name: str, default: Any) -> Any:
        return self.attributes.get(name, default)


@dataclass(frozen=True, eq=False)
class Body:
    """The graph of a file, or of a branch or loop in it."""

    nodes: tuple[Node, ...]
    constants: dict[str, Value]
    """Weights and literals."""
    inputs: tuple[onnx.ValueInfoProto, ...]
    """Those that are no weights."""
    outputs: tuple[str, ...]
    declared: dict[str, onnx.TypeProto] = field(default_factory=dict)
    """The types that the file itself gives to values inside."""

    def captured(self) -> set[str]:
        """Names of values that it takes from outside."""
        known = {*self.constants, *(value.name for value in self.inputs)}
        taken = set[str]()
        for node in self.nodes:
            inner = set().union(*(body.captured() for body in node.bodies.values()))
            taken |= {name for name in (*node.inputs, *inner) if name} - known
            known.update(node.outputs)
        return taken | (set(self.outputs) - known)


@dataclass(frozen=True, eq=False)
class File:
    """The graph of a file and the versions of the operators in it."""

    path: Path
    body: Body
    opsets: dict[str, int]
    ir_version: int


def read_file(path: Path) -> File:
    """Functions that the file defines are taken apart.

    Raises DamagedFileError for a file that is cut short, of another kind, or whose weights are missing, and
    HardwareCostError for one that cannot be read.
    """
    model = _parse(path)
    with understood(path, "the graph"):
        for tensor in _tensors(model.graph):
            _check_external(path, tensor)
            _drop_large(tensor)
        if model.functions:
            model = inliner.inline_local_functions(model)
        opsets = {_domain(entry.domain): entry.version for entry in model.opset_import}
        return File(path, _body(path, model.graph), opsets, model.ir_version)


@contextmanager
def understood(path: Path, what: str) -> Iterator[None]:
    """Raises DamagedFileError for a part of the file that breaks the rules of the format."""
    try:
        yield
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        cause = next(iter(str(error).splitlines()), "")
        raise DamagedFileError(
            f"{path}: {what} is not as ONNX defines it ({type(error).__name__}: {cause}): "
            "see what onnx.checker says of the file, or export it again"
        ) from error


def _parse(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except DecodeError:
        raise DamagedFileError(
            f"{path} is no whole ONNX file: it is cut short or of another kind; "
            "export it again or restore it from a copy"
        ) from None
    except OSError as error:
        raise HardwareCostError(
            f"{path} cannot be read: {error.strerror}; give the path of an ONNX file"
        ) from None
    if not model.ir_version or not model.opset_import or not (model.graph.node or model.graph.output):
        raise DamagedFileError(
            f"{path} is no whole ONNX file: it has no graph or no version of its operators; "
            "export it again or restore it from a copy"
        )
    return model


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every tensor in the graph and in the bodies of its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _tensors(attribute.g)


def _check_external(path: Path, tensor: TensorProto) -> None:
    if not external_data_helper.uses_external_data(tensor):
        return
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = path.parent / entries.get("location", "")
    if not location.resolve().is_relative_to(path.parent.resolve()):
        raise DamagedFileError(
            f"{path}: the data of {tensor.name!r} are said to be in {location}, outside the file's folder; "
            "save the model again with its data beside it"
        )
    wanted = int(entries.get("offset", 0)) + int(entries.get("length", 0))
    if not location.is_file() or location.stat().st_size < wanted:
        raise DamagedFileError(
            f"{path}: the data of {tensor.name!r} should be in {location.name}, which is missing or too "
            "short: put the whole file beside the model"
        )
    if np.prod(tensor.dims) <= SMALL:
        external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))


_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def _drop_large(tensor: TensorProto) -> None:
    if np.prod(tensor.dims) > SMALL:
        for field_name in _DATA:
            tensor.ClearField(field_name)


def _body(path: Path, graph: onnx.GraphProto) -> Body:
    constants = {tensor.name: _constant(tensor) for tensor in graph.initializer}
    constants |= {sparse.values.name: _sparse(sparse) for sparse in graph.sparse_initializer}
    nodes: list[Node] = []
    for proto in graph.node:
        literal = _literal(proto)
        if literal is not None:
            constants[proto.output[0]] = literal
        else:
            nodes.append(_node(path, proto))
    return Body(
        nodes=tuple(nodes),
        constants=constants,
        inputs=tuple(value for value in graph.input if value.name not in constants),
        outputs=tuple(value.name for value in graph.output),
        declared={value.name: value.type for value in (*graph.value_info, *graph.output)},
    )


def _node(path: Path, proto: _Proto) -> Node:
    bodies, attributes = dict[str, Body](), dict[str, Any]()
    for attribute in proto.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            bodies[attribute.name] = _body(path, attribute.g)
        else:
            value = helper.get_attribute_value(attribute)
            attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    name = proto.name or next((output for output in proto.output if output), proto.op_type)
    inputs, outputs = tuple(proto.input), tuple(proto.output)
    return Node(name, proto.op_type, _domain(proto.domain), inputs, outputs, attributes, bodies, proto)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _literal(proto: _Proto) -> Value | None:
    """What a node Constant holds."""
    if proto.op_type != "Constant" or _domain(proto.domain):
        return None
    (attribute,) = proto.attribute
    if attribute.type == onnx.AttributeProto.TENSOR:
        return _constant(attribute.t)
    if attribute.type == onnx.AttributeProto.SPARSE_TENSOR:
        return _sparse(attribute.sparse_tensor)
    value = helper.get_attribute_value(attribute)
    kinds: dict[str, Any] = {"value_float": np.float32, "value_floats": np.float32}
    return _constant(numpy_helper.from_array(np.asarray(value, kinds.get(attribute.name))))


def _constant(tensor: TensorProto) -> Value:
    shape = tuple(tensor.dims)
    has_data = any(getattr(tensor, name) for name in _DATA) or 0 in shape
    readable = has_data and np.prod(shape) <= SMALL
    return constant(tensor.data_type, shape, numpy_helper.to_array(tensor) if readable else None)


def _sparse(tensor: onnx.SparseTensorProto) -> Value:
    """Dense to those who use it."""
    return constant(tensor.values.data_type, tuple(tensor.dims), None)
