"""The run directory: whole at every moment, and nothing in it is overwritten or believed unread."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
import torch

from hw_cost_models.errors import DamagedFileError
from hw_cost_models.files import digest, read_json
from nas.errors import BadInputError
from nas.run import Run, generator, pack_tensors, read_tensors
from tests.nas.toys import Killed, new_run, same

if TYPE_CHECKING:
    from pathlib import Path


def _refuse_to_compute() -> dict[str, Any]:
    raise AssertionError("a whole file is not computed again")


def _snapshot(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def test_a_new_run_holds_its_configuration(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "deep" / "run", {"seed": 3})
    assert run.config == {"seed": 3}
    assert Run.open(run.path).config == {"seed": 3}
    (tmp_path / "empty").mkdir()
    assert Run.create(tmp_path / "empty", {}).config == {}


@pytest.mark.parametrize("holds", ["a run", "another file", "itself a file"])
def test_nothing_is_overwritten(tmp_path: Path, holds: str) -> None:
    path = tmp_path / "run"
    if holds == "a run":
        new_run(path)
    elif holds == "another file":
        path.mkdir()
        (path / "thesis.tex").write_text("years of work")
    else:
        path.write_text("years of work")
    before = _snapshot(tmp_path)
    with pytest.raises(BadInputError) as error:
        Run.create(path, {"seed": 4})
    assert f"{path} is not empty" in str(error.value)
    assert (f"nas resume {path}" in str(error.value)) == (holds == "a run")
    assert "\n" not in str(error.value)
    assert _snapshot(tmp_path) == before


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"holds no run.*config\.json"):
        Run.open(tmp_path)
    with pytest.raises(BadInputError, match="holds no run"):
        Run.open(tmp_path / "nowhere")
    new_run(tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_bytes(config.read_bytes()[:-5])
    with pytest.raises(DamagedFileError, match=r"config\.json is damaged"):
        Run.open(tmp_path / "run")


def test_a_phase_is_computed_once(tmp_path: Path) -> None:
    said: list[str] = []
    run = new_run(tmp_path / "run", said)
    value = {"losses": [0.1, 2 / 3, 1e-300], "name": "ü", "none": None}
    assert run.once("phase.json", lambda: value) == value
    assert run.once("phase.json", _refuse_to_compute) == value
    assert Run.open(run.path).once("phase.json", _refuse_to_compute) == value
    assert run.read("phase.json") == value
    assert run.holds("phase.json")
    assert said == []


@pytest.mark.parametrize("harm", ["cut", "changed", "emptied"])
def test_a_damaged_phase_is_named_and_made_anew(tmp_path: Path, harm: str) -> None:
    said: list[str] = []
    run = new_run(tmp_path / "run", said)
    run.once("phase.json", lambda: {"loss": 1.25})
    path = run.path / "phase.json"
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-1], "changed": data.replace(b"1.25", b"1.24"), "emptied": b""}[harm])
    assert run.once("phase.json", lambda: {"loss": 2.5}) == {"loss": 2.5}
    assert len(said) == 1
    assert str(path) in said[0]
    assert said[0].endswith("made anew")
    assert read_json(path) == {"loss": 2.5}


def test_a_phase_that_fails_leaves_nothing(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")

    def killed() -> dict[str, Any]:
        raise Killed

    with pytest.raises(Killed):
        run.once("phase.json", killed)
    assert not run.holds("phase.json")
    with pytest.raises(BadInputError, match=r"holds no phase\.json: .*nas resume"):
        run.read("phase.json")


@pytest.mark.parametrize(
    "room", [0, 150, 4150], ids=["nothing fits", "half a file fits", "the seal does not fit"]
)
def test_a_full_disk_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    run = new_run(tmp_path / "run")
    run.save_checkpoint("loop", 1, {"w": torch.ones(1000)})
    run.record("loop", {"step": 0, "note": "x" * 5000})
    run.record("loop", {"step": 1})
    (run.path / "phase.json").write_bytes(b"damaged, but somebody may want to look at it")
    before = _snapshot(run.path)
    free = room

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal free
        if not free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        took = os.pwrite(descriptor, data[: min(100, free)], os.fstat(descriptor).st_size)
        free -= took
        return took

    monkeypatch.setattr(os, "write", write)
    for attempt in (
        lambda: run.once("phase.json", lambda: {"losses": [0.5] * 2000}),
        lambda: run.rewind("loop", 1),
        lambda: run.save_checkpoint("loop", 2, {"w": torch.zeros(1000)}),
    ):
        free = room
        with pytest.raises(OSError, match="No space left on device"):
            attempt()
    now = _snapshot(run.path)
    assert {name: now[name] for name in before} == before
    assert now.keys() - before.keys() <= {"checkpoints/loop/000002.safetensors"}, "no draft stays behind"
    checkpoint = run.load_checkpoint("loop")
    assert checkpoint is not None
    assert checkpoint.step == 1
    assert torch.equal(checkpoint.tensors["w"], torch.ones(1000))


def test_trajectories_in_the_order_of_their_loops(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    assert run.trajectory() == []
    run.record("2-architecture", {"step": 0, "loss": 0.5})
    run.record("1-supernet", {"step": 0})
    run.record("1-supernet", {"step": 1})
    assert run.trajectory() == [{"step": 0}, {"step": 1}, {"step": 0, "loss": 0.5}]
    run.rewind("1-supernet", 1)
    assert run.trajectory() == [{"step": 0}, {"step": 0, "loss": 0.5}]
    with pytest.raises(ValueError, match="JSON"):
        run.record("1-supernet", {"loss": float("nan")})


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    assert run.load_checkpoint("loop") is None
    tensors = {"a": torch.rand(3, 2), "b": torch.arange(4), "c": torch.tensor(2.5, dtype=torch.float64)}
    run.save_checkpoint("loop", 12, tensors)
    checkpoint = run.load_checkpoint("loop")
    assert checkpoint is not None
    assert checkpoint.step == 12
    assert same(checkpoint.tensors, tensors)
    assert run.load_checkpoint("other") is None


def test_all_checkpoints_damaged(tmp_path: Path) -> None:
    said: list[str] = []
    run = new_run(tmp_path / "run", said)
    for step in (1, 2):
        run.save_checkpoint("loop", step, {"w": torch.ones(3)})
    for path in (run.path / "checkpoints" / "loop").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    assert run.load_checkpoint("loop") is None
    assert ["000002" in said[0], "000001" in said[1]] == [True, True]


def test_tensors_of_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    data = pack_tensors({"w": torch.ones(2)})
    path.write_bytes(data)
    assert torch.equal(read_tensors(path, digest(data))["w"], torch.ones(2))
    path.write_bytes(pack_tensors({"w": torch.zeros(2)}))
    with pytest.raises(DamagedFileError, match=r"w\.safetensors is damaged"):
        read_tensors(path, digest(data))
    with pytest.raises(DamagedFileError, match=r"absent cannot be read: No such file"):
        read_tensors(tmp_path / "absent", digest(data))


def test_generators_of_different_purposes_are_independent() -> None:
    def first(seed: int, purpose: str) -> list[float]:
        return torch.rand(4, generator=generator(seed, purpose)).tolist()

    assert first(0, "a") == first(0, "a")
    drawn = {tuple(first(seed, purpose)) for seed in (0, 1, 10) for purpose in ("a", "b", "0/a")}
    assert len(drawn) == 9
