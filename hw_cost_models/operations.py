"""How many operations the building blocks of networks take, whoever names them.

A multiply-add is two operations, an elementwise function one per element, whatever its name. Biases are not
counted, as in `torch.utils.flop_counter`.
"""

from __future__ import annotations

import math

SOFTMAX = 5
"""Operations an element: maximum, difference, exponential, sum, quotient."""
NORM = 8
"""Operations an element: mean; difference, square and sum; difference and product; scale and shift."""
RMS_NORM = 4
"""Operations an element: square, sum, two products."""
BATCH_NORM = 2
"""Operations an element, in evaluation: one product, one sum."""
VARIANCE = 4
"""Operations an element: mean; difference, square and sum."""
QUANTISE = 4
"""Operations an element: product with the inverse scale, zero point, rounding, limits."""
DEQUANTISE = 2
"""Operations an element: zero point, scale."""

UNITS = {"RNN": 2, "GRU": 10, "LSTM": 13}
"""Operations a unit and step of a recurrent layer, beside its products: the sums of both products and the
activation, of one gate, three or four; then the new state."""


def sorting(elements: int, length: int) -> float:
    """Comparisons of a merge sort, or of a heap or search tree, of that length for each element."""
    return elements * max(1.0, math.log2(max(length, 1)))


def interpolation(taps: int) -> int:
    """An element that is a weighted sum of that many neighbours."""
    return 2 * taps - 1


def fourier(elements: int, length: int, real: bool) -> float:
    """5 N log2 N, and half of it where one side is real, as the benchmarks of FFTW count.

    Frigo, Johnson: The Design and Implementation of FFTW3, Proc. IEEE 93(2), 2005.
    """
    return (2.5 if real else 5.0) * elements * math.log2(max(length, 2))


def attention(scores: int, query_size: int, value_size: int) -> float:
    """Both matrix products and the softmax between them, in full: masks save no work on most runtimes."""
    return scores * (2 * query_size + SOFTMAX + 2 * value_size)
