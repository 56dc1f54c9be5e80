"""Budgets: what is refused and how, and what each figure is made of."""

from __future__ import annotations

import math

import pytest

from hw_cost_models.cost import Cost
from nas.budget import METRICS, Budget, figures
from nas.errors import BadInputError


@pytest.mark.parametrize("name", ["latency_ms", "memory_mb", "params_m"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_a_limit_must_be_positive_and_finite(name: str, value: float) -> None:
    with pytest.raises(BadInputError, match=rf"^{name}: {value} is not a positive number[^\n]*$"):
        Budget(**{name: value})


def test_limits_that_are_set() -> None:
    assert Budget().limits() == {}
    assert Budget(params_m=2, latency_ms=0.5).limits() == {"latency_ms": 0.5, "params_m": 2}
    assert [(m.name, v) for m, v in Budget(params_m=2, memory_mb=1).items()] == [
        ("memory_mb", 1),
        ("params_m", 2),
    ]


def test_figures_by_hand() -> None:
    cost = Cost(latency_ms=1.5, weight_bytes=2e6, parameters=3e5, peak_activation_bytes=5e5, flops=7)
    assert figures(cost) == pytest.approx({"latency_ms": 1.5, "memory_mb": 2.5, "params_m": 0.3})
    assert all(metric.name.endswith("_" + metric.unit.lower()) for metric in METRICS)
