"""The latency of any network in ONNX Runtime on this machine, predicted from operators that were timed on it.

The file is loaded, which shows what runs of it, and not run. Its latency is the sum of what its kernels take
(`kernel_regression`). How far off that may be, the microbenchmarks say, predicted in turn by those that were
fitted without them: so much for each operator, and the whole stretched until nine networks of ten lie within
(a conformal interval, normalised).

Papadopoulos, Gammerman, Vovk: Normalized nonconformity measures for regression conformal prediction, 2008.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_cost_models.export import export_many
from hw_cost_models.kernel_regression import KernelRegression, Samples
from hw_cost_models.kernel_times import kernel_times
from hw_cost_models.kernels import kernels_of
from hw_cost_models.self_calibration import self_calibrated
from hw_cost_models.trace import static_cost, static_costs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hw_cost_models.cost import Cost, Item, Statistic
    from hw_cost_models.device import Device, Roofline
    from hw_cost_models.kernel_times import KernelTimes
    from hw_cost_models.kernels import Kernels
    from hw_cost_models.measure import Progress

Array = np.ndarray[Any, np.dtype[Any]]

_TREES = 60
_FOLDS = 3
_TREES_OF_A_FOLD = 20
_COVERAGE = 0.9
_UNSEEN = 1.0
"""Deviation of the logarithm for an operator that was never timed: a factor of three either way."""


@dataclass(frozen=True)
class PredictedLatency:
    """Of a whole network, in milliseconds."""

    latency_ms: float
    low_ms: float
    high_ms: float
    """Between these two a measurement lies nine times in ten, if the network is like the microbenchmarks."""
    operators_ms: dict[str, float]
    """The sum over the kernels of each operator, the dearest first."""
    unseen: tuple[str, ...]
    """Operators that no microbenchmark has: what is said of them is a guess."""


class LatencyPredictor:
    """A CostModel for networks that have not been measured. Not for several threads at once.

    `dynamic` names the dimensions that stay free in files exported from modules. The operators are timed at
    the first use, in about a minute, and kept in the folder `cache`, as `kernel_times` describes.
    """

    def __init__(
        self,
        device: Device,
        *,
        dynamic: Mapping[int, str] | None = None,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.device = device
        self.dynamic = dict(dynamic or {})
        self.cache = cache
        self.progress = progress
        self._fitted: dict[Statistic, _Fitted] = {}

    @cached_property
    def times(self) -> KernelTimes:
        """What was measured. Raises MeasurementError as `kernel_times` does."""
        return kernel_times(self.device, self.cache, self.progress)

    @cached_property
    def roofline(self) -> Roofline:
        """Of this machine, by which work becomes comparable."""
        calibrated = self_calibrated(self.device, self.cache, self.progress).roofline
        assert calibrated is not None  # that is what it is made for
        return calibrated

    def predict(
        self, path: Path, dimensions: Mapping[str, int] | None = None, statistic: Statistic = "p10"
    ) -> PredictedLatency:
        """Of a file, with its free dimensions set as in `read_onnx`; raises as `kernels_of` does."""
        return self._fit(statistic).predict(kernels_of(path, dimensions))

    def price(self, items: Mapping[str, Item], counted: Mapping[str, Cost] | None = None) -> dict[str, Cost]:
        """Predicted latency, the rest counted. Raises HardwareCostError where an item cannot be exported."""
        latency = self.latency_ms(items, "p10")
        known = counted or static_costs(items)
        return {name: replace(cost, latency_ms=latency[name]) for name, cost in known.items()}

    def latency_ms(self, items: Mapping[str, Item], statistic: Statistic) -> dict[str, float]:
        """Raises as `price` does."""
        with tempfile.TemporaryDirectory(prefix="dnas-predict-") as folder:
            files = export_many(items, Path(folder), self.dynamic)
            return {
                name: self.predict(path, self._dimensions(items[name]), statistic).latency_ms
                for name, path in files.items()
            }

    def peak_bytes(self, items: Mapping[str, Item]) -> dict[str, float]:
        """The largest sum of tensors alive at once, as PyTorch would run the operators."""
        return {name: static_cost(*item).peak_activation_bytes for name, item in items.items()}

    def _dimensions(self, item: Item) -> dict[str, int]:
        _, inputs = item
        return {
            name: tensor.shape[axis]
            for axis, name in self.dynamic.items()
            for tensor in inputs
            if axis < tensor.dim()
        }

    def _fit(self, statistic: Statistic) -> _Fitted:
        if statistic not in self._fitted:
            names = sorted(self.times.networks)
            ms = np.array([self.times.timings[name].at(statistic) for name in names])
            self._fitted[statistic] = _Fitted.to(
                [self.times.networks[name] for name in names], ms, self.roofline
            )
        return self._fitted[statistic]


@dataclass(frozen=True)
class _Fitted:
    """A regression, and how far off it is: networks that it was not fitted to say so."""

    roofline: Roofline
    regression: KernelRegression
    deviations: dict[str, float]
    """Of the logarithm of what each operator takes, the same for all of its kernels in a network."""
    stretch: float
    """How many of a network's deviations it takes to cover as many networks as an interval has to."""

    @classmethod
    def to(cls, networks: Sequence[Kernels], ms: Array, roofline: Roofline) -> _Fitted:
        samples, overhead_ms = Samples.of(networks, roofline), roofline.overhead_us.value * 1e-3
        off, kernel_ms = _held_out(samples, ms, overhead_ms)
        shares = _shares(samples, kernel_ms)
        deviations = {
            operator: float(np.sqrt((of * off**2).sum() / of.sum())) for operator, of in shares.items()
        }
        scores = np.abs(off) / _deviation(shares, deviations)
        return cls(
            roofline,
            KernelRegression(samples, ms, overhead_ms, _TREES),
            deviations,
            float(np.quantile(scores, _COVERAGE)),
        )

    def predict(self, network: Kernels) -> PredictedLatency:
        samples = Samples.of([network], self.roofline)
        kernel_ms = self.regression.kernel_ms(samples)
        shares, total = _shares(samples, kernel_ms), float(self.regression.network_ms(samples)[0])
        factor = math.exp(self.stretch * float(_deviation(shares, self.deviations)[0]))
        in_all = float(samples.totals(kernel_ms)[0])
        operators = {operator: float(share[0]) * in_all for operator, share in shares.items()}
        return PredictedLatency(
            latency_ms=total,
            low_ms=total / factor,
            high_ms=total * factor,
            operators_ms=dict(sorted(operators.items(), key=lambda item: -item[1])),
            unseen=tuple(sorted(operators.keys() - self.deviations.keys())),
        )


def _held_out(samples: Samples, ms: Array, overhead_ms: float) -> tuple[Array, Array]:
    """(networks): logarithm of measured over predicted; (kernels): predicted; fitted without them."""
    off, kernel_ms = np.zeros(len(ms)), np.zeros(len(samples))
    order = np.random.default_rng(0).permutation(len(ms))
    for fold in range(_FOLDS):
        unseen = order[fold::_FOLDS]
        known = samples.only(np.setdiff1d(order, unseen))
        partial = KernelRegression(known, ms, overhead_ms, _TREES_OF_A_FOLD)
        rest = samples.only(unseen)
        off[unseen] = np.log(ms[unseen] / partial.network_ms(rest)[unseen])
        kernel_ms[np.isin(samples.network, unseen)] = partial.kernel_ms(rest)
    return off, kernel_ms


def _shares(samples: Samples, kernel_ms: Array) -> dict[str, Array]:
    """(networks) by operator: its share of the time of all kernels."""
    total = samples.totals(kernel_ms)
    return {
        operator: samples.totals(kernel_ms * (samples.operators == operator)) / total
        for operator in np.unique(samples.operators).tolist()
    }


def _deviation(shares: Mapping[str, Array], deviations: Mapping[str, float]) -> Array:
    """(networks): of the logarithm of the latency, operators being off independently of each other."""
    return np.sqrt(sum((share * deviations.get(name, _UNSEEN)) ** 2 for name, share in shares.items()))
