"""Regression against machines that are made up, whose kernels follow a law that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hw_cost_models.device import Figure, Roofline
from hw_cost_models.kernel_regression import KernelRegression, Samples
from hw_cost_models.kernels import Kernel, Kernels

if TYPE_CHECKING:
    from hw_cost_models.graph import Kind

Array = np.ndarray[Any, np.dtype[Any]]

_START_MS, _OVERHEAD_MS = 0.005, 0.001
_ROOFLINE = Roofline(
    peak_gflops={"float32": Figure(value=10, source="made up")},
    bandwidth_gb_s=Figure(value=1, source="made up"),
    overhead_us=Figure(value=1e3 * _OVERHEAD_MS, source="made up"),
)
_FACTORS = {"Gemm": 1.5, "Tanh": 8.0, "Sigmoid": 3.0}
"""How much longer than its roofline each takes."""


def _kernel(operator: str, size: int) -> Kernel:
    kind: Kind = "matmul" if operator == "Gemm" else "elementwise"
    flops = 2e3 * size**2 if operator == "Gemm" else float(size)
    return Kernel(operator, kind, "float32", flops, 8 * size, 0, ((1, size),), (1, size))


def _networks(seed: int, count: int, operators: tuple[str, ...]) -> list[Kernels]:
    rng = np.random.default_rng(seed)
    return [
        Kernels(
            tuple(_kernel(str(rng.choice(operators)), int(rng.integers(200, 3000))) for _ in range(4)) * 2,
            0,
        )
        for _ in range(count)
    ]


def _times(networks: list[Kernels], noise: float = 0.0) -> Array:
    """The law itself, a kernel at a time."""
    rng, ms = np.random.default_rng(1), []
    for network in networks:
        samples = Samples.of([network], _ROOFLINE)
        factors = np.array([_FACTORS[str(operator)] for operator in samples.operators])
        ms.append(_START_MS + float((samples.repeats * samples.expected_ms * factors).sum()))
    return np.array(ms) * np.exp(noise * rng.normal(size=len(ms)))


def _fitted(networks: list[Kernels], ms: Array) -> KernelRegression:
    return KernelRegression(Samples.of(networks, _ROOFLINE), ms, _OVERHEAD_MS, trees=20)


def test_what_each_operator_takes_is_learned_from_sums_alone() -> None:
    operators = tuple(_FACTORS)
    networks = [n for o in operators for n in _networks(0, 40, (o,))] + _networks(1, 10, operators)
    networks.append(Kernels((_kernel("Gemm", 1),), 0))  # which hardly takes more than the start
    fitted = _fitted(networks, _times(networks, noise=0.02))
    unseen = _networks(2, 20, operators)
    predicted = fitted.network_ms(Samples.of(unseen, _ROOFLINE))
    errors = np.abs(predicted / _times(unseen) - 1)
    assert np.median(errors) < 0.05
    assert errors.max() < 0.25
    for operator, factor in _FACTORS.items():
        (alone,) = _networks(3, 1, (operator,))
        samples = Samples.of([alone], _ROOFLINE)
        np.testing.assert_allclose(fitted.kernel_ms(samples) / samples.expected_ms, factor, rtol=0.35)


def test_the_start_is_found() -> None:
    networks = [Kernels((_kernel("Gemm", 1),) * n, 0) for n in (1, 2, 3, 5, 8)]
    ms = _START_MS + np.array(
        [n * Samples.of([networks[0]], _ROOFLINE).expected_ms[0] for n in (1, 2, 3, 5, 8)]
    )
    assert _fitted(networks, ms).start_ms == pytest.approx(_START_MS, rel=0.3)


def test_an_operator_that_was_never_seen_has_its_roofline() -> None:
    networks = _networks(0, 20, ("Tanh",))
    fitted = _fitted(networks, _times(networks))
    samples = Samples.of([Kernels((_kernel("Gemm", 100),), 0)], _ROOFLINE)
    np.testing.assert_allclose(fitted.kernel_ms(samples), samples.expected_ms)
    assert fitted.operators == ["Tanh"]


def test_repeats_count_as_often_as_they_come() -> None:
    once, twice = (Samples.of([Kernels((_kernel("Tanh", 50),) * n, 0)], _ROOFLINE) for n in (1, 2))
    assert (once.repeats.tolist(), twice.repeats.tolist()) == ([1], [2])
    assert twice.totals(twice.expected_ms)[0] == pytest.approx(2 * once.totals(once.expected_ms)[0])


def test_some_of_the_networks_keep_their_numbers() -> None:
    samples = Samples.of(_networks(0, 5, ("Tanh", "Gemm")), _ROOFLINE)
    some = samples.only(np.array([1, 3]))
    assert set(some.network.tolist()) == {1, 3}
    assert some.totals(some.expected_ms)[3] == samples.totals(samples.expected_ms)[3]


def test_weights_beyond_the_caches_come_from_memory() -> None:
    heavy = Kernel("Gemm", "matmul", "float32", 1.0, 0, 1000, ((1, 5),), (1, 5))
    roofline = _ROOFLINE.model_copy(
        update={
            "cache_mb": Figure(value=1, source="made up"),
            "cache_gb_s": Figure(value=10, source="made up"),
        }
    )
    near, far = (Samples.of([Kernels((heavy,), total)], roofline) for total in (1000, 2_000_000))
    assert near.expected_ms[0] - _OVERHEAD_MS == pytest.approx(1000 / 10e6)
    assert far.expected_ms[0] - _OVERHEAD_MS == pytest.approx(1000 / 1e6)
