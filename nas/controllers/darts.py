"""DARTS: every option runs, weighted by the softmax of the architecture parameters (arXiv:1806.09055)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.controllers.controller import probabilities
from search_spaces import Mixture

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor


class Darts:
    learns = True

    def mixture(
        self, alpha: Mapping[str, Tensor], options: Mapping[str, tuple[str, ...]], generator: torch.Generator
    ) -> Mixture:
        p = probabilities(alpha)
        weights = {path: dict(zip(options[path], p[path].unbind(), strict=True)) for path in alpha}
        return Mixture(weights, p)
