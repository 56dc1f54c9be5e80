"""mobile-vision: a classifier of images whose every block is a choice; attention and experts come late."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    BidirectionalAttention,
    ConvNeXt,
    ConvNorm,
    FusedMBConv,
    GhostBottleneck,
    MBConv,
    MixtureOfExperts,
    OverPositions,
    PreNorm,
    SeparableConvolution,
)
from search_spaces.choice import Choice
from search_spaces.elastic import Option, Slice, altered
from search_spaces.errors import SearchSpaceError
from search_spaces.space import SearchSpace
from search_spaces.stack import initialise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WIDTHS = (2, 3, 6, 12)
"""Channels of the stages, in halves of the stem's: the 16, 24, 48 and 96 of MobileNetV3-small (Howard et al.
2019, arXiv:1905.02244, table 2), whose 40 is left out."""
_DEPTHS = (1, 2, 4, 3)
"""Blocks of the stages: the first takes the stage's shape, the others may be skipped."""
_LATE = 2
"""From this stage on there are squeeze-excitation, the hard swish and attention, before it fused blocks:
where the papers of `blocks` have them. Experts stand in the last."""
_HALVED = (3, 1, 4, 0, 2)
"""Where the sides are halved, the stem being 0: of so many as the resolution admits, the first of these."""
_LAST_SIDE = 4
"""How small sides may become: for 224 pixels they are halved five times to 7, as in MobileNet."""
_SCALED_FROM = 16
"""Smaller images are not scaled down unless one asks for it."""
_HEADS = 4
_Z_LOSS = 0.001
"""ST-MoE (Zoph et al. 2022, arXiv:2202.08906), section 3.2."""
_NEAR_IDENTITY = 0.1
"""Of the last batch norm of what is added to its input, the scale at first. Goyal et al. 2017,
arXiv:1706.02677, section 5.1, have zero; with more than that all weights learn from the first step on."""


def mobile_vision(
    *,
    classes: int = 10,
    channels: int = 1,
    resolution: int = 28,
    scaled_to: Sequence[int] | None = None,
    width: int = 24,
    seed: int = 0,
) -> SearchSpace:
    """Images (batch, channels, resolution, resolution), of mean 0 and deviation 1 -> logits (batch, classes).

    The choice `resolution` is between the images as they come and the sides `scaled_to` which the network
    scales them: unless given, 5/7 of `resolution` where that is 16 or more; where there are none, there is no
    such choice. Its options share all weights, and each has costs of its own.

    Choices at `resolution.<side>px.stages.<i>.<j>`, or `stages.<i>.<j>`: stage i of four, block j in it. The
    first of a stage changes the shape, and so cannot be skipped. `width` is that of the stem and the first
    stage. The strides are laid out for `resolution`; an exported file takes images of that size.

    The initial weights depend on `seed` alone.
    Raises SearchSpaceError for fewer than two classes, no channel, under four pixels, a width that is no
    multiple of eight, and sides that are not under the resolution.
    """
    if classes < 2 or channels < 1 or resolution < _LAST_SIDE:
        raise SearchSpaceError(
            f"need at least two classes, one channel and {_LAST_SIDE} x {_LAST_SIDE} pixels, "
            f"got {classes}, {channels} and {resolution}"
        )
    if width < 1 or width % (2 * _HEADS):
        raise SearchSpaceError(
            f"a width of {width} does not split into heads: give a multiple of {2 * _HEADS}"
        )
    sides = _default_sides(resolution) if scaled_to is None else tuple(scaled_to)
    if any(not _LAST_SIDE <= side < resolution for side in sides) or len(set(sides)) < len(sides):
        raise SearchSpaceError(
            f"images of {resolution} pixels cannot be scaled to {', '.join(map(str, sides))}: "
            f"give sides from {_LAST_SIDE} to {resolution - 1}, each once"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MobileVision(classes, channels, width, strides(resolution))
        _initialise(network)
    places = {f"resolution.{side}px.": {"resolution": f"{side}px"} for side in (resolution, *sides) if sides}
    return SearchSpace(
        name="mobile-vision",
        network=AnyResolution(network, resolution, sides) if sides else network,
        example_inputs=partial(example_images, channels),
        input_names=("images",),
        output_names=("logits",),
        references={
            "MobileNetV3-small-like": _at_all(mobilenet_v3_small_like(), places),
            "EfficientNet-lite-like": _at_all(efficientnet_lite_like(), places),
        },
        length=resolution,
        unit="pixels",
    )


def strides(resolution: int) -> tuple[int, ...]:
    """Of the stem and each stage."""
    halvings = (resolution // _LAST_SIDE).bit_length() - 1
    halved = _HALVED[:halvings]
    return tuple(2 if place in halved else 1 for place in range(1 + len(_DEPTHS)))


def _default_sides(resolution: int) -> tuple[int, ...]:
    """Half of the pixels, as the 160 x 160 beside 224 x 224 of MobileNets (Howard et al. 2017,
    arXiv:1704.04861, table 7). Every side more is to be priced, too."""
    return (_LAST_SIDE * round(resolution * 5 / 7 / _LAST_SIDE),) if resolution >= _SCALED_FROM else ()


def _at_all(
    sizes: Sequence[Architecture], places: Mapping[str, Mapping[str, str]]
) -> tuple[Architecture, ...]:
    """In every place, by the prefix of its paths, with what is decided around it; without places as it is."""
    return tuple(
        Architecture({**around, **{prefix + path: option for path, option in size.items()}})
        for prefix, around in (places or {"": {}}).items()
        for size in sizes
    )


def mobilenet_v3_small_like() -> tuple[Architecture, ...]:
    """MobileNetV3-small (Howard et al. 2019, arXiv:1905.02244, table 2), from its stage entries to the whole.

    Kernels, excitation and activations are the paper's but for the first block, which has no excitation here.
    Expansions are the nearest of 3, 4 and 6. The five blocks of 40 and 48 channels are four of one width, and
    features are averaged before the classifier's only layer.
    """
    return _growing(
        (
            ("separable_3x3",),
            ("mbconv_3x3_e4", "mbconv_3x3_e4"),
            ("mbconv_5x5_e4_se", "mbconv_5x5_e6_se", "mbconv_5x5_e6_se", "mbconv_5x5_e3_se"),
            ("mbconv_5x5_e6_se",) * 3,
        )
    )


def efficientnet_lite_like() -> tuple[Architecture, ...]:
    """EfficientNet-lite0, from its stage entries to the whole: EfficientNet-B0 (Tan and Le 2019,
    arXiv:1905.11946, table 1) without excitation, by its authors' own account
    (github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).

    Its seven stages of 1, 2, 2, 3, 3, 4 and 1 blocks are four here: the first two are kept, its two of 40
    and two of three of 80 channels share the third, and the 5x5 and 3x3 blocks of the last three the fourth.
    Activations are the space's in place of ReLU6.
    """
    return _growing(
        (
            ("separable_3x3",),
            ("mbconv_3x3_e6", "mbconv_3x3_e6"),
            ("mbconv_5x5_e6", "mbconv_5x5_e6", "mbconv_3x3_e6", "mbconv_3x3_e6"),
            ("mbconv_5x5_e6", "mbconv_5x5_e6", "mbconv_3x3_e6"),
        )
    )


def _growing(stages: Sequence[Sequence[str]]) -> tuple[Architecture, ...]:
    """With the first block of each stage alone, then with one more at a time, all stages growing evenly."""
    named = {f"stages.{i}.{j}": option for i, stage in enumerate(stages) for j, option in enumerate(stage)}
    added = sorted(
        (path for path in named if not path.endswith(".0")), key=lambda path: path.split(".")[::-1]
    )
    return tuple(
        Architecture({path: "skip" if path in added[count:] else option for path, option in named.items()})
        for count in range(len(added) + 1)
    )


def convolutions(inputs: int, outputs: int, stride: int, *, late: bool) -> dict[str, Option]:
    """The alternatives that may change the shape, at the entry of a stage and behind it."""
    activation = nn.Hardswish if late else nn.ReLU
    inverted = partial(MBConv, inputs, outputs, stride=stride, activation=activation)
    fused = partial(FusedMBConv, inputs, outputs, stride=stride, activation=activation)
    ghost = partial(GhostBottleneck, inputs, outputs, stride=stride, activation=activation)
    separable = partial(SeparableConvolution, inputs, outputs, stride=stride, activation=activation)
    options: dict[str, Option] = {}
    for excited in (False, True) if late else (False,):
        for k in (3, 5, 7):
            largest = inverted(kernel=k, expansion=6, excited=excited)
            for e in (3, 4, 6):
                part = largest if e == 6 else Slice(largest, hidden=e * inputs)
                options[f"mbconv_{k}x{k}_e{e}{'_se' if excited else ''}"] = part
    if not late:
        dense = fused(kernel=3, expansion=4)
        options |= {"fused_3x3_e2": Slice(dense, hidden=2 * inputs), "fused_3x3_e4": dense}
    return {
        **options,
        **{f"ghost_e{e}": ghost(expansion=e) for e in (3, 6)},
        **{f"separable_{k}x{k}": separable(kernel=k) for k in (3, 5)},
    }


def repeats(width: int, *, late: bool, last: bool) -> dict[str, Option]:
    """The alternatives behind the entry of a stage, where the shape stays."""
    options = {**convolutions(width, width, 1, late=late), "convnext": ConvNeXt(width)}
    if late:
        attention = BidirectionalAttention(width, _HEADS, kv_heads=_HEADS)
        options["attention"] = OverPositions(PreNorm(width, attention))
    if last:
        experts = MixtureOfExperts(width, width, experts=4, active=2, z_loss=_Z_LOSS)
        options["moe"] = OverPositions(PreNorm(width, experts))
    return {**options, "skip": nn.Identity()}


class MobileVision(nn.Module):
    """Stem, stages, head. (batch, channels, h, w) -> logits (batch, classes).

    The head widens once more before it averages, as EfficientNet's does.
    """

    def __init__(self, classes: int, channels: int, width: int, strides: Sequence[int]) -> None:
        super().__init__()
        stem, *others = strides
        self.stem = ConvNorm(channels, width, 3, stride=stem, activation=nn.ReLU)
        self.stages = nn.ModuleList(_stages(width, others))
        last = width * _WIDTHS[-1] // 2
        self.widen = ConvNorm(last, 2 * last, 1, activation=nn.Hardswish)
        self.head = nn.Linear(2 * last, classes)
        self.scaled_to: int | None = None
        """The side that images are scaled to first; None leaves them as they come."""

    def forward(self, images: Tensor) -> Tensor:
        if self.scaled_to is not None:
            images = F.interpolate(images, (self.scaled_to,) * 2, mode="bilinear", antialias=True)
        x = self.stem(images).contiguous(memory_format=torch.channels_last)  # a CPU trains 1.7 times faster
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(self.widen(x).mean(dim=(2, 3)))
        return logits


class AnyResolution(nn.Module):
    """A choice between twins of a network that differ in what they scale images to, and share all weights."""

    def __init__(self, network: MobileVision, resolution: int, sides: Sequence[int]) -> None:
        super().__init__()
        scaled = {f"{side}px": altered(network, scaled_to=side) for side in sides}
        self.resolution = Choice({f"{resolution}px": network, **scaled})

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.resolution(images)
        return logits


def _stages(width: int, strides: Sequence[int]) -> Iterator[nn.Module]:
    inputs = width
    for stage, (halves, depth, stride) in enumerate(zip(_WIDTHS, _DEPTHS, strides, strict=True)):
        late, outputs = stage >= _LATE, width * halves // 2
        entry = Choice(convolutions(inputs, outputs, stride, late=late))
        last = stage == len(_DEPTHS) - 1
        others = [Choice(repeats(outputs, late=late, last=last)) for _ in range(depth - 1)]
        yield nn.Sequential(entry, *others)
        inputs = outputs


def _initialise(network: MobileVision) -> None:
    """Convolutions after He et al. 2015, arXiv:1502.01852, eq. 10; linear layers as in stacks. What is added
    to its input begins near zero."""
    initialise(network, [network.head], sum(_DEPTHS))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, ConvNeXt):  # its layer scale is small already
            nn.init.normal_(module.mlp.get_parameter("out.weight"), std=module.mlp.sizes()["hidden"] ** -0.5)
        if getattr(module, "residual", False):
            for part in module.get_submodule("out").modules():
                if isinstance(part, nn.BatchNorm2d):
                    nn.init.constant_(part.weight, _NEAR_IDENTITY)


def example_images(channels: int, batch: int, length: int) -> tuple[Tensor]:
    """Smooth patches, and not noise, because the work of routed experts depends on what the images are."""
    coarse = torch.randn(batch, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    return (F.interpolate(coarse, size=(length, length), mode="bilinear"),)
