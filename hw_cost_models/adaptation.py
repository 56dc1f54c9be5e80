"""Adaptation: the latency of every network on a device never seen, from about ten measured there.

The log latencies of n networks on the new device are a draw from a Gaussian process over the networks,

    y = m + c + p + f + e,    p ~ N(0, a² P Pᵀ),  f ~ N(0, b² F Fᵀ),  e ~ N(0, s² I)

with P the first principal components of what is known of the networks (their log latencies on other devices,
or what a roofline says of them on several profiles), and F further features of the networks, if there are any
(counts of operators, say), for a device unlike all that are known. c is the speed of the device. a, b and s
are what the measurements make likeliest, under log-normal priors. Which networks to measure is decided
beforehand: one after the other, that of which least would be known after the others.

Rasmussen, Williams: Gaussian processes for machine learning, MIT Press 2006, sections 2.7 and 5.4.1 (the
model and its likelihood); Krause, Singh, Guestrin: Near-optimal sensor placements in Gaussian processes, JMLR
9, 2008, section 3 (choosing by entropy). HELP (Lee et al., NeurIPS 2021) solves the task by meta-learning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from hw_cost_models.device import device_names, load_device
from hw_cost_models.errors import HardwareCostError, MeasurementError
from hw_cost_models.graph import Kind
from hw_cost_models.roofline import RooflineModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx

    from hw_cost_models.roofline import GroupCost

Array = np.ndarray[Any, np.dtype[Any]]

_COMPONENTS = 4
"""Principal components that ten measurements can tell apart from noise. With three and with six, phones, GPUs
and CPUs that are left out in turn rank a little worse."""
_SPEED = 1.0
"""Standard deviation of the logarithm of a device's speed about the median of what was measured on it."""
_FEATURES = 0.4
"""Prior of b, as a fraction of that of a: features explain what devices that are known leave unexplained."""
_FEATURES_WHEN_CHOOSING = 0.1
"""The same for choosing: there are more features than measurements, which the components need most."""
_NOISE = 0.05
"""Prior of s: 5 % is what measured latencies of the same network differ by between sessions."""
_VAGUE = 3.0
"""Standard deviation of the logarithms of a², b² and s² in their priors: a factor of 20 either way."""


def known_by_roofline(graphs: Sequence[nx.DiGraph]) -> tuple[Array, Array]:
    """What is known of networks that have never run anywhere, from their graphs (`trace`, `read_onnx`).

    (networks, devices): log milliseconds on every device whose profile comes with the package, and (networks,
    kinds of operators): the share of the time that each kind takes there, on average. Where a device is
    slower at one kind than its roofline says, the logarithm of a latency rises by about that share of it.
    Both are to be given to `Adapter.fit`.
    """
    models = [RooflineModel(device) for device in map(load_device, device_names()) if device.roofline]
    spent = np.array([[_by_kind(model.operators(graph)) for model in models] for graph in graphs])
    totals = spent.sum(axis=-1)
    return np.log(totals), (spent / totals[..., None]).mean(axis=1)


def _by_kind(groups: Sequence[GroupCost]) -> list[float]:
    """Milliseconds."""
    return [sum(group.latency_ms for group in groups if group.kind == kind) for kind in get_args(Kind)]


@dataclass(frozen=True)
class Adapted:
    """Predictions of every network on the new device."""

    latency_ms: Array
    """(networks): the median."""
    log_deviation: Array
    """(networks): standard deviation of the logarithm of a further measurement, its noise included."""

    def interval_ms(self, coverage: float = 0.9) -> tuple[Array, Array]:
        """Between which two latencies a measurement of each network lies with that probability."""
        from scipy.special import ndtri

        factor = np.exp(ndtri(0.5 + coverage / 2) * self.log_deviation)
        return self.latency_ms / factor, self.latency_ms * factor


@dataclass(frozen=True)
class Adapter:
    """What is known of the networks before any of them has run on the new device."""

    components: Array
    """(networks, components): principal components, each in proportion to what it explains."""
    features: Array
    """(networks, features): standardised; none where there are none."""
    spread: float
    """Standard deviation of the log latencies of a typical known device: the prior of a."""

    @classmethod
    def fit(cls, known: Array, features: Array | None = None) -> Adapter:
        """From log latencies (networks, devices), measured or predicted, and features (networks, features).

        Only the differences within a column count, so any unit of time will do. Raises HardwareCostError for
        arrays of other shapes, for numbers that are not finite, and where no column tells networks apart.
        """
        known = _matrix(known, "known")
        spreads = known.std(axis=0)
        if not (spreads > 0).any():
            raise HardwareCostError(
                "known: on every device all networks take the same time, which tells nothing of another; "
                "give networks that differ"
            )
        others = np.empty((len(known), 0)) if features is None else _matrix(features, "features")
        if len(others) != len(known):
            raise HardwareCostError(
                f"features: {len(others)} rows for {len(known)} networks; give one row for each network"
            )
        standard = _standardised(known)
        left, sizes, _ = np.linalg.svd(standard, full_matrices=False)
        count = min(_COMPONENTS, int((sizes > 1e-9 * sizes[0]).sum()))
        components = left[:, :count] * sizes[:count]
        return cls(
            _scaled(components), _scaled(_standardised(others)), float(np.median(spreads[spreads > 0]))
        )

    def choose(self, count: int, among: Sequence[int] | Array | None = None) -> list[int]:
        """The networks to measure, of those `among` which it is possible (all, if not said).

        An unseen device may stress what the known ones hardly differ in, so here each component counts by the
        square root of what it explains.
        Raises HardwareCostError where there are fewer than `count`, or count is not positive.
        """
        candidates = np.arange(len(self.components)) if among is None else np.unique(np.asarray(among))
        if not 1 <= count <= len(candidates):
            raise HardwareCostError(f"{count} networks cannot be chosen among {len(candidates)}")
        levelled = _scaled(self.components / np.sqrt(self.components.std(axis=0)))
        factor = _factor(levelled, self.features, self.spread, _FEATURES_WHEN_CHOOSING * self.spread)
        return [int(candidates[i]) for i in _least_known(factor[candidates], count)]

    def adapt(
        self, indices: Sequence[int] | Array, measured_ms: Sequence[float] | Array, resolution_ms: float = 0.0
    ) -> Adapted:
        """Predict every network from the milliseconds that those at `indices` took on the new device.

        `resolution_ms` is the unit that the device's clock counts in, if it is coarse: 1 for whole
        milliseconds. Raises MeasurementError for latencies that are not positive, or not one for each index,
        and for an index that is no network's.
        """
        where, measured = np.asarray(indices), np.asarray(measured_ms, dtype=float)
        if measured.ndim != 1 or where.shape != measured.shape or not len(measured):
            raise MeasurementError(f"{measured.size} latencies for {where.size} networks; give one for each")
        for index, latency in zip(where.tolist(), measured.tolist(), strict=True):
            if not 0 <= index < len(self.components):
                raise MeasurementError(f"no network {index}: they are 0 to {len(self.components) - 1}")
            if not 0 < latency < np.inf:
                raise MeasurementError(
                    f"network {index}: {latency} ms is no latency; measure it again, or leave it out"
                )
        rounding = (resolution_ms / measured) ** 2 / 12  # of a uniform error, in the logarithm
        targets = np.log(measured)
        centre = float(np.median(targets))
        a, b, noise = self._likeliest(where, targets - centre, rounding)
        factor = _factor(self.components, self.features, a, b)
        mean, variance = _posterior(factor, where, targets - centre, rounding + noise**2)
        return Adapted(np.exp(mean + centre), np.sqrt(variance + noise**2))

    def _likeliest(self, where: Array, targets: Array, rounding: Array) -> tuple[float, float, float]:
        """a, b and s at the mode of their posterior."""
        from scipy.optimize import minimize

        typical = 2 * np.log([self.spread, _FEATURES * self.spread, _NOISE])
        components, features = self.components[where], self.features[where]

        def surprise(offsets: Array) -> float:
            a, b, noise = np.exp((typical + offsets) / 2)
            factor = _factor(components, features, a, b)
            covariance = factor @ factor.T + np.diag(rounding + noise**2)
            return _negative_log_likelihood(covariance, targets) + float(offsets @ offsets) / 2 / _VAGUE**2

        bounds = [(-3 * _VAGUE, 3 * _VAGUE)] * 3
        a, b, noise = np.exp((typical + minimize(surprise, np.zeros(3), bounds=bounds).x) / 2)
        return float(a), float(b), float(noise)


def _factor(components: Array, features: Array, a: float, b: float) -> Array:
    """(networks, all columns): its product with its own transpose is the prior covariance."""
    return np.hstack([np.full((len(components), 1), _SPEED), a * components, b * features])


def _posterior(factor: Array, where: Array, targets: Array, noise: Array) -> tuple[Array, Array]:
    """Mean and variance of every row, given noisy targets of some."""
    seen = factor[where]
    solved = np.linalg.solve(seen @ seen.T + np.diag(noise), np.column_stack([targets, seen]))
    left = np.eye(factor.shape[1]) - seen.T @ solved[:, 1:]
    variance = np.einsum("ij,jk,ik->i", factor, left, factor)
    return factor @ (seen.T @ solved[:, 0]), np.maximum(variance, 0)


def _least_known(factor: Array, count: int) -> list[int]:
    """Rows one after the other, each with the largest variance that those before leave: pivoted Cholesky."""
    variance = (factor**2).sum(axis=1)
    columns = np.zeros((len(factor), count))
    chosen: list[int] = []
    for step in range(count):
        left = variance.copy()
        left[chosen] = -np.inf
        best = int(np.argmax(left))
        chosen.append(best)
        covariance = factor @ factor[best] - columns @ columns[best]
        columns[:, step] = covariance / np.sqrt(max(variance[best], 0) + _NOISE**2)
        variance = variance - columns[:, step] ** 2
    return chosen


def _negative_log_likelihood(covariance: Array, targets: Array) -> float:
    """But for a constant."""
    lower = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(lower, targets)
    return float(whitened @ whitened / 2 + np.log(np.diag(lower)).sum())


def _matrix(value: Array, name: str) -> Array:
    matrix = np.asarray(value, dtype=float)
    if matrix.ndim != 2 or not matrix.size:
        raise HardwareCostError(f"{name}: a matrix with a row for each network, not of shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise HardwareCostError(
            f"{name}: row {row}, column {column} is {matrix[row, column]}; leave that network out"
        )
    return matrix


def _standardised(matrix: Array) -> Array:
    """Columns of mean 0 and deviation 1; those that do not vary are 0."""
    centred = matrix - matrix.mean(axis=0)
    deviations = centred.std(axis=0)
    return np.where(deviations > 0, centred / np.where(deviations > 0, deviations, 1), 0.0)


def _scaled(matrix: Array) -> Array:
    """With rows whose mean square length is 1."""
    size = float(np.sqrt((matrix**2).sum(axis=1).mean())) if matrix.size else 0.0
    return matrix / size if size else matrix
