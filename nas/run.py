"""The run directory: everything a search knows, on disk, whole at every moment.

    config.json  environment.json            what was asked, and where it ran
    cost_table.json  scores.json  ...        one sealed file a finished phase, not run again
    trajectory/LOOP.jsonl                    what each loop recorded, one line a step
    checkpoints/LOOP/                        its two newest states: safetensors and sealed JSON
    networks/NAME.safetensors                trained weights
    winner.onnx  result.json  report.html    the outcome

A figure is written before it is used, and what is used is what was read back: so a run that was killed and
resumed takes the same decisions as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from hw_cost_models.errors import DamagedFileError
from hw_cost_models.files import digest, read_json, write_atomic, write_json
from nas.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

    from nas.progress import Progress

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Checkpoint:
    step: int
    tensors: dict[str, Tensor]


class Run:
    """One run directory, opened for going on."""

    def __init__(self, path: Path, config: dict[str, Any], warn: Warn = lambda message: None) -> None:
        self.path, self.config, self.warn = path, config, warn

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any], warn: Warn = lambda message: None) -> Run:
        """Raises BadInputError when the directory already holds anything."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            resume = f"; `nas resume {path}` goes on with it" if (path / "config.json").exists() else ""
            raise BadInputError(f"{path} is not empty and nothing is overwritten: give another --out{resume}")
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "config.json", dict(config))
        return cls.open(path, warn)

    @classmethod
    def open(cls, path: Path, warn: Warn = lambda message: None) -> Run:
        """Raises BadInputError when there is no run, DamagedFileError when its configuration is damaged."""
        if not (path / "config.json").is_file():
            raise BadInputError(f"{path} holds no run: there is no config.json in it")
        return cls(path, read_json(path / "config.json"), warn)

    def holds(self, name: str) -> bool:
        return (self.path / name).exists()

    def read(self, name: str) -> dict[str, Any]:
        """Raises BadInputError when the run did not get that far, DamagedFileError for a damaged file."""
        if not self.holds(name):
            raise BadInputError(f"{self.path} holds no {name}: the run did not get that far; `nas resume` it")
        return read_json(self.path / name)

    def once(self, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The contents of a finished phase, computed and written only if the run does not hold them whole."""
        if self.holds(name):
            try:
                return read_json(self.path / name)
            except DamagedFileError as error:
                self.warn(f"{error}; made anew")
        write_json(self.path / name, dict(compute()))
        return read_json(self.path / name)

    def record(self, loop: str, line: Mapping[str, Any]) -> None:
        """Adds the line of one step to a loop's trajectory."""
        with self._trajectory(loop).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def rewind(self, loop: str, steps: int) -> None:
        """Drops what was recorded after `steps` steps: those will be taken again."""
        lines = _read_lines(self._trajectory(loop))[:steps]
        write_atomic(self._trajectory(loop), "".join(json.dumps(line) + "\n" for line in lines).encode())

    def trajectory(self) -> list[dict[str, Any]]:
        """Every loop's lines, loops in the order in which they began."""
        files = sorted((self.path / "trajectory").glob("*.jsonl"), key=lambda file: file.name)
        return [line for file in files for line in _read_lines(file)]

    @contextmanager
    def phase(self, title: str, progress: Progress) -> Iterator[None]:
        """Announces a phase and adds its seconds to the run's, which a resumed run has from before."""
        progress.phase(title)
        began = time.monotonic()
        try:
            yield
        finally:
            timings = self.timings()
            timings[title] = timings.get(title, 0.0) + time.monotonic() - began
            write_json(self.path / "timings.json", timings)

    def timings(self) -> dict[str, float]:
        """Seconds by phase."""
        return self.read("timings.json") if self.holds("timings.json") else {}

    def _trajectory(self, loop: str) -> Path:
        (self.path / "trajectory").mkdir(exist_ok=True)
        return self.path / "trajectory" / f"{loop}.jsonl"

    def save_checkpoint(self, loop: str, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Keeps this state and the one before it. The sealed JSON comes last: without it, there is none."""
        folder = self.path / "checkpoints" / loop
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / f"{step:06d}.safetensors"
        data = pack_tensors(tensors)
        write_atomic(weights, data)
        write_json(weights.with_suffix(".json"), {"step": step, "weights_sha256": digest(data)})
        kept = {facts.stem for facts in sorted(folder.glob("*.json"))[-2:]}
        for file in folder.iterdir():
            if file.stem not in kept:  # too old, or weights whose facts were never written
                file.unlink()

    def load_checkpoint(self, loop: str) -> Checkpoint | None:
        """The newest whole state; damaged ones are named and passed over."""
        for facts_path in sorted((self.path / "checkpoints" / loop).glob("*.json"), reverse=True):
            try:
                facts = read_json(facts_path)
                tensors = read_tensors(facts_path.with_suffix(".safetensors"), facts["weights_sha256"])
            except DamagedFileError as error:
                self.warn(f"{error}; the checkpoint before it is used")
                continue
            return Checkpoint(facts["step"], tensors)
        return None


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file. The format knows no shared memory and no strides: each tensor is written out."""
    whole = {n: t.detach().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
    return save_tensors(whole)


def read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """Raises DamagedFileError when the file is missing or is not the one that was written."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from None
    if digest(data) != sha256:
        raise DamagedFileError(f"{path} is damaged: its contents are not what was written")
    return load_tensors(data)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines only: a kill may have cut the last one short."""
    if not path.exists():
        return []
    lines: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def generator(seed: int, purpose: str) -> torch.Generator:
    """A generator of its own for every purpose: phases do not shift each other's draws."""
    derived = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8]
    return torch.Generator().manual_seed(int.from_bytes(derived, "big") >> 1)
