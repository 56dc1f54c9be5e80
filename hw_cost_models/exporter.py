"""PyTorch's exporter, made quiet and quick."""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.onnx._internal.exporter._registration import ONNXRegistry


@contextmanager
def readied() -> Iterator[None]:
    """For one call of the exporter or several."""
    with ExitStack() as both:
        both.enter_context(_quiet())
        both.enter_context(_knowing_its_operators())
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without known remarks of the exporter: torchvision is absent, torch uses what it deprecates, inputs
    share a dimension (which is why they share its name), recurrent layers keep a list of their weights."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")

    def worth_saying(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    logger.addFilter(worth_saying)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            warnings.filterwarnings("ignore", r".*shares the same shape constraints", UserWarning)
            warnings.filterwarnings("ignore", r".*_flat_weights.* were assigned during export", UserWarning)
            warnings.filterwarnings("ignore", "_check_is_size will be removed", FutureWarning)
            yield
    finally:
        logger.removeFilter(worth_saying)


@contextmanager
def _knowing_its_operators() -> Iterator[None]:
    """At every call the exporter reads the sources of all operators that it knows, which takes a second or
    more: most of what it takes for a few small modules. Here a process does that once."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    made = vars(ONNXRegistry)["from_torchlib"]

    def known(**version: int) -> ONNXRegistry:
        """Whoever brings no operators of his own adds nothing to it."""
        key = tuple(version.items())
        if key not in _KNOWN:
            _KNOWN[key] = made.__get__(None, ONNXRegistry)(**version)
        return _KNOWN[key]

    # a class method of torch is exchanged for the length of a call, which a type checker does not allow
    ONNXRegistry.from_torchlib = staticmethod(known)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        ONNXRegistry.from_torchlib = made  # type: ignore[method-assign]


_KNOWN: dict[tuple[tuple[str, int], ...], ONNXRegistry] = {}
