"""Inverted residuals: expand the channels, convolve each by itself, project back; and the fused kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.conv_norm import ConvNorm, MakeActivation, depthwise, same_shape
from search_spaces.elastic import Heard, altered, elastic, mask, reweighted
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces.elastic import Sizes

_SQUEEZE = 4


class SqueezeExcitation(nn.Module):
    """x times a gate for each channel, made of all their means. (batch, channels, h, w) -> the same.

    Hu et al. 2018, arXiv:1709.01507, section 3, with the hard sigmoid of MobileNetV3 (Howard et al. 2019,
    arXiv:1905.02244, section 5.3). Raises SearchSpaceError for fewer than one squeezed channel.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        if squeezed < 1:
            raise SearchSpaceError(f"squeeze-excitation needs a channel to squeeze into, got {squeezed}")
        self.squeeze = nn.Linear(channels, squeezed)
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * gate[:, :, None, None]

    def sizes(self) -> Sizes:
        return {"hidden": self.squeeze.in_features}

    def sliced(self, sizes: Sizes) -> SqueezeExcitation:
        hidden = sizes["hidden"]
        squeeze = reweighted(self.squeeze, columns=lambda t: t[:, :hidden])
        return altered(self, squeeze=squeeze, excite=reweighted(self.excite, rows=lambda t: t[:hidden]))

    def masked(self, sizes: Sequence[Sizes], shares: Tensor) -> SqueezeExcitation:
        """Of all channels, gated by means that hear of each as much as it weighs."""
        heard = mask([s["hidden"] for s in sizes], shares, self.squeeze.in_features)
        return altered(self, squeeze=reweighted(self.squeeze, columns=lambda t: t * heard))


class MBConv(nn.Module):
    """x + out(excite(depthwise(expand(x)))).

    (batch, inputs, h, w) -> (batch, outputs, h / stride, w / stride). The inverted residual of MobileNetV2
    (Sandler et al. 2018, arXiv:1801.04381, table 1), with a linear projection `out`, and nothing added where
    the shape changes. `expansion` times as many channels are convolved as come in. Squeeze-excitation stands
    behind the depthwise convolution; as in EfficientNet (Tan and Le 2019, arXiv:1905.11946) it squeezes into
    a quarter of the *incoming* channels, whatever the expansion.

    Elastic in the channels inside, `hidden`. A masked one is the weighted sum only where nothing bends what
    is summed: without excitation, and in evaluation, where batch norm is affine.

    Raises SearchSpaceError for an expansion below one and an even kernel.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        expansion: int,
        stride: int = 1,
        excited: bool = False,
        activation: MakeActivation = nn.ReLU,
    ) -> None:
        super().__init__()
        hidden = _hidden(inputs, expansion)
        self.residual = same_shape(inputs, outputs, stride)
        self.expand = ConvNorm(inputs, hidden, 1, activation=activation)
        self.depthwise = depthwise(hidden, kernel, stride=stride, activation=activation)
        self.excite = SqueezeExcitation(hidden, max(1, inputs // _SQUEEZE)) if excited else nn.Identity()
        self.out = ConvNorm(hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.residual else y

    def sizes(self) -> Sizes:
        return {"hidden": self.expand.convolution.out_channels}

    def sliced(self, sizes: Sizes) -> MBConv:
        hidden = sizes["hidden"]
        return altered(
            self,
            expand=self.expand.with_outputs(hidden),
            depthwise=self.depthwise.with_outputs(hidden),
            excite=elastic(self.excite).sliced(sizes) if self._excited else self.excite,
            out=self.out.with_inputs(lambda t: t[:, :hidden]),
        )

    def masked(self, sizes: Sequence[Sizes], shares: Tensor) -> MBConv:
        excite = elastic(self.excite).masked(sizes, shares) if self._excited else self.excite
        return altered(self, excite=excite, out=_masked(self.out, sizes, shares))

    @property
    def _excited(self) -> bool:
        return isinstance(self.excite, SqueezeExcitation)


class FusedMBConv(nn.Module):
    """x + out(expand(x)): one dense convolution in place of `MBConv`'s first two. Shapes and errors as there.

    EfficientNetV2 (Tan and Le 2021, arXiv:2104.00298, section 3.2, figure 2), which has it in early stages,
    where a depthwise convolution leaves hardware idle. Elastic as `MBConv` is.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        expansion: int,
        stride: int = 1,
        activation: MakeActivation = nn.ReLU,
    ) -> None:
        super().__init__()
        hidden = _hidden(inputs, expansion)
        self.residual = same_shape(inputs, outputs, stride)
        self.expand = ConvNorm(inputs, hidden, kernel, stride=stride, activation=activation)
        self.out = ConvNorm(hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.expand(x))
        return x + y if self.residual else y

    def sizes(self) -> Sizes:
        return {"hidden": self.expand.convolution.out_channels}

    def sliced(self, sizes: Sizes) -> FusedMBConv:
        hidden = sizes["hidden"]
        out = self.out.with_inputs(lambda t: t[:, :hidden])
        return altered(self, expand=self.expand.with_outputs(hidden), out=out)

    def masked(self, sizes: Sequence[Sizes], shares: Tensor) -> FusedMBConv:
        return altered(self, out=_masked(self.out, sizes, shares))


def _masked(out: ConvNorm, sizes: Sequence[Sizes], shares: Tensor) -> nn.Module:
    """The projection, hearing of each channel as much as the widths that have it weigh."""
    heard = Heard(mask([s["hidden"] for s in sizes], shares, out.convolution.in_channels), dim=1)
    return nn.Sequential(heard, out.with_inputs(lambda t: t * heard.mask[:, None, None]))


def _hidden(inputs: int, expansion: int) -> int:
    if expansion < 1:
        raise SearchSpaceError(f"an inverted residual expands its channels, got an expansion of {expansion}")
    return inputs * expansion
