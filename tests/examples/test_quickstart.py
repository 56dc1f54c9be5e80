"""The README's Python example, in fewer steps."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from nas.settings import PRESETS
from tests.nas.toys import EFFORT

EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart.py"


@pytest.mark.measured
@pytest.mark.timeout(900)  # every option is exported: a minute, or several beside other work
def test_it_ends_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "quick", EFFORT)
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "within" in capsys.readouterr().out
