"""Matrix products: fully connected layers, attention, recurrent layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hw_cost_models.microbenchmarks.network import MOST_ELEMENTS, MOST_FLOPS, between

if TYPE_CHECKING:
    from hw_cost_models.microbenchmarks.network import Network


def linear(network: Network, rng: np.random.Generator) -> None:
    """Fully connected layers, there and back between two widths, on one row or many."""
    while True:
        rows = 1 if rng.random() < 0.3 else between(rng, 2, 1024)
        width, hidden = between(rng, 16, 2048, 4), between(rng, 16, 4096, 4)
        if 1e4 < 2 * rows * width * hidden < MOST_FLOPS and width * hidden < 4 * MOST_ELEMENTS:
            break
    batched = rng.random() < 0.5
    network.input(*(1, rows, width) if batched else (rows, width))
    for before, after in ((width, hidden), (hidden, width)):
        if batched:
            network.add("MatMul", network.last, network.weight(before, after))
            network.add("Add", network.last, network.weight(after))
        else:
            weight = network.weight(after, before)
            network.add("Gemm", network.last, weight, network.weight(after), transB=1)
        if after == hidden:
            gelu(network) if batched and rng.random() < 0.5 else network.add("Relu")


def large_weights(network: Network, rng: np.random.Generator) -> None:
    """More weights than caches hold, on one row or many."""
    width = between(rng, 2048, 4096, 64)
    network.input(between(rng, 1, 128), width)
    for _ in range(-(-9 * MOST_ELEMENTS // width**2)):
        network.add("Gemm", network.last, network.weight(width, width), network.weight(width), transB=1)
        network.add("Relu")


def gelu(network: Network) -> None:
    x, half = network.last, network.constant(np.array(0.5, np.float32))
    root, one = (network.constant(np.array(value, np.float32)) for value in (np.sqrt(2), 1))
    network.add("Erf", network.add("Div", x, root))
    network.add("Mul", x, network.add("Add", network.last, one))
    network.add("Mul", network.last, half)


def attention(network: Network, rng: np.random.Generator) -> None:
    """Two rounds of it."""
    heads, size, length = int(rng.integers(1, 13)), between(rng, 16, 64, 8), between(rng, 8, 400)
    x = network.input(1, length, heads * size)
    for _ in range(2):
        x = attend(network, x, heads, size, length)


def attend(network: Network, x: str, heads: int, size: int, length: int) -> str:
    """softmax(q kᵀ) v with q = k = v, the heads taken apart and put together again."""
    apart = network.constant(np.array([1, length, heads, size]))
    together = network.constant(np.array([1, length, heads * size]))
    scale = network.constant(np.array(size**-0.5, np.float32))
    split = network.add("Reshape", x, apart)
    query = network.add("Transpose", split, perm=[0, 2, 1, 3])
    key = network.add("Transpose", split, perm=[0, 2, 3, 1])
    scores = network.add("MatMul", query, key)
    weights = network.add("Softmax", network.add("Mul", scores, scale), axis=-1)
    mixed = network.add("MatMul", weights, query)
    return network.add("Reshape", network.add("Transpose", mixed, perm=[0, 2, 1, 3]), together)


def recurrent(network: Network, rng: np.random.Generator) -> None:
    length, width, hidden = between(rng, 1, 64), between(rng, 16, 256, 4), between(rng, 16, 256, 4)
    operator, gates = [("LSTM", 4), ("GRU", 3)][int(rng.integers(2))]
    network.input(length, 1, width)
    network.add(
        operator,
        network.last,
        network.weight(1, gates * hidden, width),
        network.weight(1, gates * hidden, hidden),
        hidden_size=hidden,
    )
