"""Gumbel: one path, sampled by perturbing log-probabilities with Gumbel noise.

    k = argmax_o (log p_o + g_o),  g_o ~ Gumbel(0, 1),     p = softmax(alpha)

draws k with probability exactly p_k (Gumbel 1954; Maddison et al. 2014, arXiv:1411.0030). Only option k runs.
Its output is used as it is, and the gradient of its weight w, which is 1, is that of log p_k:

    dL/dalpha_j = (dL/dw) d log p_k / dalpha_j = <dL/dy, y_k - x> (1[j = k] - p_j)

The relaxed estimator that single-path searches use (GDAS, arXiv:1910.04465) takes the gradient of the relaxed
p_k in place of log p_k. In expectation it pushes identical options apart, towards the one that is already
ahead, since E_k[dp_k/dalpha_j] is p_j (p_j - sum p^2); with the logarithm, E_k[d log p_k/dalpha_j] = 0.
The factor is bounded by 1, so no temperature is needed to tame it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas.controllers.controller import probabilities
from search_spaces import Mixture

if TYPE_CHECKING:
    from collections.abc import Mapping


class Gumbel:
    learns = True

    def mixture(
        self, alpha: Mapping[str, Tensor], options: Mapping[str, tuple[str, ...]], generator: torch.Generator
    ) -> Mixture:
        weights: dict[str, dict[str, Tensor | None]] = {}
        for path, a in alpha.items():
            log_p = a.log_softmax(0)
            noise = -torch.empty_like(log_p).exponential_(generator=generator).log()
            k = int((log_p.detach() + noise).argmax())
            weights[path] = {options[path][k]: (log_p[k] - log_p[k].detach()).exp()}
        return Mixture(weights, probabilities(alpha))
