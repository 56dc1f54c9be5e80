"""How much longer each kernel takes than its roofline says, learned from the times of whole small networks.

    T = t₀ + sum over kernels of  r exp g(x)

with T the measured time of a network, t₀ what a run costs before any kernel starts, r a kernel's roofline and
x its features. g is a forest of randomised trees for each operator. A measurement gives only the sum;
it is divided among the kernels in proportion to what the forests say, from the rooflines on, and the forests
are fitted to these shares, a few times over. Where a network is one kind of kernel several times over, the
shares hardly move.

Geurts, Ernst, Wehenkel: Extremely randomized trees, Machine Learning 63, 2006. nn-Meter (Zhang et al.,
MobiSys 2021) adds up kernels predicted by random forests in the same way, and times each kernel alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_cost_models.errors import MeasurementError
from hw_cost_models.kernel_features import expected_ms, features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hw_cost_models.device import Roofline
    from hw_cost_models.graph import Kind
    from hw_cost_models.kernels import Kernels

Array = np.ndarray[Any, np.dtype[Any]]

_FAMILIES: tuple[tuple[Kind, ...], ...] = (
    ("convolution",),
    ("matmul", "attention"),
    ("scan",),
    ("elementwise", "normalisation", "reduction", "movement", "other"),
)
"""Kinds of kernels, of which those operators share a forest that are too rare for one of their own."""
_ENOUGH = 10
"""Samples of an operator for a forest of its own."""
_ROUNDS = 3
"""Of dividing the times anew; a fourth changes predictions by less than one in a hundred."""
_LEAST_WEIGHT = 1e-4
"""Of a sample, beside the square of its share of its network's time: the larger the share, the less of its
error comes from what was said of the other kernels."""


@dataclass(frozen=True)
class Samples:
    """The distinct kernels of some networks, one network after the other."""

    repeats: Array
    """(kernels): how often each comes in its network."""
    network: Array
    """(kernels): which network each is of."""
    families: Array
    """(kernels): which family each is of, by its kind."""
    operators: Array
    """(kernels): names."""
    expected_ms: Array
    """(kernels): by roofline."""
    features: Array
    """(kernels, features)"""

    @classmethod
    def of(cls, networks: Sequence[Kernels], roofline: Roofline) -> Samples:
        cache = roofline.cache_mb
        rows: list[tuple[Any, ...]] = []
        for number, network in enumerate(networks):
            stay = cache is not None and network.weight_bytes <= cache.value * 1e6
            for kernel, repeats in Counter(network.kernels).items():
                expected, on_chip = (expected_ms(kernel, roofline, on) for on in (stay, True))
                family = next(i for i, kinds in enumerate(_FAMILIES) if kernel.kind in kinds)
                described = features(kernel, expected, on_chip)
                rows.append((repeats, number, family, kernel.operator, expected, described))
        return cls(*map(np.array, zip(*rows, strict=True)))

    def __len__(self) -> int:
        return len(self.network)

    def only(self, networks: Array) -> Samples:
        """Those of some of the networks, which keep their numbers."""
        kept = np.isin(self.network, networks)
        return Samples(*(values[kept] for values in vars(self).values()))

    def totals(self, ms: Array) -> Array:
        """(networks): sums of what each kernel takes, as often as it comes."""
        return np.bincount(self.network, self.repeats * ms)


class KernelRegression:
    """Fitted to the kernels of networks that took so many milliseconds, by the number of the network.

    `overhead_ms` is the roofline's of a kernel. Raises MeasurementError where scikit-learn is not installed.
    """

    def __init__(self, samples: Samples, ms: Array, overhead_ms: float, trees: int) -> None:
        present = np.unique(samples.network)
        kernels = samples.totals(np.ones(len(samples)))[present]
        self.start_ms = max(0.0, float((ms[present] - overhead_ms * kernels).min()))
        """What is left of the quickest network once every kernel has had its overhead."""
        counts = Counter(samples.operators.tolist())
        self.operators = sorted(counts)
        """Those that were seen."""
        self._own = [operator for operator, count in counts.items() if count >= _ENOUGH]
        said = samples.expected_ms
        for step in range(_ROUNDS):
            self._forests = self._fit(samples, ms, said, trees if step == _ROUNDS - 1 else trees // 2)
            said = self.kernel_ms(samples)

    def kernel_ms(self, samples: Samples) -> Array:
        """(kernels): milliseconds of each; by roofline where nothing like it was seen."""
        rows, logs = self._columns(samples), np.zeros(len(samples))
        for name, where in self._divided(samples).items():
            if name in self._forests:
                logs[where] = self._forests[name].predict(rows[where])
        return np.asarray(samples.expected_ms * np.exp(logs))

    def network_ms(self, samples: Samples) -> Array:
        """(networks): milliseconds of each, up to the last of which there are kernels."""
        return self.start_ms + samples.totals(self.kernel_ms(samples))

    def _fit(self, samples: Samples, ms: Array, said: Array, trees: int) -> dict[str, Any]:
        """Forests fitted to the times as they are divided by what was said of the kernels."""
        share = said / samples.totals(said)[samples.network]
        times = np.maximum((ms[samples.network] - self.start_ms) * share, 1e-6)
        target = np.log(times) - np.log(samples.expected_ms)
        rows, weights = self._columns(samples), (share * samples.repeats) ** 2 + _LEAST_WEIGHT
        return {
            name: _forest(trees).fit(rows[where], target[where], sample_weight=weights[where])
            for name, where in self._divided(samples).items()
        }

    def _divided(self, samples: Samples) -> dict[str, Array]:
        """Which kernels each forest is for: those of an operator, or the rest of a family."""
        names = np.array([f"the rest of family {family}" for family in range(len(_FAMILIES))])[
            samples.families
        ]
        names = np.where(np.isin(samples.operators, self._own), samples.operators, names)
        return {name: names == name for name in np.unique(names).tolist()}

    def _columns(self, samples: Samples) -> Array:
        """(kernels, features and one column for each operator that was seen)"""
        return np.column_stack(
            [samples.features, samples.operators[:, None] == np.array(self.operators)[None, :]]
        )


def _forest(trees: int) -> Any:
    try:
        from sklearn.ensemble import ExtraTreesRegressor
    except ImportError:
        raise MeasurementError(
            "learning from timed operators needs scikit-learn: pip install 'dnas[predict]'"
        ) from None
    return ExtraTreesRegressor(trees, min_samples_leaf=2, max_features=0.5, random_state=0)
