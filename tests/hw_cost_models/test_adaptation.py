"""Adaptation against dense formulas written out, on devices that are made up, and on bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hw_cost_models.adaptation import Adapter, _least_known, _posterior, known_by_roofline
from hw_cost_models.device import Figure, Roofline, Share, device_names, load_device
from hw_cost_models.errors import HardwareCostError, MeasurementError
from hw_cost_models.roofline import RooflineModel
from hw_cost_models.trace import trace

Array = np.ndarray[Any, np.dtype[Any]]


def _devices(seed: int, networks: int = 300, devices: int = 8) -> Array:
    """Log latencies that follow three properties of the networks, each device in its own proportion."""
    rng = np.random.default_rng(seed)
    properties, stress = rng.normal(size=(networks, 3)), rng.normal(0.3, 0.1, size=(3, devices))
    return properties @ stress + rng.normal(0, 0.01, size=(networks, devices)) + rng.normal(size=devices)


def _spearman(a: Array, b: Array) -> float:
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


def test_ten_measurements_predict_a_device_of_the_same_kind() -> None:
    logs = _devices(0)
    adapter = Adapter.fit(logs[:, 1:])
    chosen = adapter.choose(10)
    truth = np.exp(logs[:, 0])
    adapted = adapter.adapt(chosen, truth[chosen])
    assert _spearman(adapted.latency_ms, truth) > 0.99
    assert np.abs(adapted.latency_ms / truth - 1).mean() < 0.05


def test_chosen_networks_teach_more_than_random_ones() -> None:
    chosen_error, random_error = [], []
    for seed in range(10):
        logs = _devices(seed)
        adapter = Adapter.fit(logs[:, 1:])
        for errors, indices in (
            (chosen_error, adapter.choose(5)),
            (random_error, np.random.default_rng(seed).permutation(300)[:5]),
        ):
            adapted = adapter.adapt(indices, np.exp(logs[indices, 0]))
            errors.append(np.abs(np.log(adapted.latency_ms) - logs[:, 0]).mean())
    assert np.mean(chosen_error) < 0.8 * np.mean(random_error)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 5))
def test_choosing_is_greedy_in_the_variance_that_is_left(seed: int, count: int, width: int) -> None:
    factor = np.random.default_rng(seed).normal(size=(9, width))
    chosen = _least_known(factor, count)
    covariance = factor @ factor.T
    for step, index in enumerate(chosen):
        before = chosen[:step]
        inside = covariance[np.ix_(before, before)] + 0.05**2 * np.eye(step)
        across = covariance[:, before]
        left = np.diag(covariance - across @ np.linalg.solve(inside, across.T))
        others = [i for i in range(9) if i not in before]
        assert left[index] >= max(left[others]) - 1e-6
    assert len(set(chosen)) == count


@given(st.integers(0, 2**32 - 1))
def test_the_posterior_is_that_of_the_dense_kernel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factor, noise = rng.normal(size=(12, 4)), rng.uniform(0.1, 1, size=5)
    where, targets = rng.permutation(12)[:5], rng.normal(size=5)
    mean, variance = _posterior(factor, where, targets, noise)
    kernel = factor @ factor.T
    gain = kernel[:, where] @ np.linalg.inv(kernel[np.ix_(where, where)] + np.diag(noise))
    np.testing.assert_allclose(mean, gain @ targets, atol=1e-9)
    np.testing.assert_allclose(variance, np.diag(kernel - gain @ kernel[where]), atol=1e-9)


def test_a_device_ten_times_as_slow_is_predicted_ten_times_as_slow() -> None:
    logs = _devices(1)
    adapter = Adapter.fit(logs[:, 1:])
    chosen = adapter.choose(10)
    measured = np.exp(logs[chosen, 0])
    once, tenfold = adapter.adapt(chosen, measured), adapter.adapt(chosen, 10 * measured)
    np.testing.assert_allclose(tenfold.latency_ms, 10 * once.latency_ms, rtol=1e-5)
    np.testing.assert_allclose(
        tenfold.log_deviation, once.log_deviation, rtol=1e-2
    )  # the optimiser stops elsewhere


def test_the_unit_and_the_order_of_what_is_known_do_not_count() -> None:
    logs = _devices(2)[:, 1:]
    order = np.random.default_rng(0).permutation(len(logs))
    plain, shuffled = Adapter.fit(logs), Adapter.fit(logs[order] + np.log(1000))
    assert [int(order[i]) for i in shuffled.choose(10)] == plain.choose(10)


def test_intervals_hold_as_often_as_they_say() -> None:
    held = []
    for seed in range(20):
        logs = _devices(seed)
        adapter = Adapter.fit(logs[:, 1:])
        chosen = adapter.choose(10)
        low, high = adapter.adapt(chosen, np.exp(logs[chosen, 0])).interval_ms(0.9)
        rest = np.setdiff1d(np.arange(len(logs)), chosen)
        held.append(((low <= np.exp(logs[:, 0])) & (np.exp(logs[:, 0]) <= high))[rest].mean())
    assert 0.8 < np.mean(held) < 0.99


def test_features_explain_a_device_unlike_those_that_are_known() -> None:
    rng = np.random.default_rng(3)
    logs = _devices(3)
    counts = rng.integers(0, 5, size=(len(logs), 2)).astype(float)
    unlike = logs[:, 0] + 0.5 * counts[:, 0]  # stressed by what the others run for nothing

    def rank(features: Array | None) -> float:
        adapter = Adapter.fit(logs[:, 1:], features)
        chosen = adapter.choose(10)
        return _spearman(adapter.adapt(chosen, np.exp(unlike[chosen])).latency_ms, unlike)

    assert rank(counts) > 0.95 > rank(None)


def test_a_coarse_clock_counts_less_where_latencies_are_short() -> None:
    adapter = Adapter.fit(np.array([[0.0], [0.5], [2.0], [3.0], [4.0]]))
    measured = [1.0, 1.0, 7.0, 20.0, 55.0]  # e^x, in whole milliseconds
    fine, coarse = (adapter.adapt(range(5), measured, resolution_ms=r) for r in (0.0, 1.0))
    truth = np.exp([0.0, 0.5, 2.0, 3.0, 4.0])
    errors = [np.abs(np.log(a.latency_ms / truth))[2:].mean() for a in (fine, coarse)]
    assert errors[1] < errors[0]


def test_only_candidates_are_chosen() -> None:
    adapter = Adapter.fit(_devices(0))
    assert set(adapter.choose(4, among=[5, 7, 11, 13, 17])) < {5, 7, 11, 13, 17}
    assert sorted(adapter.choose(2, among=[8, 3])) == [3, 8]


def test_columns_that_never_vary_are_passed_over() -> None:
    logs = _devices(0)
    constant = np.column_stack([logs, np.zeros(len(logs))])
    np.testing.assert_allclose(np.abs(Adapter.fit(constant).components), np.abs(Adapter.fit(logs).components))


def _figure(value: float) -> Figure:
    return Figure(value=value, source="made up")


def test_what_rooflines_say_is_enough_for_a_machine_unlike_any_of_them() -> None:
    """One whose elementwise operators are slow for all else that it can do."""
    rng, x = np.random.default_rng(0), torch.ones(64, 32)
    graphs = [
        trace(nn.Sequential(nn.Linear(32, width), *[nn.Tanh()] * depth, nn.Linear(width, 32)), (x,))
        for width, depth in rng.integers((256, 1), (4096, 8), size=(40, 2)).tolist()
    ]
    known, shares = known_by_roofline(graphs)
    assert known.shape == (40, sum(load_device(name).roofline is not None for name in device_names()))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    rates = Roofline(
        peak_gflops={"float32": _figure(30)},
        bandwidth_gb_s=_figure(20),
        overhead_us=_figure(20),
        share_of_peak={"elementwise": Share(value=0.2, source="made up")},
    )
    model = RooflineModel(load_device("raspberry-pi-5").model_copy(update={"roofline": rates}))
    truth = np.array([model.graph_ms(graph) for graph in graphs])
    adapter = Adapter.fit(known, shares)
    chosen = adapter.choose(10)
    assert np.median(np.abs(adapter.adapt(chosen, truth[chosen]).latency_ms / truth - 1)) < 0.1


def test_bad_input_is_named() -> None:
    logs = _devices(0)
    with pytest.raises(HardwareCostError, match=r"known: row 2, column 1 is nan; leave that network out"):
        Adapter.fit(np.where(np.arange(logs.size).reshape(logs.shape) == 17, np.nan, logs))
    with pytest.raises(HardwareCostError, match=r"known: a matrix .* not of shape \(300,\)"):
        Adapter.fit(logs[:, 0])
    with pytest.raises(HardwareCostError, match="features: 3 rows for 300 networks"):
        Adapter.fit(logs, np.zeros((3, 1)))
    with pytest.raises(HardwareCostError, match="all networks take the same time"):
        Adapter.fit(np.ones((5, 2)))
    adapter = Adapter.fit(logs)
    with pytest.raises(HardwareCostError, match="11 networks cannot be chosen among 10"):
        adapter.choose(11, among=range(10))
    with pytest.raises(MeasurementError, match=r"network 4: 0\.0 ms is no latency"):
        adapter.adapt([3, 4], [1.0, 0.0])
    with pytest.raises(MeasurementError, match="no network 300: they are 0 to 299"):
        adapter.adapt([300], [1.0])
    with pytest.raises(MeasurementError, match="1 latencies for 2 networks"):
        adapter.adapt([3, 4], [1.0])
