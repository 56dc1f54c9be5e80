"""Classification: what is not scored counts for nothing, and an output that does not fit is named."""

import math

import pytest
import torch

from search_spaces import SearchSpaceError
from search_spaces.classification import IGNORED, Classification


class Three(Classification):
    name = "three"
    classes = 3


TASK = Three()
TARGET = torch.tensor([[0, IGNORED, 2], [IGNORED, IGNORED, 1]])
SCORED = ((0, 0), (0, 2), (1, 2))


def logits(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_loss_and_distillation_are_means_over_what_is_scored() -> None:
    output, taught = logits(0).requires_grad_(), logits(1).requires_grad_()
    p, q = taught.softmax(-1), output.softmax(-1)
    loss = sum(-math.log(q[i, j, int(TARGET[i, j])].item()) for i, j in SCORED) / 3
    distance = sum((p[i, j] * (p[i, j] / q[i, j]).log()).sum().item() for i, j in SCORED) / 3
    assert TASK.loss(output, TARGET).item() == pytest.approx(loss)
    distillation = TASK.distillation(output, taught, TARGET)
    assert distillation.item() == pytest.approx(distance)
    distillation.backward()
    assert taught.grad is None
    assert torch.equal(output.grad.abs().sum(-1) > 0, TARGET != IGNORED)


def test_errors_are_a_share_of_what_is_scored() -> None:
    output = torch.zeros(2, 3, 3)
    output[:, :, 1] = 1.0
    assert TASK.error(output, TARGET).item() == pytest.approx(2 / 3)
    assert TASK.error(output[1, 2:], TARGET[1, 2:]).item() == 0


def test_metric_is_in_bits() -> None:
    assert TASK.metric(math.log(8)) == pytest.approx(3)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 2), (2, 4, 3), (6, 3)])
def test_an_output_that_cannot_be_scored(shape: tuple[int, ...]) -> None:
    with pytest.raises(SearchSpaceError, match=r"'three' scores logits of shape \(2, 3, 3\)") as caught:
        TASK.loss(torch.zeros(shape), TARGET)
    assert str(shape) in str(caught.value)


def test_more_outputs_than_classes_are_fine() -> None:
    assert TASK.loss(torch.zeros(2, 3, 8), TARGET).item() == pytest.approx(math.log(8))
