"""A network of one's own, searched as its file says, in fewer steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime
import pytest
import torch

from nas.own_space import space_and_task
from search_spaces import choices
from search_spaces.trial import try_space, try_task

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_network.py"


@pytest.mark.measured
@pytest.mark.timeout(900)
def test_it_ends_within_and_the_file_runs(said_by: Callable[[str], str]) -> None:
    said, path = said_by("own_network.py").splitlines()[-2:]
    assert said.startswith("within {'look': ")
    assert said.endswith("% errors")
    session = onnxruntime.InferenceSession(path)
    (logits,) = session.run(None, {"input": torch.zeros(3, 1, 8, 8).numpy()})
    assert logits.shape == (3, 10)


def test_the_command_line_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE.parent)
    space, task = space_and_task("own_network:build_space", None, None)
    try_space(space, 2, 256)
    try_task(space, task)
    assert list(choices(space.network)) == ["look", "look_again"]


def test_it_reads_like_documentation() -> None:
    for path in EXAMPLE.parent.glob("own_*.py"):
        assert len(path.read_text().splitlines()) < 60, path
