"""What whole architectures say about options: planted costs are recovered, and errors told as they are."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest

from nas.calibration import Calibration, LatencyFit, Lift, PeakFit, Residuals

TRUE = {f"o{i}": 0.5 + 0.4 * i for i in range(8)}
FIXED = 2.0


def _fit(rng: np.random.Generator, scale: float, noise: float, count: int = 24) -> LatencyFit:
    """Ten options a network. Alone, an option takes its time over `scale`, give or take 3 %."""
    counts = [Counter(rng.choice(list(TRUE), 10).tolist()) for _ in range(count)]
    wholes = [FIXED + sum(n * TRUE[o] for o, n in c.items()) for c in counts]
    alone = {o: ms / scale * (1 + 0.03 * float(rng.normal())) for o, ms in TRUE.items()}
    return LatencyFit(alone, counts, [w * (1 + noise * float(rng.normal())) for w in wholes])


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
def test_costs_in_their_places_are_recovered(scale: float) -> None:
    model = _fit(np.random.default_rng(0), scale, noise=0.003).solve()
    for option, true in TRUE.items():
        assert model.options[option] == pytest.approx(true, rel=0.08)
    unseen = Counter({"o1": 4, "o7": 5, "o3": 1})
    assert model.predict(unseen) == pytest.approx(FIXED + 4 * 0.9 + 5 * 3.3 + 1.7, rel=0.01)


def test_exact_figures_are_recovered_exactly() -> None:
    counts = [Counter({"a": 1, "b": n}) for n in (0, 1, 3, 4)]
    model = LatencyFit({"a": 2.0, "b": 0.5}, counts, [1.0 + 2.0 + 0.5 * n for n in (0, 1, 3, 4)]).solve()
    assert model.options == pytest.approx({"a": 2.0, "b": 0.5}, rel=1e-3)
    assert model.fixed == pytest.approx(1.0, rel=1e-3)


def test_nothing_costs_less_than_nothing() -> None:
    rng = np.random.default_rng(1)
    counts = [Counter(rng.choice(["free", "noisy"], 5).tolist()) for _ in range(12)]
    model = LatencyFit({"free": 0.0, "noisy": 0.01}, counts, (1 + 0.1 * rng.random(12)).tolist()).solve()
    assert model.fixed >= 0
    assert min(model.options.values()) >= 0
    assert model.options["free"] == 0


def test_the_residual_is_that_of_networks_that_were_not_fitted() -> None:
    """Of the order of the noise; far more where the model is wrong; and against fits written out by hand."""
    rng = np.random.default_rng(2)
    fit = _fit(rng, 1.1, noise=0.01)
    assert 0.005 < fit.residuals().residual < 0.03
    bent = LatencyFit(fit.alone, fit.counts, [m**2 for m in fit.measured])
    assert bent.residuals().residual > 2 * fit.residuals().residual
    others = LatencyFit(fit.alone, [*fit.counts[:3], *fit.counts[4:]], [*fit.measured[:3], *fit.measured[4:]])
    assert fit.residuals().predicted[3] == pytest.approx(others.solve().predict(fit.counts[3]))
    assert list(fit.residuals().measured) == list(fit.measured)


def test_residuals_by_hand() -> None:
    """Relative errors of 3, 4 and 1 %, and of 900 % of next to nothing: the median size is 3.5 %."""
    found = Residuals((1.03, 1.92, 3.03, 1.0), (1.0, 2.0, 3.0, 0.1))
    assert found.residual == pytest.approx(1.4826 * 0.035)
    found = Residuals((1.03, 1.92), (1.0, 2.0))
    assert found.scaled(1000).residual == pytest.approx(found.residual)
    assert found.scaled(1000).pairs() == [pytest.approx((1030, 1000)), pytest.approx((1920, 2000))]
    assert Residuals((), ()).residual == 0.0


def test_peaks_are_an_offset_and_a_slope() -> None:
    largest = [1e6, 2e6, 4e6, 5e6, 8e6]
    fit = PeakFit(largest, [3e5 + 1.5 * peak for peak in largest])
    model = fit.solve()
    assert (model.offset, model.slope) == pytest.approx((3e5, 1.5), rel=1e-6)
    assert model.predict(3e6) == pytest.approx(4.8e6)
    assert fit.residuals().residual == pytest.approx(0, abs=1e-9)
    falling = PeakFit(largest, [9e6 - peak for peak in largest]).solve()
    assert falling.slope == 0, "a larger part never makes a smaller whole"
    assert falling.offset > 0


def test_a_calibration_survives_json() -> None:
    calibration = Calibration(Residuals((1.1, 2.2), (1.0, 2.0)), Residuals((0.3,), (0.7,)), 0.03)
    data = json.loads(json.dumps(calibration.to_dict()))
    assert Calibration.from_dict(data) == calibration
    assert data["residual"] == pytest.approx(0.14826)


def test_a_lift_finds_offset_and_factor() -> None:
    before = [0.5, 1.0, 2.0, 3.0, 5.0]
    for offset, factor in ((0.0, 1.1), (-0.03, 1.2), (0.05, 1.0)):
        lift = Lift.fit(before, [offset + factor * ms for ms in before], 0.4)
        assert lift.of(0.5) == pytest.approx(offset + factor * 0.5, rel=0.01)
        assert lift.of(5.0) == pytest.approx(offset + factor * 5.0, rel=0.01)


def test_a_lift_from_networks_of_one_size_is_a_factor() -> None:
    lift = Lift.fit([2.0, 2.0], [2.2, 2.2], 1.0)
    assert (lift.of(2.0), lift.of(1.0)) == (pytest.approx(2.2, rel=1e-3), pytest.approx(1.1, rel=0.02))
    assert Lift(-1.0, 1.0).of(0.5) == 0.0


def test_what_a_lift_leaves_is_how_badly_networks_repeat() -> None:
    before = [1.0, 2.0, 4.0, 8.0, 3.0, 6.0]
    assert Lift(0.0, 1.1).scatter(before, [1.1 * ms for ms in before]) == pytest.approx(0.0, abs=1e-12)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        after = [1.1 * ms * math.exp(0.04 * rng.normal()) for ms in before]
        found.append(Lift.fit(before, after, 1.0).scatter(before, after))
    assert math.sqrt(np.square(found).mean()) == pytest.approx(0.04, rel=0.15)


def test_a_lift_leaves_the_smallest_above_zero() -> None:
    lift = Lift.fit([1.0, 2.0, 3.0], [0.1, 1.2, 2.3], smallest=0.2)
    assert 0 < lift.of(0.2) < 0.2
