"""Budget: limits on costs. Metric: how one figure that can be limited follows from costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from nas.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hw_cost_models.cost import Cost, Kind

Statistic = Literal["p50", "p95"]


@dataclass(frozen=True)
class Metric:
    """A figure of a whole network: the sum of `additive` over its parts, plus the largest `peak` of any."""

    name: str
    """The key in JSON and the name of the limit; it ends in the unit."""
    title: str
    unit: str
    additive: Callable[[Cost], float]
    peak: Callable[[Cost], float] = lambda cost: 0.0
    kind: Kind = "forward"
    """The kind of workload whose costs it is read from."""

    @property
    def timed(self) -> bool:
        """Whether it is measured by the clock, so that two measurements differ."""
        return self.unit == "ms"

    def of(self, cost: Cost) -> float:
        return self.additive(cost) + self.peak(cost)


METRICS = (
    Metric("latency_ms", "latency", "ms", lambda cost: cost.latency_ms),
    Metric("prefill_ms", "time to first token", "ms", lambda cost: cost.latency_ms, kind="prefill"),
    Metric("decode_ms", "time per token", "ms", lambda cost: cost.latency_ms, kind="decode"),
    Metric("energy_mj", "energy", "mJ", lambda cost: cost.energy_mj),
    Metric(
        "memory_mb", "memory", "MB", lambda c: c.weight_bytes / 1e6, lambda c: c.peak_activation_bytes / 1e6
    ),
    Metric("state_mb", "state", "MB", lambda cost: cost.state_bytes / 1e6, kind="decode"),
    Metric("params_m", "parameters", "M", lambda cost: cost.parameters / 1e6),
)


def metric(name: str) -> Metric:
    """The metric of that name."""
    return next(metric for metric in METRICS if metric.name == name)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Upper limits that hold together; None means unlimited. MB are 10^6 bytes, M are 10^6 parameters.

    Raises BadInputError for a limit that is not a positive, finite number.
    """

    latency_ms: float | None = None
    prefill_ms: float | None = None
    """Of a prompt as long as the context: the time to the first token."""
    decode_ms: float | None = None
    """Of one token after a context: the time per token."""
    energy_mj: float | None = None
    memory_mb: float | None = None
    state_mb: float | None = None
    """What a language model keeps of a context: key-value cache, recurrent state."""
    params_m: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits().items():
            if not (math.isfinite(limit) and limit > 0):
                raise BadInputError(f"{name}: {limit} is not a positive number; leave it out for no limit")

    def limits(self) -> dict[str, float]:
        """The limits that are set, by metric name."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of workload that the limits are on, the plain forward first and always."""
        limited = {metric.kind for metric, _ in self.items()}
        return ("forward", *(kind for kind in ("prefill", "decode") if kind in limited))

    def items(self) -> Iterator[tuple[Metric, float]]:
        limits = self.limits()
        return ((metric, limits[metric.name]) for metric in METRICS if metric.name in limits)
