"""Budgets: what is refused and how, and what each figure is made of."""

from __future__ import annotations

import math

import pytest

from hw_cost_models.cost import Cost
from nas.budget import METRICS, Budget, metric
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
    more = {"energy_mj": 4.0, "state_bytes": 2e4}
    cost = Cost(latency_ms=1.5, weight_bytes=2e6, parameters=3e5, peak_activation_bytes=5e5, flops=7, **more)
    expected = {"latency_ms": 1.5, "memory_mb": 2.5, "params_m": 0.3, "energy_mj": 4.0, "state_mb": 0.02}
    assert {name: metric(name).of(cost) for name in expected} == pytest.approx(expected)
    assert all(m.name.endswith("_" + m.unit.lower()) for m in METRICS)


def test_the_kinds_of_workload_that_are_limited() -> None:
    assert Budget(latency_ms=1, params_m=1).kinds == ("forward",)
    assert Budget(decode_ms=1, prefill_ms=2).kinds == ("forward", "prefill", "decode")
    assert Budget(state_mb=1).kinds == ("forward", "decode")
