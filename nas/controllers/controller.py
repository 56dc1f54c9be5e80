"""The Controller protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

    from search_spaces import Mixture


class Controller(Protocol):
    """A sampling rule. It holds no state: what is learnt is the architecture parameters alone.

    Two rules that the conformance suite holds every controller to: the mixture's probabilities are those
    that the expected cost is taken over, and options that are identical receive, in expectation, no task
    gradient apart from each other, however unequal their architecture parameters.
    """

    learns: bool
    """Whether its mixtures carry a gradient to the architecture parameters."""

    def mixture(
        self, alpha: Mapping[str, Tensor], options: Mapping[str, tuple[str, ...]], generator: torch.Generator
    ) -> Mixture:
        """`alpha[path]` has shape (options,), in the order of `options[path]`."""
        ...


def probabilities(alpha: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Softmax, choice by choice."""
    return {path: a.softmax(0) for path, a in alpha.items()}
