"""A key for what a module computes on inputs of that shape, whatever its weights are."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hw_cost_models.files import digest

if TYPE_CHECKING:
    from types import CodeType

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def structure_key(module: nn.Module, inputs: tuple[Tensor, ...]) -> str:
    """64 hexadecimal digits that agree, in any process, exactly when the two may share a measurement.

    They cover every submodule's class, the source file of that class and of its bases, its hyperparameters,
    the names, shapes and types of its parameters and buffers, the inputs' shapes and types and which of them
    are one tensor, and the version of torch, which exports it. They do not cover functions imported from
    other files: clear the cache after changing one.
    """
    objects = list(dict.fromkeys(map(id, inputs)))
    described = {
        "modules": [_module(path, part) for path, part in module.named_modules(remove_duplicate=False)],
        "inputs": [[objects.index(id(tensor)), *_tensor(tensor)] for tensor in inputs],
        "torch": torch.__version__,
    }
    return digest(json.dumps(described, sort_keys=True).encode())


def _module(path: str, module: nn.Module) -> list[Any]:
    kind = type(module)
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    plain = {name: _plain(v) for name, v in vars(module).items() if name not in _OF_EVERY_MODULE}
    return [path, _name(kind), _source(kind), plain, [[name, *_tensor(tensor)] for name, tensor in own]]


def _plain(value: Any) -> Any:
    """The value as JSON; of what is neither plain nor a container of plain values, the kind alone."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Tensor):
        return _tensor(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return [_name(type(value)), fields]
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    return _name(value if hasattr(value, "__qualname__") else type(value))


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _tensor(tensor: Tensor) -> list[Any]:
    return [list(tensor.shape), str(tensor.dtype)]


def _source(kind: type[nn.Module]) -> list[str]:
    """Digests of the files that define the class and its bases: a helper beside the class counts, too."""
    return [_digest_of_source(base) for base in kind.__mro__[: kind.__mro__.index(nn.Module)]]


def _digest_of_source(kind: type) -> str:
    try:
        return _digest_of_file(inspect.getfile(kind))
    except (OSError, TypeError):  # defined at a prompt: there is no file
        functions = [f for f in vars(kind).values() if inspect.isfunction(f)]
        return digest(b"".join(_bytecode(f.__code__) for f in functions))


@functools.cache
def _digest_of_file(path: str) -> str:
    return digest(Path(path).read_bytes())


def _bytecode(code: CodeType) -> bytes:
    inner = [_bytecode(c) if inspect.iscode(c) else repr(c).encode() for c in code.co_consts]
    return b"".join([code.co_code, repr(code.co_names).encode(), *inner])
