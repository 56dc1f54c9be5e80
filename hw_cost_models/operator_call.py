"""One call of a PyTorch operator, and what a formula about it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Call:
    """One call of an operator: what went in and what came out."""

    operator: torch._ops.OpOverload
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    inputs: tuple[Tensor, ...]
    """Every tensor among the arguments, those inside lists too."""
    outputs: tuple[Tensor, ...]

    @property
    def elements(self) -> int:
        """Of the first output."""
        return self.outputs[0].numel()

    def argument(self, name: str) -> Any:
        """The argument of that name in the operator's schema, or its default."""
        for position, declared in enumerate(self.operator._schema.arguments):
            if declared.name == name:
                given = self.arguments[position] if position < len(self.arguments) else declared.default_value
                return self.keywords.get(name, given)
        raise KeyError(name)


Count = Callable[[Call], float]


def size(tensor: Tensor) -> int:
    """Bytes of the tensor's elements; of one that is expanded, those that are there."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def tensors(value: Any) -> tuple[Tensor, ...]:
    """Every tensor in nested containers."""
    return tuple(leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


_QUANTISED = {torch.qint8: "int8", torch.quint8: "uint8", torch.qint32: "int32"}


def type_name(dtype: torch.dtype) -> str:
    """Such as "float32"; of a quantised type the integer it is stored in."""
    return _QUANTISED.get(dtype) or str(dtype).removeprefix("torch.")
