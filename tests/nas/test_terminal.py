"""The closing words of a search."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.terminal import show

WINNER = {"a": "wide", "b": "skip"}


def _row(latency_ms: float, architecture: dict[str, str], **other: float) -> dict[str, Any]:
    figures = {"latency_ms": latency_ms}
    return {
        "architecture": architecture,
        "predicted": figures,
        "measured": figures,
        "shared_loss": 1.0,
        **other,
    }


def _shown(limit: float = 2.0, **quality: float) -> str:
    trained = {"test_loss": 0.5, "test_metric": 0.7, **quality}
    result = {
        "verdict": "within",
        "task": {"metric": "error rate"},
        "architecture": WINNER,
        "budget": {"latency_ms": limit},
        "predicted": {"latency_ms": 1.0},
        "measured": {"latency_ms": 1.1},
        "verification": {"verdicts": {"latency_ms": "within"}},
        "quality": {"shared_loss": 1.0, "test_examples": 1234, **trained},
        "baselines": {
            "random": [],
            "best_random": _row(1.1, WINNER, **trained),
            "largest": _row(3.0, {"a": "wide", "b": "wide"}),
        },
        "use": {"fraction": 0.55, "filling": None},
    }
    file = io.StringIO()
    show(Console(file=file, width=100), result, Path("runs/1"))
    return file.getvalue()


def test_the_winner_is_named_with_what_it_was_tested_on() -> None:
    text = _shown()
    assert "found wide, skip" in text
    assert "on 1,234 examples of the test data" in text
    assert "best random (the same)" in text


def test_errors_are_a_column_where_a_task_counts_them() -> None:
    assert " errors " not in _shown()
    text = _shown(test_error=0.25)
    assert " errors " in text
    assert "25.0%" in text


def test_a_limit_that_excludes_nothing_is_said_to() -> None:
    assert "every architecture is within this budget; the largest takes latency 3.00 ms" in _shown(limit=3.5)
    assert "every architecture" not in _shown(limit=2.0)
