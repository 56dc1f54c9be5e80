"""Training of one network: what it learns, what is recorded, and that rivals see the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from nas import loop
from nas.errors import DivergedError
from nas.evaluate import evaluate
from nas.progress import Silent
from nas.run import Run
from nas.steps import cosine
from nas.train import Training, train
from search_spaces import select
from tests.nas.toys import Killed, Toy, ToyTask, architecture, new_run, same

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from search_spaces.space import Batch, Split

TRAINING = Training(steps=12, batch_size=8, learning_rate=0.02, seed=3)
VALIDATION = list(ToyTask().batches("validation", 16, 2))


def _plain() -> nn.Module:
    return select(Toy(), architecture("tanh.x2", "nested", "narrow"))


def test_it_learns_and_says_so(tmp_path: Path) -> None:
    network, task, run = _plain(), ToyTask(), new_run(tmp_path / "run")
    batches = list(task.batches("test", 64, 2))
    before = evaluate(network, task, batches)
    train(network, task, Training(60, 32, 0.02, 0), VALIDATION, run, "winner", Silent())
    assert evaluate(network, task, batches) < 0.7 * before
    assert not any(module.training for module in network.modules())
    lines = run.trajectory()
    assert [line["step"] for line in lines] == list(range(60))
    assert {(line["phase"], line["network"]) for line in lines} == {("train", "winner")}
    assert [line["learning_rate"] for line in lines] == [cosine(i, 60, 0.02) for i in range(60)]
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_it_ends_as_it_was_when_it_was_best_on_validation_data(tmp_path: Path) -> None:
    """Training data of another rule than validation data: after the first steps it gets worse and worse."""

    class Misleading(ToyTask):
        def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
            inputs, target = super().sample(split, size, generator)
            misled[0] += 1
            return inputs, target if misled[0] <= 8 else 9.0 - target

    misled = [0]
    run, network, task = new_run(tmp_path / "run"), _plain(), Misleading()
    train(network, task, Training(40, 32, 0.02, 0), VALIDATION, run, "winner", Silent())
    looks = {line["step"]: line["validation_loss"] for line in run.trajectory() if "validation_loss" in line}
    assert list(looks) == list(range(3, 40, 4))
    best = min(looks, key=looks.__getitem__)
    assert best < 12
    assert looks[39] > 2 * looks[best]
    assert evaluate(network, task, VALIDATION) == pytest.approx(looks[best])


def test_rivals_see_the_same_batches(tmp_path: Path) -> None:
    seen: dict[str, list[list[object]]] = {}

    class Watching(ToyTask):
        def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
            batch = super().sample(split, size, generator)
            seen.setdefault(name, []).append([split, size, *batch[0][0].flatten().tolist()])
            return batch

    run = new_run(tmp_path / "run")
    for name in ("winner", "largest"):
        train(_plain(), Watching(), TRAINING, VALIDATION, run, name, Silent())
    assert seen["winner"] == seen["largest"]
    assert len(seen["winner"]) == TRAINING.steps
    assert {(split, size) for split, size, *_ in seen["winner"]} == {("train", 8)}


@pytest.mark.parametrize("killed_at", [0, 5, 11])
def test_a_killed_training_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    whole = _plain()
    train(whole, ToyTask(), TRAINING, VALIDATION, new_run(tmp_path / "whole"), "winner", Silent())

    class Stopping(Silent):
        left = killed_at

        def advance(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    run = new_run(tmp_path / "run")
    with pytest.raises(Killed):
        train(_plain(), ToyTask(), TRAINING, VALIDATION, run, "winner", Stopping())
    resumed = _plain()
    train(resumed, ToyTask(), TRAINING, VALIDATION, Run.open(run.path), "winner", Silent())
    assert same(dict(whole.state_dict()), dict(resumed.state_dict()))
    assert run.trajectory() == Run.open(tmp_path / "whole").trajectory()


def test_the_auxiliary_loss_is_trained_too(tmp_path: Path) -> None:
    """A task without a gradient of its own: only the gate's loss, the mean square of its output, is left."""
    network = _plain()
    task = ToyTask(scale=0.0)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.zero_()

    def gate() -> float:
        with torch.no_grad():
            hidden = network.layers[1][0](network.layers[0](torch.ones(1, 4)))
            return float(network.layers[1][1].linear(hidden).square().mean())

    before = gate()
    train(network, task, Training(60, 16, 0.02, 0), VALIDATION, new_run(tmp_path / "run"), "winner", Silent())
    assert gate() < 0.5 * before


def test_a_loss_of_nan_stops_with_the_step_and_the_cause(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    with pytest.raises(DivergedError, match=r"^5-train-winner, step 0: the loss is nan; the last good"):
        train(_plain(), ToyTask(scale=math.nan), TRAINING, VALIDATION, run, "winner", Silent())
    assert run.load_checkpoint("5-train-winner") is None
    assert run.trajectory() == []
