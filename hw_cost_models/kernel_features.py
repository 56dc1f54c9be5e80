"""What the time of a kernel depends on, as numbers: its work, and the dimensions that decide its speed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hw_cost_models.device import Roofline
    from hw_cost_models.kernels import Kernel

_TRANSPOSED = "ConvTranspose"


def expected_ms(kernel: Kernel, roofline: Roofline, weights_stay: bool) -> float:
    """By roofline; `weights_stay` on the chip from one inference to the next, or come from main memory.

    Tensors are taken to be on the chip, where the kernel before has left them.
    """
    arithmetic = kernel.flops / roofline.flops_per_ms(kernel.dtype, kernel.kind)
    tensors = kernel.tensor_bytes / roofline.bytes_per_ms(True, kernel.kind)
    weights = kernel.weight_bytes / roofline.bytes_per_ms(weights_stay, kernel.kind)
    return max(arithmetic, tensors + weights) + roofline.overhead_us.value * 1e-3


def features(kernel: Kernel, expected: float, on_chip: float) -> list[float]:
    """Logarithms of counts, 0 where a kernel has no such dimension; the same columns for every kernel.

    `expected` are its milliseconds by roofline, `on_chip` those with all of its weights on the chip.
    """
    elements = math.prod(kernel.shape)
    moved = kernel.tensor_bytes + kernel.weight_bytes
    common = [
        *(math.log(expected), _log(kernel.flops), _log(kernel.tensor_bytes), _log(kernel.weight_bytes)),
        *(_log(kernel.flops) - _log(moved), _log(elements), _log(kernel.shape[-1] if kernel.shape else 1)),
        *(float(len(kernel.shape)), float(len(kernel.input_shapes)), math.log(expected / on_chip)),
    ]
    return common + _of_a_convolution(kernel) + _of_a_product(kernel) + _of_tensors(kernel, elements)


def _of_a_convolution(kernel: Kernel) -> list[float]:
    """Images, channels in and out of each group, groups, window, positions, positions skipped, row."""
    if kernel.kind != "convolution" or len(kernel.input_shapes) < 2:
        return [0.0] * 8
    images, weights = kernel.input_shapes[:2]
    first, second = weights[:2]
    groups = 1 if kernel.operator == _TRANSPOSED else max(1, images[1] // max(second, 1))
    into, out = (first, second) if kernel.operator == _TRANSPOSED else (second, first / groups)
    positions = math.prod(kernel.shape[2:])
    return [
        *(_log(images[0]), _log(into), _log(out), _log(groups), _log(math.prod(weights[2:]))),
        *(_log(positions), _log(math.prod(images[2:])) - _log(positions), _log(kernel.shape[-1])),
    ]


def _of_a_product(kernel: Kernel) -> list[float]:
    """Rows, columns, terms and number of matrix products; steps and units of a recurrent layer."""
    if kernel.kind == "scan" and len(kernel.input_shapes) > 2:
        return [_log(kernel.input_shapes[0][0]), _log(kernel.input_shapes[2][-1]), 0.0, 0.0]
    if kernel.kind not in ("matmul", "attention") or not kernel.shape:
        return [0.0] * 4
    elements, columns = math.prod(kernel.shape), kernel.shape[-1]
    products = 1 if kernel.weight_bytes else math.prod(kernel.shape[:-2])
    rows, terms = elements / max(columns * products, 1), kernel.flops / max(2 * elements, 1)
    return [_log(rows), _log(columns), _log(terms), _log(products)]


def _of_tensors(kernel: Kernel, elements: int) -> list[float]:
    """How inputs compare with the output: broadcast, reduced, along which dimension."""
    sizes = [math.prod(shape) for shape in kernel.input_shapes] or [elements]
    first = kernel.input_shapes[0] if kernel.input_shapes else ()
    second = kernel.input_shapes[1] if len(kernel.input_shapes) > 1 else first
    return [
        _log(elements) - _log(min(sizes)),
        _log(max(sizes)) - _log(elements),
        _log(first[-1] if first else 1),
        _log(math.prod(kernel.shape[2:])),
        float(first == second),
        float(bool(second) and second[-1] == 1),
    ]


def _log(count: float) -> float:
    return math.log(count + 1)
