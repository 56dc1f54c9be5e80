"""The outputs of an ONNX node from its inputs, one node at a time, by ONNX's own shape inference.

What follows from shapes alone (`Shape`, `Gather`, `Concat`, … before a `Reshape`) is calculated, by ONNX's
reference implementation, so that all later shapes are numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from hw_cost_models import onnx_routing
from hw_cost_models.errors import DamagedFileError, HardwareCostError, UnknownOperatorError
from hw_cost_models.onnx_contrib import contributed, result_type, stand_in
from hw_cost_models.onnx_values import SMALL, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hw_cost_models.graph import Shape
    from hw_cost_models.onnx_file import File, Node

RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}


class ShapeInference:
    """Of the nodes of a file, with the dimensions that are free in it set to numbers.

    `dimensions` are by name, or as "value:axis" for one without a name; by the operator's name for those that
    depend on data; and by an input's name for the value of a single integer.
    """

    def __init__(self, file: File, dimensions: Mapping[str, int]) -> None:
        self.file = file
        self.dimensions = dimensions
        self._opsets = [helper.make_opsetid(domain, version) for domain, version in file.opsets.items()]

    def inputs(self) -> dict[str, Value]:
        """What the file is given. Raises HardwareCostError for dimensions without a value."""
        missing, values = list[str](), dict[str, Value]()
        for declared in self.file.body.inputs:
            tensor = declared.type.tensor_type
            if not declared.type.HasField("tensor_type"):
                raise HardwareCostError(
                    f"{self.file.path}: the input {declared.name!r} is no tensor: export it with tensors"
                )
            if tensor.elem_type not in helper.get_all_tensor_dtypes():
                raise DamagedFileError(
                    f"{self.file.path}: the input {declared.name!r} has no known type ({tensor.elem_type}): "
                    "the file is damaged, or newer than this onnx"
                )
            fixed = [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]
            shape = self._set(declared.name, tensor, missing)
            known = self.dimensions.get(declared.name) if shape in ((), (1,)) else None
            data = None if known is None else np.full(shape, known)
            values[declared.name] = Value(tensor.elem_type, shape, data, dynamic=None in fixed)
        if missing:
            raise HardwareCostError(self._lacking(missing))
        return values

    def outputs(
        self, node: Node, inputs: Sequence[Value | None], declared: Mapping[str, onnx.TypeProto]
    ) -> list[Value | None]:
        """One value for each output, None for those that the node leaves out.

        Raises UnknownOperatorError when nobody knows the operator's shapes, HardwareCostError when the inputs
        do not fit it, or when a shape depends on data.
        """
        inferred, expected = self._types(node, inputs), onnx_routing.rows(node, inputs)
        values, missing = list[Value | None](), list[str]()
        for name in node.outputs:
            if not name:
                values.append(None)
                continue
            known = inferred.get(name) or declared.get(name)
            if known is None or not known.HasField("tensor_type"):
                raise self._unknown(node)
            tensor = _fuller(known, declared.get(name))
            lacking = list[str]()
            shape = self._set(name, tensor, lacking, self.dimensions.get(node.operator, expected))
            values.append(Value(tensor.elem_type, shape))
            missing += lacking and [node.operator]
        if missing:
            raise HardwareCostError(
                self._lacking(missing, f"the shape of {node.outputs[0]!r} depends on data")
            )
        self._calculate(node, inputs, values)
        return values

    def _types(self, node: Node, inputs: Sequence[Value | None]) -> dict[str, onnx.TypeProto]:
        """By ONNX's inference, or by our own for the operators that ONNX does not know."""
        proto = stand_in(node)
        schema = None if proto is None else _schema(proto, self.file.opsets.get(proto.domain, 1))
        if proto is not None and schema is not None:
            return self._standard(node, proto, schema, dict(zip(node.inputs, inputs, strict=True)))
        types = contributed(node, inputs) or []
        made = (helper.make_tensor_type_proto(element, shape) for element, shape in types)
        return dict(zip(node.outputs, made, strict=False))

    def _standard(
        self,
        node: Node,
        proto: onnx.NodeProto,
        schema: onnx.defs.OpSchema,
        inputs: Mapping[str, Value | None],
    ) -> dict[str, onnx.TypeProto]:
        known = {name: value for name in proto.input if (value := inputs.get(name)) is not None}
        stands_in = (
            proto is not node.proto
        )  # for an operator on any type, where the standard has one on floats
        try:
            types = onnx.shape_inference.infer_node_outputs(
                schema,
                proto,
                {name: _type(value, floating=stands_in) for name, value in known.items()},
                {name: _tensor(value) for name, value in known.items() if value.data is not None},
                opset_imports=self._opsets,
                ir_version=self.file.ir_version,
            )
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            given = ", ".join(f"{value.dtype} {value.shape}" for value in known.values())
            raise HardwareCostError(
                f"{self.file.path}: {node.operator} {node.name!r} does not take {given} "
                f"({str(error).strip().splitlines()[0]}): give other dimensions, or repair the file"
            ) from None
        if stands_in:
            for made in types.values():
                made.tensor_type.elem_type = result_type(node, next(iter(known.values())))
        return types

    def _calculate(self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]) -> None:
        """Fill in the data of small outputs whose inputs are all known, and of shapes."""
        if node.operator in ("Shape", "Size") and not node.domain:
            known = [np.broadcast_to(False, value.shape) for value in inputs if value is not None]
        elif any(value is not None and value.data is None for value in inputs):
            return
        else:
            known = [value.data for value in inputs if value is not None and value.data is not None]
        made = [value for value in outputs if value is not None]
        if node.domain or node.operator in RANDOM or any(value.elements > SMALL for value in made):
            return
        for value, data in zip(made, self._run(node, known), strict=True):
            value.data = data

    def _run(self, node: Node, known: Sequence[np.ndarray]) -> list[np.ndarray]:
        names = [name for name in node.inputs if name]
        graph = helper.make_graph(
            [node.proto],
            "one",
            [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names)],
            [onnx.ValueInfoProto(name=name) for name in node.outputs if name],
        )
        model = helper.make_model(graph, opset_imports=self._opsets)
        return [
            np.asarray(result)
            for result in ReferenceEvaluator(model).run(None, dict(zip(names, known, strict=True)))
        ]

    def _set(
        self, name: str, tensor: onnx.TypeProto.Tensor, missing: list[str], expected: int | None = None
    ) -> Shape:
        """The shape in numbers; a dimension without one is as expected, or added to the missing."""
        shape = list[int]()
        for axis, dim in enumerate(tensor.shape.dim):
            place = f"{name}:{axis}"
            size = dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None
            for free in (dim.dim_param, place):
                size = self.dimensions.get(free) if size is None else size
            size = expected if size is None else size
            if size is None:
                missing.append(dim.dim_param or place)
            shape.append(size or 0)
        return tuple(shape)

    def _lacking(self, missing: Sequence[str], why: str = "it is free in the file") -> str:
        names = ", ".join(map(repr, dict.fromkeys(missing)))
        example = ", ".join(f'"{name}": 1' for name in dict.fromkeys(missing))
        return f"{self.file.path}: no value for {names}, {why}: give it, as in dimensions={{{example}}}"

    def _unknown(self, node: Node) -> UnknownOperatorError:
        return UnknownOperatorError(
            f"{self.file.path}: nobody knows the shapes that {full_name(node)} ({node.name!r}) makes: save "
            "the file with the types of its values (value_info), or with standard operators"
        )


def full_name(node: Node) -> str:
    """Such as "MatMul", or "com.microsoft.MatMulNBits"."""
    return f"{node.domain}.{node.operator}" if node.domain else node.operator


def _schema(proto: onnx.NodeProto, version: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(proto.op_type, version, proto.domain)
    except onnx.defs.SchemaError:
        return None


def _fuller(inferred: onnx.TypeProto, declared: onnx.TypeProto | None) -> onnx.TypeProto.Tensor:
    """The inferred type; where it lacks dimensions and the file declares the value, the declared one."""
    tensor = inferred.tensor_type
    whole = tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)
    if whole or declared is None or not declared.tensor_type.HasField("shape"):
        return tensor
    return declared.tensor_type


def _type(value: Value, floating: bool) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, value.shape) if floating else value.type


def _tensor(value: Value) -> onnx.TensorProto:
    assert value.data is not None
    return numpy_helper.from_array(value.data)
