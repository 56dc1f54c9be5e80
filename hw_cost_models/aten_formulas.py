"""What each operator of PyTorch's library ATen is, and the count of its operations.

To add an operator, add its name to a line here; what is tagged as pointwise or as a reduction needs none, nor
does the in-place twin of an operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from hw_cost_models import aten_counts as counts
from hw_cost_models import operations
from hw_cost_models.aten_counts import per_element, per_input_element
from hw_cost_models.graph import Formula

if TYPE_CHECKING:
    from hw_cost_models.graph import Kind
    from hw_cost_models.operator_call import Call, Count

aten = torch.ops.aten


def _same(kind: Kind, flops: Count, *operators: Any) -> dict[Any, Formula[Call]]:
    return dict.fromkeys(operators, Formula(kind, flops))


_NOTHING = per_element(0)

_ROWS = _same(
    "movement",
    _NOTHING,
    aten._index_put_impl_,
    aten._unsafe_index,
    aten._unsafe_index_put,
    aten.embedding,
    aten.gather,
    aten.index,
    aten.index_copy,
    aten.index_fill,
    aten.index_put,
    aten.index_select,
    aten.masked_scatter,
    aten.masked_select,
    aten.nonzero,
    aten.nonzero_static,
    aten.put,
    aten.scatter,
    aten.select_scatter,
    aten.diagonal_scatter,
    aten.as_strided_scatter,
    aten.slice_scatter,
    aten.take,
)

_FILLS = _same(
    "movement",
    _NOTHING,
    aten._efficientzerotensor,
    aten.arange,
    aten.empty,
    aten.empty_like,
    aten.empty_permuted,
    aten.empty_strided,
    aten.eye,
    aten.fill,
    aten.full,
    aten.full_like,
    aten.hamming_window,
    aten.hann_window,
    aten.linspace,
    aten.logspace,
    aten.new_empty,
    aten.new_empty_strided,
    aten.new_full,
    aten.new_ones,
    aten.new_zeros,
    aten.ones,
    aten.ones_like,
    aten.range,
    aten.scalar_tensor,
    aten.tril_indices,
    aten.triu_indices,
    aten.zero,
    aten.zeros,
    aten.zeros_like,
)

_COPIES = _same(
    "movement",
    _NOTHING,
    aten._chunk_cat,
    aten._conj_copy,
    aten._convert_weight_to_int4pack,
    aten._convert_weight_to_int4pack_for_cpu,
    aten._stack,
    aten._to_copy,
    aten.affine_grid_generator,
    aten.block_diag,
    aten.cat,
    aten.channel_shuffle,
    aten.clone,
    aten.complex,
    aten.constant_pad_nd,
    aten.copy,
    aten.diag_embed,
    aten.flip,
    aten.im2col,
    aten.lift_fresh_copy,
    aten.max_unpool2d,
    aten.max_unpool3d,
    aten.pixel_shuffle,
    aten.pixel_unshuffle,
    aten.reflection_pad1d,
    aten.reflection_pad2d,
    aten.reflection_pad3d,
    aten.repeat,
    aten.repeat_interleave,
    aten.replication_pad1d,
    aten.replication_pad2d,
    aten.replication_pad3d,
    aten.resize,
    aten.roll,
    aten.rot90,
    aten.stack,
    aten.tril,
    aten.triu,
    aten.unsafe_split,
    aten.unsafe_split_with_sizes,
    aten.upsample_nearest1d,
    aten.upsample_nearest2d,
    aten.upsample_nearest3d,
    aten._upsample_nearest_exact1d,
    aten._upsample_nearest_exact2d,
    aten._upsample_nearest_exact3d,
)

_ADDED_ROWS = {
    **_same("movement", counts.added_rows, aten.scatter_add, aten.scatter_reduce, aten.index_add),
    **_same("movement", counts.added_rows, aten.index_reduce, aten._unsafe_masked_index_put_accumulate),
    **_same("movement", counts.bag, aten._embedding_bag, aten._embedding_bag_forward_only),
    **_same("movement", per_input_element(1), aten.col2im),
}

_PRODUCTS = {
    **_same("matmul", counts.product(0), aten.mm, aten.bmm, aten.dot, aten.vdot, aten.mv),
    **_same("matmul", counts.product(0), aten._int_mm, aten._scaled_mm, aten._weight_int8pack_mm),
    **_same("matmul", counts.product(0), aten._weight_int4pack_mm, aten._weight_int4pack_mm_for_cpu),
    **_same("matmul", counts.product(1), aten.addmm, aten.baddbmm, aten.addmv, aten._addmm_activation),
    **_same("matmul", counts.summed_product, aten.addbmm),
    **_same("matmul", counts.grouped_product, aten._grouped_mm, aten._scaled_grouped_mm),
    **_same("matmul", counts.bilinear, aten._trilinear),
    **_same("convolution", counts.convolution, aten.convolution, aten._convolution),
    **_same(
        "attention",
        counts.attention,
        aten._scaled_dot_product_cudnn_attention,
        aten._scaled_dot_product_efficient_attention,
        aten._scaled_dot_product_flash_attention,
        aten._scaled_dot_product_flash_attention_for_cpu,
        aten._scaled_dot_product_fused_attention_overrideable,
    ),
    **_same("scan", counts.recurrent_layer, aten.mkldnn_rnn_layer),
}

_NORMALISATIONS = {
    **_same("normalisation", per_element(operations.SOFTMAX), aten._softmax, aten._safe_softmax),
    **_same("normalisation", per_element(operations.SOFTMAX), aten._log_softmax, aten._masked_softmax),
    **_same("normalisation", per_element(operations.NORM), aten.native_layer_norm, aten.native_group_norm),
    **_same("normalisation", counts.batch_norm, aten.native_batch_norm, aten._native_batch_norm_legit),
    **_same("normalisation", per_element(operations.BATCH_NORM), aten._native_batch_norm_legit_no_training),
    **_same("normalisation", per_element(operations.BATCH_NORM), aten._batch_norm_no_update),
    **_same("normalisation", per_element(operations.RMS_NORM), aten._fused_rms_norm),
    **_same("normalisation", per_element(3), aten._weight_norm_interface, aten.renorm),
}

_ELEMENTWISE = {
    **_same("elementwise", per_element(1), aten.hardswish, aten.floor_divide, aten._prelu_kernel),
    **_same("elementwise", per_element(1), aten.log_sigmoid_forward, aten.polar, aten.native_dropout),
    **_same("elementwise", per_element(1), aten.rand, aten.rand_like, aten.randn, aten.randn_like),
    **_same("elementwise", per_element(1), aten.randint, aten.randint_like, aten.randperm),
    **_same("elementwise", per_element(1), aten.bernoulli, aten.normal, aten.uniform, aten.exponential),
    **_same("elementwise", per_element(1), aten.addr, aten.rrelu_with_noise, aten.isin),
    **_same("elementwise", per_element(2), aten.glu),
    **_same(
        "elementwise", per_element(operations.QUANTISE), aten.quantize_per_tensor, aten.quantize_per_channel
    ),
    **_same("elementwise", per_element(operations.QUANTISE), aten.quantize_per_tensor_dynamic),
    **_same("elementwise", per_element(operations.DEQUANTISE), aten.dequantize),
    **_same(
        "elementwise",
        per_element(operations.QUANTISE + operations.DEQUANTISE),
        aten._fake_quantize_learnable_per_channel_affine,
        aten._fake_quantize_learnable_per_tensor_affine,
        aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams,
        aten.fake_quantize_per_channel_affine_cachemask,
        aten.fake_quantize_per_tensor_affine_cachemask,
    ),
    **_same("elementwise", counts.interpolation(2), aten.upsample_linear1d),
    **_same("elementwise", counts.interpolation(4), aten.upsample_bilinear2d, aten._upsample_bilinear2d_aa),
    **_same("elementwise", counts.interpolation(4), aten.grid_sampler_2d),
    **_same("elementwise", counts.interpolation(8), aten.upsample_trilinear3d, aten.grid_sampler_3d),
    **_same("elementwise", counts.interpolation(16), aten.upsample_bicubic2d, aten._upsample_bicubic2d_aa),
}

_REDUCTIONS = {
    **_same("reduction", counts.topk, aten.topk),
    **_same("reduction", counts.sort, aten.sort, aten.argsort, aten.unique_dim),
    **_same("reduction", counts.sort_all, aten._unique, aten._unique2),
    **_same("reduction", counts.search, aten.bucketize, aten.searchsorted),
    **_same("reduction", counts.pool, aten.max_pool2d_with_indices, aten.max_pool3d_with_indices),
    **_same("reduction", counts.pool, aten.avg_pool1d, aten.avg_pool2d, aten.avg_pool3d),
    **_same("reduction", per_input_element(1), aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d),
    **_same("reduction", per_input_element(1), aten.adaptive_max_pool2d, aten.adaptive_max_pool3d),
    **_same("reduction", per_input_element(1), aten.bincount, aten.histc, aten.multinomial, aten.trace),
    **_same("reduction", per_input_element(1), aten.median, aten.nanmedian, aten.kthvalue, aten.mode),
    **_same("reduction", per_input_element(1), aten.unique_consecutive, aten._is_all_true),
    **_same("reduction", per_input_element(1), aten.nll_loss_forward, aten.nll_loss2d_forward),
    **_same("reduction", per_input_element(2), aten.linalg_vector_norm, aten._aminmax, aten.aminmax),
    **_same("reduction", per_input_element(2), aten.mse_loss, aten.smooth_l1_loss, aten.huber_loss),
    **_same("reduction", per_input_element(4), aten.binary_cross_entropy),
    **_same("reduction", per_input_element(4), aten.binary_cross_entropy_with_logits, aten.logsumexp),
    **_same(
        "reduction", per_input_element(operations.VARIANCE), aten.var, aten.var_mean, aten.std, aten.std_mean
    ),
    **_same("reduction", counts.distance, aten._cdist_forward, aten._euclidean_dist),
    **_same("scan", per_element(1), aten.cumsum, aten.cumprod, aten.cummax, aten.cummin),
    **_same("scan", per_element(3), aten.logcumsumexp, aten._logcumsumexp),
    **_same("other", counts.fourier(real=False), aten._fft_c2c),
    **_same("other", counts.fourier(real=True), aten._fft_r2c, aten._fft_c2r),
}

FORMULAS: dict[Any, Formula[Call]] = {
    **_ROWS,
    **_FILLS,
    **_COPIES,
    **_ADDED_ROWS,
    **_PRODUCTS,
    **_NORMALISATIONS,
    **_ELEMENTWISE,
    **_REDUCTIONS,
}
