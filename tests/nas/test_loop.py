"""A loop that is killed anywhere and resumed is the loop that was not, bit for bit."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas import loop
from nas.errors import DivergedError
from nas.loop import State, run_loop
from nas.progress import Silent
from nas.run import Run
from nas.steps import descend
from search_spaces import select
from tests.nas.toys import Killed, Toy, ToyTask, architecture, new_run, same

STEPS = 5
Step = Callable[[int], dict[str, Any]]
ROOT = Path(__file__).parents[2]


class Work:
    """A small training with everything that a loop carries: weights, buffers, moments, draws, multipliers."""

    def __init__(self, seed: int = 0) -> None:
        plain = select(Toy(seed), architecture("tanh.x2", "nested", "wide"))
        self.network = nn.Sequential(nn.BatchNorm1d(4), plain)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.01)
        self.draws = torch.Generator().manual_seed(seed)
        self.duals = torch.zeros(2)
        self.state = State(
            {"network": self.network}, {"weights": self.optimizer}, self.draws, {"duals": self.duals}
        )

    def step(self, i: int) -> dict[str, Any]:
        (x,), target = ToyTask().sample("train", 4, self.draws)
        loss = ToyTask().loss(self.network(x), target)
        descend(loss, self.optimizer, self.network.parameters())
        self.duals.add_(loss.detach() - 0.1)
        return {"loss": loss.item(), "duals": self.duals.tolist()}

    def go_on(self, run: Run, step: Step | None = None) -> None:
        run_loop(run, "1-work", STEPS, self.state, step or self.step, Silent())

    def everything(self) -> list[object]:
        return [self.network.state_dict(), self.optimizer.state_dict(), self.draws.get_state(), self.duals]


def _trajectory(run: Run) -> bytes:
    return (run.path / "trajectory" / "1-work.jsonl").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], bytes]:
    run, work = new_run(tmp_path_factory.mktemp("runs") / "whole"), Work()
    work.go_on(run)
    return work.everything(), _trajectory(run)


@pytest.fixture(params=[-1.0, math.inf], ids=["checkpoint every step", "checkpoint at the end"])
def pace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", request.param)
    return float(request.param)


def test_every_step_is_taken_once_and_recorded(tmp_path: Path) -> None:
    run, seen = new_run(tmp_path / "run"), list[int]()

    def step(i: int) -> dict[str, Any]:
        seen.append(i)
        return {"square": i * i}

    Work().go_on(run, step)
    assert seen == list(range(STEPS))
    assert run.trajectory() == [{"step": i, "square": i * i} for i in range(STEPS)]
    Work().go_on(Run.open(run.path), lambda i: pytest.fail("a finished loop has no step left"))
    assert len(run.trajectory()) == STEPS


def test_what_stands_in_several_places_is_kept_once() -> None:
    shared = nn.BatchNorm1d(4)
    network = nn.ModuleDict({"one": nn.Sequential(nn.Linear(4, 4), shared), "other": nn.Sequential(shared)})
    other = nn.ModuleDict({"one": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))})
    other["other"] = nn.Sequential(other["one"][1])
    shared.running_mean.fill_(3.0)
    saved = State({"network": network}, {}, torch.Generator()).save()
    kept = [name for name in saved if name.startswith("module/")]
    assert len(kept) == 2 + 5
    assert not any("other" in name for name in kept)
    State({"network": other}, {}, torch.Generator()).load(saved)
    assert same(other.state_dict(), network.state_dict())


@pytest.mark.parametrize("killed_at", range(STEPS))
@pytest.mark.parametrize("when", ["before", "within"])
def test_killed_in_a_step(
    tmp_path: Path, pace: float, uninterrupted: tuple[list[object], bytes], killed_at: int, when: str
) -> None:
    run, work = new_run(tmp_path / "run"), Work()

    def step(i: int) -> dict[str, Any]:
        if i == killed_at:
            if when == "within":
                work.step(i)  # everything has changed, and nothing of it is on disk
            raise Killed
        return work.step(i)

    with pytest.raises(Killed):
        work.go_on(run, step)
    checkpointed = pace < 0 and killed_at > 0
    resumed = Work(seed=1 if checkpointed else 0)  # a checkpoint leaves nothing of what it is loaded into
    resumed.go_on(Run.open(run.path))
    assert same(resumed.everything(), uninterrupted[0])
    assert _trajectory(run) == uninterrupted[1]


def test_killed_at_every_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple[list[object], bytes]
) -> None:
    """Whatever call to the system is the last one; and again at the same place after resuming."""
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    left = math.inf

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return real(*arguments)

        return call

    for name in ("open", "write", "fsync", "replace"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    for calls in range(1000):
        left = math.inf
        run = new_run(tmp_path / f"{calls}")
        kills = 0
        work = Work()
        for _ in range(2):
            left = calls
            try:
                work.go_on(Run.open(run.path))
            except Killed:
                kills += 1
                work = Work()
        left = math.inf
        work.go_on(Run.open(run.path))
        assert same(work.everything(), uninterrupted[0]), f"killed after {calls} calls"
        assert _trajectory(run) == uninterrupted[1], f"killed after {calls} calls"
        if not kills:
            break
    assert calls > 8 * STEPS


def _loads(run: Run) -> tuple[int, Work, list[str]]:
    """The step that the run goes on from, what was loaded, and what was said."""
    said: list[str] = []
    checkpoint = Run.open(run.path, said.append).load_checkpoint("1-work")
    work = Work(seed=3)
    if checkpoint is not None:
        work.state.load(checkpoint.tensors)
    return checkpoint.step if checkpoint else 0, work, said


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "emptied", "removed"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: tuple[list[object], bytes],
    suffix: str,
    harm: str,
) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    run, work = new_run(tmp_path / "run"), Work()
    work.go_on(run)
    folder = run.path / "checkpoints" / "1-work"
    assert sorted(f.name for f in folder.iterdir()) == [
        f"00000{i}.{kind}" for i in (STEPS - 1, STEPS) for kind in ("json", "safetensors")
    ]
    newest = folder / f"00000{STEPS}{suffix}"
    data = newest.read_bytes()
    if harm == "removed":
        newest.unlink()
    else:
        changed = data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]
        newest.write_bytes({"cut": data[:-7], "changed": changed, "emptied": b""}[harm])
    step, _, said = _loads(run)
    assert step == STEPS - 1
    if (suffix, harm) != (".json", "removed"):  # without its seal it is no checkpoint at all
        assert len(said) == 1
        assert str(newest) in said[0]
        assert "the checkpoint before it is used" in said[0]
    resumed = Work(seed=2)
    resumed.go_on(Run.open(run.path))
    assert same(resumed.everything(), uninterrupted[0])
    assert _trajectory(run) == uninterrupted[1]


def test_two_checkpoints_stay(tmp_path: Path, pace: float) -> None:
    run, work = new_run(tmp_path / "run"), Work()
    work.go_on(run)
    kept = sorted(f.stem for f in (run.path / "checkpoints" / "1-work").glob("*.safetensors"))
    assert kept == (["000004", "000005"] if pace < 0 else ["000005"])


def test_divergence_names_the_loop_the_step_and_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    run, work = new_run(tmp_path / "run"), Work()

    def step(i: int) -> dict[str, Any]:
        if i == 3:
            descend(work.network[0].weight.sum() * math.nan, work.optimizer, work.network.parameters())
        return work.step(i)

    with pytest.raises(
        DivergedError, match=r"^1-work, step 3: the loss is nan; the last good checkpoint is step 3$"
    ):
        work.go_on(run, step)
    step_reached, loaded, _ = _loads(run)
    assert step_reached == 3
    assert all(torch.isfinite(t).all() for t in loaded.network.state_dict().values())
    assert len(run.trajectory()) == 3


def test_a_line_cut_short_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", math.inf)
    run, work = new_run(tmp_path / "run"), Work()
    work.go_on(run)
    path = run.path / "trajectory" / "1-work.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert [line["step"] for line in run.trajectory()] == list(range(STEPS - 1))


def test_progress_is_told_what_was_done_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    told: list[object] = []

    class Ears(Silent):
        def start(self, total: int, done: int = 0) -> None:
            told.append((total, done))

        def advance(self) -> None:
            told.append("one")

    run = new_run(tmp_path / "run")

    def step(i: int) -> dict[str, Any]:
        if i == 3 and not interrupted:
            raise Killed
        return {}

    interrupted = False
    with pytest.raises(Killed):
        run_loop(run, "1-work", STEPS, Work().state, step, Ears())
    interrupted = True
    run_loop(run, "1-work", STEPS, Work().state, step, Ears())
    assert told == [(5, 0), "one", "one", "one", (5, 3), "one", "one"]


def test_awkward_tensors_are_saved_as_they_are(tmp_path: Path) -> None:
    """Two names for one weight, and a weight that lies in memory in another order."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.b = self.a
            self.turned = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())

    def state(network: nn.Module) -> State:
        return State({"n": network}, {}, torch.Generator())

    run, network, other = new_run(tmp_path / "run"), Tied(), Tied()
    with torch.no_grad():
        network.turned.mul_(2)
    run.save_checkpoint("x", 1, state(network).save())
    checkpoint = run.load_checkpoint("x")
    assert checkpoint is not None
    state(other).load(checkpoint.tensors)
    assert same(dict(network.state_dict()), dict(other.state_dict()))


CHILD = """
import sys, time, torch
from pathlib import Path
from nas import loop
from nas.run import Run
from tests.nas.test_loop import Work

torch.set_num_threads(1)
loop.SECONDS_BETWEEN_CHECKPOINTS = -1.0
work = Work()

def step(i):
    print(i, flush=True)
    time.sleep(0.02)
    return work.step(i)

work.go_on(Run.open(Path(sys.argv[1])), step)
"""


def test_a_real_kill(tmp_path: Path, uninterrupted: tuple[list[object], bytes]) -> None:
    run = new_run(tmp_path / "run")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(run.path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with child:
        assert child.stdout is not None
        while child.stdout.readline().strip() != b"2":
            assert child.poll() is None
        time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert 1 <= len(run.trajectory()) < STEPS
    work = Work()
    work.go_on(Run.open(run.path))
    assert same(work.everything(), uninterrupted[0])
    assert _trajectory(run) == uninterrupted[1]
