"""Microbenchmarks: small networks of one operator, or of a few that usually follow each other, to learn from.

Shapes are drawn at random, on logarithmic scales, from those that layers of networks have. An operator comes
two to four times in a row, so that what surrounds it weighs little; what comes out is cut down to one number,
because a runtime gives results in fresh memory, which costs more than most operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hw_cost_models.microbenchmarks import convolutions, others, products
from hw_cost_models.microbenchmarks.network import Microbenchmark, Network

if TYPE_CHECKING:
    from collections.abc import Callable

_FAMILIES: tuple[tuple[Callable[[Network, np.random.Generator], None], int], ...] = (
    (convolutions.convolution, 140),
    (convolutions.stem, 10),
    (convolutions.depthwise, 40),
    (convolutions.grouped, 20),
    (convolutions.residual, 20),
    (convolutions.preactivated, 12),
    (convolutions.pooling, 20),
    (convolutions.squeeze_excite, 16),
    (convolutions.transposed_convolution, 8),
    (convolutions.convolution_1d, 80),
    (convolutions.reordering, 24),
    (convolutions.large_images, 10),
    (convolutions.large_weights, 3),
    (products.linear, 80),
    (products.attention, 30),
    (products.recurrent, 24),
    (products.large_weights, 5),
    (others.function, 30),
    (others.cheap, 12),
    (others.roots, 16),
    (others.limits, 20),
    (others.binary, 14),
    (others.broadcast, 20),
    (others.comparison, 14),
    (others.expansion, 8),
    (others.softmax, 18),
    (others.layer_norm, 16),
    (others.local_response_norm, 14),
    (others.reduction, 20),
    (others.transpose, 24),
    (others.concatenation, 14),
    (others.slices, 10),
    (others.padding, 12),
    (others.resize, 14),
    (others.gather, 10),
    (others.casts, 6),
    (others.shapes, 6),
    (others.tiny, 14),
)
"""What draws a network, and how many of it."""


def microbenchmarks(seed: int = 0) -> dict[str, Microbenchmark]:
    """All of them, by name; the same for the same seed."""
    made: dict[str, Microbenchmark] = {}
    for draw, count in _FAMILIES:
        name = f"{draw.__module__.rpartition('.')[2]}.{draw.__name__}"
        for number in range(count):
            network = Network(np.random.default_rng([seed, number, *name.encode()]))
            draw(network, network.rng)
            made[f"{name}.{number}"] = network.finished()
    return made


__all__ = ["Microbenchmark", "microbenchmarks"]
