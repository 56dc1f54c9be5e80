"""Blocks of language models and encoders: all but exits (batch, length, width) -> the same, of any length."""

from search_spaces.blocks.attention import Attention, BidirectionalAttention
from search_spaces.blocks.bidirectional import Bidirectional
from search_spaces.blocks.block_diagonal import BlockDiagonalLinear, MonarchLinear
from search_spaces.blocks.block_sparse import BlockSparseAttention
from search_spaces.blocks.convolution import CentredConvolution, GatedConvolution
from search_spaces.blocks.early_exit import EarlyExit, NoExit
from search_spaces.blocks.feedforward import MLP, GeGLU, LowRankLinear, SwiGLU
from search_spaces.blocks.gated_delta import GatedDeltaNet
from search_spaces.blocks.latent_attention import LatentAttention
from search_spaces.blocks.linear_attention import BidirectionalLinearAttention, LinearAttention
from search_spaces.blocks.moe import MixtureOfExperts
from search_spaces.blocks.residual import PreNorm, RMSNorm
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
    "EarlyExit",
    "GatedConvolution",
    "GatedDeltaNet",
    "GeGLU",
    "LatentAttention",
    "LinearAttention",
    "LocalAttention",
    "LowRankLinear",
    "MixtureOfExperts",
    "MonarchLinear",
    "NoExit",
    "PreNorm",
    "RMSNorm",
    "SlidingWindowAttention",
    "SparseLinear",
    "StateSpace",
    "SwiGLU",
    "finalised",
]
