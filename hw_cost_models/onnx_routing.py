"""How many rows a mixture of experts sends where, as far as a file tells.

A router picks indices (`TopK`, `ArgMax`), and `NonZero` of a comparison with them, or of them as `OneHot`,
finds the rows for each. How many those are is up to the data: with a balanced load each of n choices gets its
n-th part of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hw_cost_models.onnx_file import Node
    from hw_cost_models.onnx_values import Value

_PASSES_ON = {
    "Cast",
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
}
"""Indices stay such under these, and masks."""


def follow(node: Node, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
    """Note of the outputs what choices they are among, and what part of them is true."""
    if node.operator == "TopK":
        outputs[1].choices = inputs[0].shape[int(node.attribute("axis", -1))]
    elif node.operator == "ArgMax":
        outputs[0].choices = inputs[0].shape[int(node.attribute("axis", 0))]
    elif node.operator == "OneHot" and inputs[1].data is not None:
        outputs[0].density = 1 / int(inputs[1].data.item())
    elif node.operator == "Equal":
        choices = max(value.choices for value in inputs)
        outputs[0].density = 1 / choices if choices else None
    elif node.operator in _PASSES_ON:
        for value in outputs:
            value.choices, value.density = inputs[0].choices, inputs[0].density


def rows(node: Node, inputs: Sequence[Value | None]) -> int | None:
    """What `NonZero` is expected to find; None where there is nothing to tell by."""
    mask = inputs[0] if node.operator == "NonZero" else None
    if mask is None or mask.density is None:
        return None
    return max(1, round(mask.elements * mask.density))
