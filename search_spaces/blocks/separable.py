"""A depthwise separable convolution: each channel by itself, then all of them at each position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from search_spaces.blocks.conv_norm import ConvNorm, MakeActivation, depthwise, same_shape

if TYPE_CHECKING:
    from torch import Tensor


class SeparableConvolution(nn.Module):
    """x + out(depthwise(x)). (batch, inputs, h, w) -> (batch, outputs, h / stride, w / stride).

    MobileNet (Howard et al. 2017, arXiv:1704.04861, section 3.1) with the linear projection that MobileNetV2
    (Sandler et al. 2018, arXiv:1801.04381, table 2, expansion 1) gives it: `MBConv` without its expansion.
    Nothing is added where the shape changes. Raises SearchSpaceError for an even kernel.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int = 1, activation: MakeActivation = nn.ReLU
    ) -> None:
        super().__init__()
        self.residual = same_shape(inputs, outputs, stride)
        self.depthwise = depthwise(inputs, kernel, stride=stride, activation=activation)
        self.out = ConvNorm(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.depthwise(x))
        return x + y if self.residual else y
