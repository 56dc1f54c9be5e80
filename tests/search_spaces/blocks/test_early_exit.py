"""Early exit against a loop over examples, and in ONNX Runtime; what it learns and what it saves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hw_cost_models import export_onnx, static_cost
from search_spaces import Choice, Mixture, SearchSpaceError, auxiliary, bind
from search_spaces.blocks import BidirectionalAttention, EarlyExit, NoExit, PreNorm
from search_spaces.blocks.early_exit import finish

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, CLASSES = 8, 3
every_threshold = pytest.mark.parametrize("threshold", [0.0, 0.7, 1.1])


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x.mean(dim=1))
        return y


class Network(nn.Module):
    """An exit below one layer and a head. `rows` counts the examples that each forward took through them."""

    def __init__(self, exit_: nn.Module) -> None:
        super().__init__()
        self.exit = exit_
        self.upper = nn.Sequential(PreNorm(WIDTH, BidirectionalAttention(WIDTH, 2, 2)), Head())
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        return finish(self.exit, x, CLASSES, self._rest, training=self.training)

    def _rest(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            self.rows.append(x.shape[0])
        y: Tensor = self.upper(x)
        return y


def _network(threshold: float, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    head = Head()
    head.linear.weight.data *= 4  # some are confident and some are not
    return Network(EarlyExit(head, threshold)).double().eval()


def _one_by_one(network: Network, x: Tensor) -> list[Tensor]:
    """The output of every example, and nothing else computed for it."""
    answers = []
    for example in x.split(1):
        early = network.exit.head(example)
        leaves = early.softmax(dim=1).max() >= network.exit.threshold
        answers.append(early if leaves else network.upper(example))
    return answers


@every_threshold
@settings(max_examples=10, deadline=None)
@given(batch=st.integers(1, 7), length=st.integers(1, 9))
def test_forward_and_gradient_are_those_of_a_loop_over_examples(
    threshold: float, batch: int, length: int
) -> None:
    network = _network(threshold)
    x = torch.randn(batch, length, WIDTH, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(batch, CLASSES, dtype=torch.float64)
    expected = torch.cat(_one_by_one(network, x))
    gradients = torch.autograd.grad((expected * weights).sum(), x)
    output = network(x)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(torch.autograd.grad((output * weights).sum(), x), gradients)


@pytest.mark.parametrize(("threshold", "fewest", "most"), [(0.0, 0, 0), (0.7, 5, 35), (1.1, 40, 40)])
def test_layers_above_run_on_those_who_stay(threshold: float, fewest: int, most: int) -> None:
    network = _network(threshold)
    x = torch.randn(40, 3, WIDTH, dtype=torch.float64)
    confident = network.exit.head(x).softmax(dim=1).amax(dim=1) >= threshold
    network(x)
    assert network.rows == [40 - int(confident.sum())]
    assert fewest <= network.rows[0] <= most


def test_operations_are_those_of_the_rows_that_stay() -> None:
    x = torch.randn(6, 4, WIDTH, dtype=torch.float64)
    none, all_of_them = (static_cost(_network(threshold), (x,)).flops for threshold in (0.0, 1.1))
    upper = static_cost(_network(1.1).upper, (x,)).flops
    assert all_of_them - none >= 0.9 * upper


def test_in_training_nobody_leaves_and_the_head_is_taught() -> None:
    """The gradients of the task's loss and of KL(final || early), written out example by example; the latter
    ends at the head, and so what is below learns from the task alone."""
    network = _network(0.0).train()
    x = torch.randn(5, 4, WIDTH, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 2, 1, 1, 0])
    with auxiliary.collect() as losses:
        output = network(x)
    (loss,) = losses
    expected = torch.zeros((), dtype=torch.float64)
    for example, label in zip(x.split(1), target, strict=True):
        final = network.upper(example)[0].softmax(dim=0)
        early = network.exit.head(example.detach())[0].softmax(dim=0)
        expected = expected - final[label].log() / 5
        expected = expected + (final.detach() * (final.detach() / early).log()).sum() / 5
    parameters = [x, *network.parameters()]
    total = F.cross_entropy(output, target) + loss
    torch.testing.assert_close(total, expected)
    for found, want in zip(
        torch.autograd.grad(total, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(found, want)
    torch.testing.assert_close(output, network.upper(x))


def test_without_an_exit_there_is_only_the_rest() -> None:
    network = _network(0.5)
    plain = Network(NoExit()).double().eval()
    plain.upper = network.upper
    x = torch.randn(3, 4, WIDTH, dtype=torch.float64)
    assert torch.equal(plain(x), network.upper(x))


@pytest.mark.parametrize("training", [False, True])
def test_a_mixture_of_exits_is_that_of_their_outputs(training: bool) -> None:
    """And of a single path under a weight, against not leaving."""
    strict, lax, none = _network(0.85).exit, _network(0.7).exit, NoExit()
    network = Network(Choice({"none": none, "strict": strict, "lax": lax})).double().train(training)
    x = torch.randn(12, 4, WIDTH, dtype=torch.float64)
    parts = []
    for option in (none, strict, lax):
        alone = Network(option).train(training)
        alone.upper = network.upper
        parts.append(alone(x))
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64, requires_grad=True)
    mixed = bind(network, Mixture({"exit": dict(zip(("none", "strict", "lax"), weights, strict=True))}))
    expected = sum(w * part for w, part in zip(weights, parts, strict=True))
    torch.testing.assert_close(mixed(x), expected)
    path = bind(network, Mixture({"exit": {"lax": weights[0]}}))
    torch.testing.assert_close(path(x), parts[0] + weights[0] * (parts[2] - parts[0]))
    if not training:
        ones = torch.randn(12, CLASSES, dtype=torch.float64)
        gradients = (torch.autograd.grad((y * ones).sum(), weights)[0] for y in (mixed(x), expected))
        torch.testing.assert_close(*gradients)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_onnx_runtime_lets_the_same_examples_leave(tmp_path: Path) -> None:
    network = _network(0.7).float()
    path = tmp_path / "network.onnx"
    example = (torch.randn(1, 5, WIDTH),)
    dynamic = {0: "batch", 1: "length"}
    export_onnx(network, example, path, dynamic=dynamic, input_names=["x"], output_names=["logits"])
    session = onnxruntime.InferenceSession(path)
    torch.manual_seed(1)
    network.rows.clear()
    for batch, length in [(9, 7), (1, 1), *[(1, 2)] * 8]:
        x = torch.randn(batch, length, WIDTH)
        with torch.no_grad():
            expected = network(x)
        (found,) = session.run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=0)
    assert 0 < network.rows[0] < 9
    assert {0, 1} == set(network.rows[1:])  # of one alone, both happened


def test_easy_examples_leave_once_it_is_trained() -> None:
    """The sign of a mean is seen at once; whether two tokens agree takes the layer above."""
    torch.manual_seed(0)
    network = Network(EarlyExit(Head(), 0.9))

    def batch(size: int) -> tuple[Tensor, Tensor, Tensor]:
        easy = torch.arange(size) % 2 == 0
        x = torch.zeros(size, 2, WIDTH)
        signs = torch.randint(0, 2, (size, 2)) * 2.0 - 1
        x[..., 0] = torch.where(easy[:, None], 2 * signs[:, :1], 0)  # class 0 by a positive sign, else 1
        x[..., 1] = torch.where(easy[:, None], 0, signs)  # class 2 when they agree, else 1
        x[..., 2] = torch.where(easy, 0.0, 1.0)[:, None]
        agree = signs[:, 0] == signs[:, 1]
        return x, torch.where(easy, (signs[:, 0] < 0).long(), torch.where(agree, 2, 1)), easy

    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(300):
        x, target, _ = batch(32)
        with auxiliary.collect() as taught:
            loss = F.cross_entropy(network(x), target)
        optimizer.zero_grad()
        (loss + torch.stack(taught).sum()).backward()
        optimizer.step()
    network.eval().rows.clear()
    x, target, easy = batch(200)
    with torch.no_grad():
        right = network(x).argmax(dim=1) == target
        leaving = network.exit.head(x).softmax(dim=1).amax(dim=1) >= 0.9
    assert network.rows == [200 - int(leaving.sum())]
    assert leaving[easy].float().mean() > 0.95
    assert leaving[~easy].float().mean() < 0.05
    assert right[easy].float().mean() > 0.95


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
def test_a_threshold_that_is_none(threshold: float) -> None:
    with pytest.raises(SearchSpaceError, match=f"confidence of {threshold}: need 0 or more"):
        EarlyExit(Head(), threshold)
