"""Thinning, smoothing and the writing of numbers, against their definitions."""

from __future__ import annotations

import math
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.report.markup import listed, metric_name, metric_unit, number, percent, quantity
from nas.report.series import points, running_mean, thin


@given(st.integers(0, 5000), st.integers(2, 400))
def test_thinned_curves_keep_their_ends_and_their_order(count: int, longest: int) -> None:
    items = list(range(count))
    kept = thin(items, longest)
    assert len(kept) == min(count, longest)
    assert kept == sorted(set(kept))
    if count:
        assert (kept[0], kept[-1]) == (0, count - 1)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=300))
def test_the_running_mean_is_the_mean_of_its_window(values: list[float]) -> None:
    curve = [(float(i), value) for i, value in enumerate(values)]
    reach = max(2, len(values) // 50)
    naive = [mean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]
    assert [value for _, value in running_mean(curve)] == pytest.approx(naive, abs=1e-9)


def test_absent_and_infinite_values_leave_no_point() -> None:
    lines = [
        {"step": 0, "loss": 1.0, "expected": {"latency_ms": 2.0}},
        {"step": 1, "loss": math.nan},
        {"step": 2, "loss": None, "expected": None},
        {"step": 3},
    ]
    assert points(lines, "loss") == [(0.0, 1.0)]
    assert points(lines, "latency_ms", "expected") == [(0.0, 2.0)]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3.912, "3.91"),
        (16.0, "16.0"),
        (12345.6, "12,346"),
        (0.0, "0"),
        (7, "7"),
        (1.1e-6, "1.1e-06"),
        (0.00512, "0.00512"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        (-2.5, "-2.50"),
    ],
)
def test_numbers_have_three_significant_digits(value: float | None, told: str) -> None:
    assert number(value) == told


def test_metrics_carry_their_units() -> None:
    assert quantity("latency_ms", 3.912) == "3.91 ms"
    assert (metric_name("params_m"), metric_unit("params_m")) == ("parameters", "M")
    assert (metric_name("energy_mj"), metric_unit("energy_mj")) == ("energy", "mJ")
    assert (metric_name("tokens"), metric_unit("tokens")) == ("tokens", "")
    assert percent(0.0123) == "1.2 %"
    assert percent(0.018, signed=True) == "+1.8 %"


def test_lists_read_as_sentences() -> None:
    assert [listed(["a", "b", "c"][:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
