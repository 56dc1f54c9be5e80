"""What is alive while PyTorch runs eagerly: the bytes of every storage from its first tensor to its last.

Eager PyTorch has no plan. A tensor goes when nothing holds it any more: a variable of a forward that has not
returned holds its value to the end of it, and autograd holds what the backward needs. So nothing is worked
out from the operators here: they run, over fake tensors, which have shapes and lifetimes but no data, and the
storages are watched.
"""

from __future__ import annotations

import copy
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hw_cost_models.eager_workspace import CODE_BYTES, workspace
from hw_cost_models.errors import HardwareCostError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    import torch

    Run = Callable[["LiveBytes", nn.Module, tuple[Tensor, ...]], None]


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts while it is entered. `weights` are not counted, `inputs` from the beginning."""

    def __init__(self, weights: Iterable[Tensor], inputs: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.bytes = 0
        """Alive now."""
        self.peak_bytes = 0
        """The most that was alive during an operator, what its kernel takes to work in included."""
        self.peak_step = -1
        """The number of that operator; -1 before the first."""
        self.peak_operator = "inputs"
        self.step = -1
        self._buffer = 0
        self._code: set[Hashable] = set()
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._watch(weights, counted=False)
        self._watch(inputs)
        self.peak_bytes = self.bytes

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = _tensors(result)
        if not outputs:  # a question about a tensor, such as its device, is no work
            return result
        self.step += 1
        self._watch(outputs)
        work = workspace(func, args, outputs)
        self._buffer = max(self._buffer, work.kept)
        if work.code is not None:
            self._code.add(work.code)
        reached = self.bytes + self._kept + work.passing
        if reached > self.peak_bytes:
            self.peak_bytes, self.peak_step = reached, self.step
            self.peak_operator = str(func.overloadpacket)
        return result

    @property
    def _kept(self) -> int:
        """What kernels keep for good."""
        return self._buffer + len(self._code) * CODE_BYTES

    def forget_peak(self) -> None:
        """Let the peak begin anew, from what is alive now."""
        self.peak_bytes = self.bytes + self._kept

    def _watch(self, tensors: Iterable[Tensor], *, counted: bool = True) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key = id(storage)
            if key not in self._alive:
                size = storage.nbytes() if counted else 0
                self._alive[key] = weakref.ref(storage, partial(self._gone, key, size))
                self.bytes += size

    def _gone(self, key: int, size: int, storage: weakref.ref[torch.UntypedStorage]) -> None:
        del self._alive[key]
        self.bytes -= size


def watch(run: Run, module: nn.Module, inputs: tuple[Tensor, ...]) -> LiveBytes:
    """`run(live, module, inputs)` on a copy of the module, watched.

    Without data where that is possible; where a shape depends on data (routing), or an operator knows no
    fakes, on a copy of the weights and the real inputs. A shared weight stays shared.

    Raises HardwareCostError when it does not run on the inputs.
    """
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with FakeCopyMode(fake):
            shadow = copy.deepcopy(module)
        with fake:
            return _watched(run, shadow, tuple(fake.from_tensor(tensor) for tensor in inputs))
    except HardwareCostError:
        raise
    except Exception:  # whatever a module does to data that is not there: the real inputs decide
        try:
            return _watched(run, copy.deepcopy(module), tuple(tensor.detach().clone() for tensor in inputs))
        except HardwareCostError:
            raise
        except Exception as error:
            raise HardwareCostError(_refusal(module, inputs, error)) from error


def _refusal(module: nn.Module, inputs: tuple[Tensor, ...], error: Exception) -> str:
    given = ", ".join(f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}" for x in inputs)
    cause = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return (
        f"{type(module).__name__} does not run on the inputs {given or 'none'}: {cause}; "
        "give it those that its forward takes"
    )


def _watched(run: Run, module: nn.Module, inputs: tuple[Tensor, ...]) -> LiveBytes:
    live = LiveBytes([*module.parameters(), *module.buffers()], inputs)
    with live:
        run(live, module, inputs)
    return live


def _tensors(value: Any) -> tuple[Tensor, ...]:
    return tuple(leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))
