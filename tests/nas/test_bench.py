"""Drift: the anchors nearest in latency speak for a network."""

from __future__ import annotations

import pytest

from hw_cost_models.measure import Measurement, Timing
from nas.bench import Bench


def _timing(ms: float) -> Timing:
    return Timing(0.9 * ms, ms, 2 * ms, 25)


def _measured(latency: float, drifts: dict[float, float]) -> tuple[Bench, Measurement]:
    anchors = {str(ms): _timing(ms) for ms in drifts}
    bench = Bench(None, None, "p50", anchors, 25)  # type: ignore[arg-type]  # never asked
    now = {str(ms): _timing(ms * drift) for ms, drift in drifts.items()}
    return bench, Measurement({"network": _timing(latency)}, now, {})


def test_a_common_drift_is_everyones() -> None:
    for latency in (0.01, 1.0, 30.0):
        bench, measurement = _measured(latency, {1.0: 1.2, 2.0: 1.2, 5.0: 1.2})
        assert bench.drift(measurement, "network") == pytest.approx(1.2)
        assert bench.latency(measurement, "network") == pytest.approx(latency / 1.2)


def test_the_nearest_anchors_decide() -> None:
    for latency, drift in ((1.0, 1.0), (20.0, 1.5)):
        bench, measurement = _measured(latency, {1.0: 1.0, 20.0: 1.5})
        assert bench.drift(measurement, "network") == pytest.approx(drift, rel=0.01)
    bench, measurement = _measured(30**0.5, {1.0: 1.0, 20.0: 1.5})
    assert 1.2 < bench.drift(measurement, "network") < 1.25
