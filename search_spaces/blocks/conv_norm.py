"""The unit that mobile convolutional networks are built from: a convolution, batch norm, an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from search_spaces.elastic import altered
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from torch import Tensor

MakeActivation = Callable[[], nn.Module]
"""`nn.ReLU` or `nn.Hardswish`: MobileNetV3 (Howard et al. 2019, arXiv:1905.02244, section 5.2) has the first
in the early half of the network and the second in the late one."""


class ConvNorm(nn.Module):
    """activation(batch_norm(convolution(x))).

    (batch, inputs, h, w) -> (batch, outputs, h / stride, w / stride), rounded up. Batch normalisation: Ioffe
    and Szegedy 2015, arXiv:1502.03167; it has the bias, and is folded into the convolution where the network
    is exported. Raises SearchSpaceError for an even kernel.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: MakeActivation = nn.Identity,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise SearchSpaceError(f"a kernel has a middle, so its side is odd, got {kernel}")
        self.convolution = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.norm(self.convolution(x)))
        return y

    def with_outputs(self, channels: int) -> ConvNorm:
        """Its first outputs, weights and statistics shared; of a depthwise one, from the first inputs."""
        whole, norm = self.convolution, self.norm
        alone = {"in_channels": channels, "groups": channels} if whole.groups > 1 else {}
        tensors = (*norm.named_parameters(), *norm.named_buffers())
        kept = {name: tensor[:channels] for name, tensor in tensors if tensor.dim()}  # all but a count
        return altered(
            self,
            convolution=altered(whole, weight=whole.weight[:channels], out_channels=channels, **alone),
            norm=altered(norm, num_features=channels, **kept),
        )

    def with_inputs(self, columns: Callable[[Tensor], Tensor]) -> ConvNorm:
        """With other columns of its weight (outputs, inputs, kernel, kernel): fewer, or scaled."""
        weight = columns(self.convolution.weight)
        return altered(
            self, convolution=altered(self.convolution, weight=weight, in_channels=weight.shape[1])
        )


def depthwise(
    channels: int, kernel: int, *, stride: int = 1, activation: MakeActivation = nn.Identity
) -> ConvNorm:
    """Every channel by itself."""
    return ConvNorm(channels, channels, kernel, stride=stride, groups=channels, activation=activation)


def same_shape(inputs: int, outputs: int, stride: int) -> bool:
    """Whether what a block adds can be added to what it is given."""
    return inputs == outputs and stride == 1
