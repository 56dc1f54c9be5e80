"""Runtime: what executes a network, behind one protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

Feed = Mapping[str, np.ndarray[Any, Any]]
"""The inputs of a file, by the names that it gives them."""

Run = Callable[[], list[Any]]
"""One inference, from inputs in host memory to outputs in host memory, the copies to a GPU and back included.

It returns what `numpy.asarray` takes, in the order of the network's outputs, when the work is done; a runtime
may use that memory again in the next inference.
"""


@dataclass(frozen=True)
class Bound:
    """A network with its inputs, ready to run."""

    run: Run
    elsewhere: float = 0.0
    """The fraction of the operators that run on the CPU because the provider asked for does not know them."""


class Runtime(Protocol):
    """One runtime on one provider, with that many threads.

    Making one raises MeasurementError where the runtime is not installed or has no such provider; importing
    the file that defines it imports nothing heavy.
    """

    takes_modules: ClassVar[bool]
    """Whether it runs modules with a tuple of tensors; else it runs ONNX files with a Feed."""
    clock: str
    """The name of the clock that its runs are timed by; see `clocks`."""

    def __init__(self, provider: str, threads: int) -> None: ...

    @staticmethod
    def version() -> str:
        """Of the library that is installed; raises MeasurementError where none is."""
        ...

    def bind(self, network: Any, inputs: Any) -> Bound:
        """Load the network and run it once on these inputs.

        Raises MeasurementError, in one line that does not name the network, when it does not run.
        """
        ...


def in_short(reason: str) -> str:
    """An error message of a library in one line of a bearable length."""
    line = " ".join(reason.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


_LONGEST = 300
