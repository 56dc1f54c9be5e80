"""Blocks. Of sequences: all but exits (batch, length, width) -> the same, of any length. Of images: (batch,
channels, h, w), of any size."""

from search_spaces.blocks.attention import Attention, BidirectionalAttention
from search_spaces.blocks.bidirectional import Bidirectional
from search_spaces.blocks.block_diagonal import BlockDiagonalLinear, MonarchLinear
from search_spaces.blocks.block_sparse import BlockSparseAttention
from search_spaces.blocks.conv_norm import ConvNorm
from search_spaces.blocks.convnext import ConvNeXt
from search_spaces.blocks.convolution import CentredConvolution, GatedConvolution
from search_spaces.blocks.early_exit import EarlyExit, NoExit
from search_spaces.blocks.feedforward import MLP, GeGLU, LowRankLinear, SwiGLU
from search_spaces.blocks.gated_delta import GatedDeltaNet
from search_spaces.blocks.ghost import GhostBottleneck
from search_spaces.blocks.latent_attention import LatentAttention
from search_spaces.blocks.linear_attention import BidirectionalLinearAttention, LinearAttention
from search_spaces.blocks.mbconv import FusedMBConv, MBConv
from search_spaces.blocks.moe import MixtureOfExperts
from search_spaces.blocks.positions import OverPositions
from search_spaces.blocks.residual import PreNorm, RMSNorm
from search_spaces.blocks.separable import SeparableConvolution
from search_spaces.blocks.sliding_window import LocalAttention, SlidingWindowAttention
from search_spaces.blocks.sparse import SparseLinear, finalised
from search_spaces.blocks.state_space import StateSpace

__all__ = [
    "MLP",
    "Attention",
    "Bidirectional",
    "BidirectionalAttention",
    "BidirectionalLinearAttention",
    "BlockDiagonalLinear",
    "BlockSparseAttention",
    "CentredConvolution",
    "ConvNeXt",
    "ConvNorm",
    "EarlyExit",
    "FusedMBConv",
    "GatedConvolution",
    "GatedDeltaNet",
    "GeGLU",
    "GhostBottleneck",
    "LatentAttention",
    "LinearAttention",
    "LocalAttention",
    "LowRankLinear",
    "MBConv",
    "MixtureOfExperts",
    "MonarchLinear",
    "NoExit",
    "OverPositions",
    "PreNorm",
    "RMSNorm",
    "SeparableConvolution",
    "SlidingWindowAttention",
    "SparseLinear",
    "StateSpace",
    "SwiGLU",
    "finalised",
]
