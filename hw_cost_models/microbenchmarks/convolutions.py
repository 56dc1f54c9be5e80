"""Convolutions and what goes with them: activations, residuals, pools, batch normalisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hw_cost_models.microbenchmarks.network import MOST_ELEMENTS, MOST_FLOPS, between, images

if TYPE_CHECKING:
    from hw_cost_models.microbenchmarks.network import Network


def activate(network: Network, rng: np.random.Generator) -> None:
    match rng.integers(6):
        case 0 | 1 | 2:
            network.add("Relu")
        case 3:
            x = network.last
            network.add("Mul", x, network.add("Sigmoid", x))
        case 4:
            x = network.last
            network.add("Mul", x, network.add("HardSigmoid", x))
        case _:
            pass


def convolution(network: Network, rng: np.random.Generator) -> None:
    """There and back between two numbers of channels, or once to half the side."""
    kernel = int(rng.choice([1, 1, 1, 3, 3, 3, 5, 7]))
    while True:
        (channels, height, width), others = images(rng), between(rng, 8, 768, 8)
        if (
            1e5 < 2 * channels * others * kernel**2 * height * width < MOST_FLOPS
            and others * height * width < MOST_ELEMENTS
        ):
            break
    network.input(1, channels, height, width)
    if rng.random() < 0.25:
        convolve(network, channels, others, kernel, stride=2)
        activate(network, rng)
        return
    for before, after in ((channels, others), (others, channels)):
        convolve(network, before, after, kernel)
        activate(network, rng)


def convolve(
    network: Network, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1
) -> None:
    network.add(
        "Conv",
        network.last,
        network.weight(after, before // groups, kernel, kernel),
        network.weight(after),
        group=groups,
        strides=[stride] * 2,
        pads=[kernel // 2] * 4,
    )


def stem(network: Network, rng: np.random.Generator) -> None:
    """The first convolution of a network, on colours."""
    side, kernel = between(rng, 32, 224), int(rng.choice([3, 5, 7, 11]))
    network.input(1, 3, side, side)
    convolve(network, 3, between(rng, 8, 96, 8), kernel, stride=int(rng.integers(1, 5)))
    network.add("Relu")


def depthwise(network: Network, rng: np.random.Generator) -> None:
    channels, height, width = images(rng)
    kernel, stride = int(rng.choice([3, 3, 5, 7])), int(rng.choice([1, 1, 2]))
    network.input(1, channels, height, width)
    for _ in range(1 if stride > 1 else 3):
        convolve(network, channels, channels, kernel, stride, groups=channels)
        activate(network, rng)


def grouped(network: Network, rng: np.random.Generator) -> None:
    groups, height, width = int(rng.integers(2, 9)), between(rng, 4, 56), between(rng, 4, 56)
    channels = groups * between(rng, 4, 64, 2)
    kernel = int(rng.choice([1, 3]))
    network.input(1, channels, height, width)
    for _ in range(2):
        convolve(network, channels, channels, kernel, groups=groups)
        network.add("Relu")


def residual(network: Network, rng: np.random.Generator) -> None:
    """Two convolutions around which the input is added back."""
    while True:
        channels, height, width = images(rng)
        if 2 * 9 * channels**2 * height * width < MOST_FLOPS:
            break
    network.input(1, channels, height, width)
    convolve(network, channels, channels, 1)
    network.add("Relu")
    for _ in range(2):
        kept = network.last
        convolve(network, channels, channels, int(rng.choice([1, 3])))
        network.add("Add", network.last, kept)
        network.add("Relu")


def preactivated(network: Network, rng: np.random.Generator) -> None:
    """Batch normalisations that no convolution takes in, on channels in blocks."""
    channels, height, width = images(rng)
    network.input(1, channels, height, width)
    convolve(network, channels, channels, 3, groups=channels)
    network.add("Relu")
    for _ in range(3):
        shift = [network.weight(channels) for _ in range(3)]
        variance = network.constant(rng.uniform(0.5, 2, channels).astype(np.float32))
        network.add("BatchNormalization", network.last, *shift, variance)
        network.add("Relu")


def pooling(network: Network, rng: np.random.Generator) -> None:
    """After a convolution, as pools are."""
    channels, height, width = images(rng)
    network.input(1, channels, height, width)
    convolve(network, channels, channels, 3, groups=channels)
    operator, kernel = str(rng.choice(["MaxPool", "AveragePool"])), int(rng.integers(2, 4))
    if rng.random() < 0.3:
        network.add(str(rng.choice(["GlobalAveragePool", "GlobalMaxPool"])))
        return
    stride = int(rng.integers(1, 3))
    for _ in range(3 if stride == 1 and kernel == 3 else 1):
        network.add(operator, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 3] * 4)


def squeeze_excite(network: Network, rng: np.random.Generator) -> None:
    """The mean of each channel, through two small layers, scales the channel."""
    channels, height, width = images(rng)
    network.input(1, channels, height, width)
    for _ in range(2):
        kept = network.last
        network.add("GlobalAveragePool")
        convolve(network, channels, max(8, channels // 4), 1)
        network.add("Relu")
        convolve(network, max(8, channels // 4), channels, 1)
        network.add("HardSigmoid")
        network.add("Mul", kept, network.last)


def transposed_convolution(network: Network, rng: np.random.Generator) -> None:
    channels, height, width = between(rng, 8, 64, 8), between(rng, 8, 80), between(rng, 8, 80)
    network.input(1, channels, height, width)
    network.add(
        "ConvTranspose",
        network.last,
        network.weight(channels, between(rng, 1, 64), 2, 2),
        strides=[2, 2],
    )


def convolution_1d(network: Network, rng: np.random.Generator) -> None:
    """Of sequences and sounds: there and back, or once with a stride, as front ends for sound have it."""
    batch = 1 if rng.random() < 0.6 else between(rng, 2, 32)
    if rng.random() < 0.5:
        channels, others, kernel, length = (between(rng, *r) for r in ((8, 256), (8, 256), (1, 9), (2, 512)))
        network.input(batch, channels, length)
        for before, after in ((channels, others), (others, channels)):
            convolve_1d(network, before, after, kernel)
    else:
        channels, others = 1 if rng.random() < 0.5 else between(rng, 2, 128), between(rng, 16, 300, 2)
        kernel = between(rng, 3, 400 if channels == 1 else 9)
        stride = max(1, kernel // int(rng.integers(1, 5)))
        network.input(batch, channels, kernel + stride * between(rng, 1, 64))
        convolve_1d(network, channels, others, kernel, stride)


def convolve_1d(network: Network, before: int, after: int, kernel: int, stride: int = 1) -> None:
    weight, bias = network.weight(after, before, kernel), network.weight(after)
    pads = [kernel // 2] * 2 if stride == 1 else [0, 0]
    network.add("Conv", network.last, weight, bias, strides=[stride], pads=pads)
    network.add("Relu")


def reordering(network: Network, rng: np.random.Generator) -> None:
    """Convolutions between operators that take no channels in blocks, for which they are reordered."""
    channels, height, width = images(rng)
    network.input(1, channels, height, width)
    for _ in range(3):
        convolve(network, channels, channels, 1, groups=channels)
        network.add("Neg")


def large_images(network: Network, rng: np.random.Generator) -> None:
    """The first layers of large networks: ten times the work of the others."""
    while True:
        before, after, side = between(rng, 16, 256, 16), between(rng, 32, 256, 16), between(rng, 28, 224)
        if 2e8 < 2 * 9 * before * after * side**2 < 10 * MOST_FLOPS and after * side**2 < 4 * MOST_ELEMENTS:
            break
    network.input(1, before, side, side)
    convolve(network, before, after, 3)
    network.add("Relu")


def large_weights(network: Network, rng: np.random.Generator) -> None:
    """More weights than caches hold, on small feature maps."""
    side = between(rng, 3, 7)
    network.input(1, 512, side, side)
    for _ in range(5):
        convolve(network, 512, 512, 3)
        network.add("Relu")
