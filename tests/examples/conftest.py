"""Running an example as its reader does, in a folder of its own and in fewer steps."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nas.settings import PRESETS
from tests.nas.toys import EFFORT

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def said_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """What an example prints, by its name."""

    def run(name: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setitem(PRESETS, "quick", EFFORT)
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run
