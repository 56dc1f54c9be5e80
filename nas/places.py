"""Places: what a person limits who builds for the edge, for a server, or for research.

A place names a device, a batch, a statistic and limits; each limit says why. They are where to start: whoever
knows better gives their own, which take the place of these one by one.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nas.budget import Budget
from nas.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nas.budget import Statistic


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a network will live, and what is scarce there."""

    name: str
    description: str
    device: str
    """The name of a profile."""
    batch: int
    statistic: Statistic
    budget: Budget
    reasons: Mapping[str, str]
    """Why each limit is what it is, by metric."""

    def budget_with(self, own: Budget, energy_known: bool = True) -> Budget:
        """The place's limits, with those of `own` in the place of the same metrics.

        The place limits no energy where the device's is not known.
        """
        limits = self.budget if energy_known else replace(self.budget, energy_mj=None)
        return replace(limits, **own.limits())


def _edge() -> Place:
    frames, battery_wh, hours, a_second = 30, 10, 24, 1
    joules = battery_wh * 3600 / (hours * 3600 * a_second)
    return Place(
        name="edge",
        description="A battery, a camera and a small board: one input at a time, as it comes",
        device="raspberry-pi-5",
        batch=1,
        statistic="p95",
        budget=Budget(latency_ms=1000 / frames, energy_mj=1000 * joules, memory_mb=100),
        reasons={
            "latency_ms": f"a camera gives {frames} frames a second, and a frame that comes late is lost",
            "energy_mj": f"a battery of {battery_wh} Wh lasts {hours} hours at {a_second} inference a second",
            "memory_mb": "a fifth of the 512 MB of the smallest boards (Raspberry Pi Zero 2 W), which hold a "
            "system and a program too",
        },
    )


def _server() -> Place:
    batch, throughput, models = 32, 1000, 4
    return Place(
        name="server",
        description="Many people ask at once: requests go through in batches, and memory is rented",
        device="nvidia-l4",
        batch=batch,
        statistic="p50",
        budget=Budget(latency_ms=1000 * batch / throughput, memory_mb=24_000 / models),
        reasons={
            "latency_ms": f"batches of {batch} at {throughput} inferences a second",
            "memory_mb": f"{models} models, or versions of one, share a card of 24 GB",
        },
    )


def _research() -> Place:
    steps, hours = 100_000, 12
    return Place(
        name="research",
        description="One card for a night: what counts is what training costs, and size for fair comparison",
        device="nvidia-a100",
        batch=256,
        statistic="p50",
        budget=Budget(latency_ms=hours * 3_600_000 / (3 * steps), params_m=100),
        reasons={
            "latency_ms": f"{steps:,} steps of training in {hours} hours; the backward takes twice what the "
            "forward does (Kaplan et al., Scaling laws for neural language models, 2020, section 2.1)",
            "params_m": "results are compared at equal size; 100 M with gradients and Adam's two moments "
            "take 1.6 GB in float32, which every card has",
        },
    )


PLACES: Mapping[str, Place] = {place.name: place for place in (_edge(), _server(), _research())}


def place(name: str) -> Place:
    """The place of that name. Raises BadInputError for another."""
    if name in PLACES:
        return PLACES[name]
    close = difflib.get_close_matches(name, PLACES, n=1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    raise BadInputError(f"no place {name!r}{meant}; the places are {', '.join(PLACES)}")
