"""Places: their limits by hand arithmetic, and that the devices they name can be asked for them."""

from __future__ import annotations

import pytest

from hw_cost_models.device import load_device
from nas.budget import Budget
from nas.errors import BadInputError
from nas.places import PLACES, place


def test_their_limits() -> None:
    # 30 frames a second; 36,000 J for 86,400 inferences.
    edge = {"latency_ms": 1000 / 30, "energy_mj": 416.7, "memory_mb": 100}
    assert PLACES["edge"].budget.limits() == pytest.approx(edge, rel=1e-3)
    assert PLACES["server"].budget == Budget(latency_ms=32, memory_mb=6000)
    # A night of 43,200 s for 100,000 steps of 0.432 s, of which the forward is a third.
    assert PLACES["research"].budget == Budget(latency_ms=144, params_m=100)


@pytest.mark.parametrize("name", PLACES)
def test_every_limit_says_why(name: str) -> None:
    assert PLACES[name].name == name
    assert PLACES[name].reasons.keys() == PLACES[name].budget.limits().keys()


@pytest.mark.parametrize("name", PLACES)
def test_their_devices_know_what_is_limited(name: str) -> None:
    device, budget = load_device(PLACES[name].device), PLACES[name].budget
    assert device.memory_mb is not None
    assert (budget.memory_mb or 0) < device.memory_mb.value
    assert budget.energy_mj is None or device.energy is not None


def test_an_idle_board_does_not_spend_an_inference() -> None:
    """Else no network could be within both limits."""
    edge = PLACES["edge"]
    energy = load_device(edge.device).energy
    assert energy is not None
    assert edge.budget.latency_ms is not None
    assert edge.budget.energy_mj is not None
    assert energy.idle_w.value * edge.budget.latency_ms < edge.budget.energy_mj / 2


def test_own_limits_come_first() -> None:
    edge = place("edge")
    mixed = edge.budget_with(Budget(latency_ms=5, params_m=2))
    assert mixed == Budget(latency_ms=5, energy_mj=edge.budget.energy_mj, memory_mb=100, params_m=2)
    assert edge.budget_with(Budget()) == edge.budget


def test_another_place() -> None:
    with pytest.raises(
        BadInputError, match=r"'severs' \(did you mean 'server'\?\); the places are edge, server, research"
    ):
        place("severs")
