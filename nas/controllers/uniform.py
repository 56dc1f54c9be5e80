"""Random search: one path, every option equally likely whatever the architecture parameters say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas.controllers.controller import probabilities
from search_spaces import Mixture

if TYPE_CHECKING:
    from collections.abc import Mapping


class Uniform:
    learns = False

    def mixture(
        self, alpha: Mapping[str, Tensor], options: Mapping[str, tuple[str, ...]], generator: torch.Generator
    ) -> Mixture:
        weights: dict[str, dict[str, Tensor | None]] = {}
        for path, names in options.items():
            k = int(torch.randint(len(names), (), generator=generator))
            weights[path] = {names[k]: None}
        return Mixture(weights, probabilities({path: torch.zeros_like(a) for path, a in alpha.items()}))
