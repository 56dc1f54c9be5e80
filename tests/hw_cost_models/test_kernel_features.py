"""Rooflines of kernels by hand, and the dimensions that features are the logarithms of."""

from __future__ import annotations

import math

import pytest

from hw_cost_models.device import Figure, Roofline, Share
from hw_cost_models.kernel_features import expected_ms, features
from hw_cost_models.kernels import Kernel


def _figure(value: float) -> Figure:
    return Figure(value=value, source="made up")


_ROOFLINE = Roofline(
    peak_gflops={"float32": _figure(10)},
    bandwidth_gb_s=_figure(1),
    overhead_us=_figure(2),
    cache_mb=_figure(1),
    cache_gb_s=_figure(4),
    share_of_peak={"elementwise": Share(value=0.1, source="made up")},
)


def _kernel(
    operator: str, kind: str, flops: float, inputs: tuple[tuple[int, ...], ...], shape: tuple[int, ...]
):  # type: ignore[no-untyped-def]
    return Kernel(operator, kind, "float32", flops, 4000, 8000, inputs, shape)  # type: ignore[arg-type]


def test_expected_by_hand() -> None:
    busy = _kernel("Gemm", "matmul", 1e6, ((10, 10),), (10, 10))
    assert expected_ms(busy, _ROOFLINE, weights_stay=True) == pytest.approx(0.1 + 0.002)
    light = _kernel("Gemm", "matmul", 1, ((10, 10),), (10, 10))
    assert expected_ms(light, _ROOFLINE, weights_stay=True) == pytest.approx(0.001 + 0.002 + 0.002)
    assert expected_ms(light, _ROOFLINE, weights_stay=False) == pytest.approx(0.001 + 0.008 + 0.002)
    slow = _kernel("Tanh", "elementwise", 1e6, ((10, 10),), (10, 10))
    assert expected_ms(slow, _ROOFLINE, weights_stay=True) == pytest.approx(1 + 0.002)


def _logs(*counts: float) -> list[float]:
    return [pytest.approx(math.log(count + 1)) for count in counts]


def test_dimensions_of_convolutions() -> None:
    images, shape = (2, 32, 10, 12), (2, 64, 5, 6)
    grouped = features(_kernel("Conv", "convolution", 1, (images, (64, 8, 3, 3)), shape), 1.0, 1.0)
    found = grouped[10:18]
    assert found[:6] == _logs(2, 8, 64 / 4, 4, 9, 30)
    assert found[6] == pytest.approx(math.log(121) - math.log(31))
    transposed = _kernel("ConvTranspose", "convolution", 1, ((2, 32, 5, 6), (32, 16, 2, 2)), (2, 16, 10, 12))
    assert features(transposed, 1.0, 1.0)[10:16] == _logs(2, 32, 16, 1, 4, 120)


def test_dimensions_of_products() -> None:
    heads = Kernel(
        "MatMul", "matmul", "float32", 2.0 * 6 * 5 * 7 * 11, 1, 0, ((6, 5, 11), (6, 11, 7)), (6, 5, 7)
    )
    assert features(heads, 1.0, 1.0)[18:22] == _logs(5, 7, 11, 6)
    layer = Kernel("MatMul", "matmul", "float32", 2.0 * 30 * 7 * 11, 1, 9, ((6, 5, 11), (11, 7)), (6, 5, 7))
    assert features(layer, 1.0, 1.0)[18:22] == _logs(30, 7, 11, 1)


def test_every_kernel_has_the_same_columns() -> None:
    kernels = [
        _kernel("Conv", "convolution", 1, ((1, 8, 4), (8, 8, 3)), (1, 8, 4)),
        _kernel("LSTM", "scan", 1, ((5, 1, 8), (1, 32, 8), (1, 32, 8)), (5, 1, 1, 8)),
        _kernel("Softmax", "normalisation", 1, ((3, 4),), (3, 4)),
        _kernel("Shape", "movement", 0, (), ()),
    ]
    lengths = {len(features(kernel, 1.0, 0.5)) for kernel in kernels}
    assert len(lengths) == 1
