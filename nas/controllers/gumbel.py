"""Gumbel: one path, sampled by perturbing log-probabilities with Gumbel noise.

    k = argmax_o (log p_o + g_o),  g_o ~ Gumbel(0, 1),     p = softmax(alpha)

draws k with probability exactly p_k (Maddison et al. 2014, arXiv:1411.0030). Only option k runs, and the
architecture parameters learn by

    dL/dalpha_j = A_k d log p_k / dalpha_j = A_k (1[j = k] - p_j),

where A_k is how much option k changes the loss. Two things differ from the usual single-path estimator (GDAS,
arXiv:1910.04465), each for a bias that ends in known failures:

The relaxed p_k is replaced by log p_k. In expectation the former pushes identical options apart, towards the
one that is already ahead, since E_k[dp_k/dalpha_j] = p_j (p_j - sum p^2); E_k[d log p_k/dalpha_j] is zero.

A_k = <dL/dy, y_k - x> at the option's full output is a first-order guess of L(with k) - L(without), and on a
convex loss always too high: every option looks worse than it is beside skipping it, and the search collapses
into skips. Instead the outputs of a step are scaled towards their inputs by one s ~ U(0, 1): the expectation
over s of the gradient is the integral along the path from no option to all sampled ones, and the A_k add up
to the true difference of the loss (Aumann and Shapley 1974; integrated gradients, arXiv:1703.01365).
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
        scale = torch.rand((), generator=generator)
        for path, a in alpha.items():
            log_p = a.log_softmax(0)
            noise = -torch.empty_like(log_p).exponential_(generator=generator).log()
            k = int((log_p.detach() + noise).argmax())
            weights[path] = {options[path][k]: scale + (log_p[k] - log_p[k].detach())}
        return Mixture(weights, probabilities(alpha))
