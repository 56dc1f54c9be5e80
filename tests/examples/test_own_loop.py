"""A loop of one's own learns and keeps to its limit."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_loop.py"


@pytest.mark.measured
@pytest.mark.timeout(900)
def test_it_learns_within_the_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    main = runpy.run_path(str(EXAMPLE))["main"]
    errors = []
    for steps in (2, 400):
        main(steps)
        said = capsys.readouterr().out
        wrong, latency, limit = map(float, re.findall(r"([\d.]+)% errors, ([\d.]+) ms of ([\d.]+)$", said)[0])
        assert 0 < latency <= limit
        errors.append(wrong)
    assert errors[1] < 45 < 75 < errors[0]  # by chance, 90
