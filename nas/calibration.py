"""Calibration: from options measured alone to options in their places, by a few whole architectures.

Latency. Options priced alone carry the runtime's overhead of a session; an identity priced beside them gives
that overhead. Whole architectures in the same rounds then fit

    whole[j]  ~  fixed + sum_o n[j,o] cost[o],       cost[o] = scale * (alone[o] - overhead) * (1 + e[o])

by relative least squares, where n[j,o] counts option o in architecture j and a prior keeps e small: it takes
up what an option costs among its neighbours and not alone (caches, fusion across borders).

Peaks. A runtime's arena holds more than the largest part needs (fragments, the residual stream):

    peak[j]  ~  offset + slope * max over parts of its own peak

Each architecture left out in turn tells what a prediction is worth: the residual, by which the solver aims
below a limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import lsq_linear, nnls

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

OPTION_PRIOR = 0.1
"""Prior standard deviation of e[o]: an option alone differs from the option in place by some per cent."""
NOISE, NOISE_MS = 0.01, 0.0005
"""Standard deviation of the error of one whole architecture in interleaved rounds, as a part of it and beside
that: a decode step of a small network takes 20 microseconds, and no clock knows it to 1 %."""
OFFSET_PRIOR = 0.05
"""Prior standard deviation of a lift's offset, as a part of the usual network's latency."""
TICK_MS = 0.005
"""Error of a latency that does not shrink with it."""


@dataclass(frozen=True)
class Residuals:
    """Whole architectures, each predicted by a fit to all the others, beside what was measured."""

    predicted: tuple[float, ...]
    measured: tuple[float, ...]

    def pairs(self) -> list[tuple[float, float]]:
        return list(zip(self.predicted, self.measured, strict=True))

    @property
    def residual(self) -> float:
        """Relative error of a usual network: 1.48 times the median size, a standard deviation that a few
        networks of next to no latency, whose relative errors are large, do not move."""
        return 1.4826 * median(abs(p / m - 1) for p, m in self.pairs()) if self.measured else 0.0

    def scaled(self, factor: float) -> Residuals:
        """The same in another unit."""
        return self.lifted(Lift(0.0, factor))

    def lifted(self, lift: Lift) -> Residuals:
        """The same at another moment or percentile."""
        return Residuals(tuple(map(lift.of, self.predicted)), tuple(map(lift.of, self.measured)))


@dataclass(frozen=True)
class Calibration:
    """How well a table explains whole architectures: latency in milliseconds, peaks in 10^6 bytes."""

    latency: Residuals
    peak: Residuals
    repeatability: float = 0.0
    """The standard deviation of a network's latency in another process, what all have in common taken out, as
    a part of it; 0 where nothing was measured twice."""

    def to_dict(self) -> dict[str, Any]:
        latency, peak = self.latency, self.peak
        return {
            "residual": latency.residual,
            "networks": [{"predicted_ms": p, "measured_ms": m} for p, m in latency.pairs()],
            "repeatability": self.repeatability,
            "peak_residual": peak.residual,
            "peaks": [{"predicted_mb": p, "measured_mb": m} for p, m in peak.pairs()],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        latency, peak = data["networks"], data["peaks"]
        return cls(
            Residuals(tuple(n["predicted_ms"] for n in latency), tuple(n["measured_ms"] for n in latency)),
            Residuals(tuple(n["predicted_mb"] for n in peak), tuple(n["measured_mb"] for n in peak)),
            data.get("repeatability", 0.0),
        )


@dataclass(frozen=True)
class LatencyModel:
    """What the fit found, in milliseconds: the fixed rest, and each structure in its place."""

    fixed: float
    options: Mapping[str, float]

    def predict(self, counts: Counter[str]) -> float:
        return self.fixed + sum(n * self.options[key] for key, n in counts.items())


@dataclass(frozen=True)
class LatencyFit:
    """`alone` by structure, without overhead; of architecture j, `counts[j]` and `measured[j]`."""

    alone: Mapping[str, float]
    counts: Sequence[Counter[str]]
    measured: Sequence[float]

    def solve(self) -> LatencyModel:
        """Unknowns: fixed, scale, and e[o] of each structure."""
        alone = np.array(list(self.alone.values()))
        counted = np.array([[c[key] for key in self.alone] for c in self.counts]) * alone
        measured = np.array(self.measured)
        ones = np.ones((len(measured), 1))
        noise = NOISE * measured + NOISE_MS
        rows = np.hstack([ones, counted.sum(1, keepdims=True), counted]) / noise[:, None]
        prior = np.hstack([np.zeros((len(alone), 2)), np.eye(len(alone)) / OPTION_PRIOR])
        lower = np.r_[0.0, 0.0, np.full(len(alone), -0.5)]
        upper = np.r_[np.inf, np.inf, np.full(len(alone), 0.5)]
        target = np.r_[measured / noise, np.zeros(len(alone))]
        fixed, scale, *e = lsq_linear(np.vstack([rows, prior]), target, (lower, upper)).x
        cost = np.maximum(0.0, (scale + np.array(e)) * alone)
        return LatencyModel(float(fixed), dict(zip(self.alone, cost.tolist(), strict=True)))

    def residuals(self) -> Residuals:
        predicted = [self._without(j).solve().predict(self.counts[j]) for j in range(len(self.counts))]
        return Residuals(tuple(predicted), tuple(self.measured))

    def _without(self, j: int) -> LatencyFit:
        counts, measured = list(self.counts), list(self.measured)
        del counts[j], measured[j]
        return replace(self, counts=counts, measured=measured)


@dataclass(frozen=True)
class Lift:
    """From a network's latency at one moment or percentile to another: offset + factor * latency.

    Interruptions hit long networks more than short ones, so a factor alone would overstate the short.
    """

    offset_ms: float
    factor: float

    @classmethod
    def fit(cls, before: Sequence[float], after: Sequence[float], smallest: float) -> Lift:
        """Of networks spread over the range, in milliseconds; the offset stays small unless they insist.

        It takes at most a quarter of the smallest network there can be, and the factor is at least a half, so
        that every latency stays above zero.
        """
        x, y = np.array(before), np.array(after)
        error = NOISE * y + TICK_MS
        rows = np.stack([np.ones_like(x), x], 1) / error[:, None]
        prior = [[1 / (OFFSET_PRIOR * float(np.median(y))), 0.0]]
        target, bounds = np.r_[y / error, 0.0], ([-0.25 * smallest - 1e-9, 0.5], [np.inf, np.inf])
        offset, factor = lsq_linear(np.vstack([rows, prior]), target, bounds).x
        return cls(float(offset), float(factor))

    def of(self, latency_ms: float) -> float:
        return max(0.0, self.offset_ms + self.factor * latency_ms)

    def scatter(self, before: Sequence[float], after: Sequence[float]) -> float:
        """Standard deviation of what it leaves of networks that it was fitted to, as a part of each."""
        left = np.log(np.array(after)) - np.log([self.of(latency) for latency in before])
        return float(np.sqrt(np.square(left).sum() / max(1, len(left) - 2)))


@dataclass(frozen=True)
class PeakModel:
    offset: float
    slope: float

    def predict(self, largest: float) -> float:
        return self.offset + self.slope * largest


@dataclass(frozen=True)
class PeakFit:
    """Of architecture j, `largest[j]` of its parts' own peaks and `measured[j]` of the whole; in bytes."""

    largest: Sequence[float]
    measured: Sequence[float]

    def solve(self) -> PeakModel:
        largest, measured = np.array(self.largest), np.array(self.measured)
        rows = np.stack([np.ones_like(largest), largest], 1) / measured[:, None]
        offset, slope = nnls(rows, np.ones(len(measured)))[0]
        return PeakModel(float(offset), float(slope))

    def residuals(self) -> Residuals:
        predicted = []
        for j, largest in enumerate(self.largest):
            others = [i for i in range(len(self.largest)) if i != j]
            fit = PeakFit([self.largest[i] for i in others], [self.measured[i] for i in others])
            predicted.append(fit.solve().predict(largest))
        return Residuals(tuple(predicted), tuple(self.measured))
