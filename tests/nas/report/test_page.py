"""The page as a whole: complete, self-contained, safe, and honest about what is missing."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from nas.report import RunRecord, render

Read = Callable[[str], Any]

SECTIONS = [
    "verdict",
    "winner",
    "why",
    "plane",
    "trajectory",
    "probabilities",
    "experts",
    "agreement",
    "baselines",
    "attempts",
    "protocol",
    "costs",
    "details",
]


@pytest.fixture(scope="module")
def text(run: RunRecord) -> str:
    return render(run)


def without(run: RunRecord, *keys: str) -> RunRecord:
    return dataclasses.replace(run, result={k: v for k, v in run.result.items() if k not in keys})


def test_every_section_stands_in_order(text: str, read: Read) -> None:
    assert read(text).sections == SECTIONS


def test_nothing_is_fetched(text: str, read: Read) -> None:
    page = read(text)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not {"img", "iframe", "object", "embed"} & set(page.tags)
    assert "@import" not in text.split("<script>")[0]


def test_plotly_is_inlined_once_and_dominates_the_size(text: str) -> None:
    assert text.count("* plotly.js v") == 1
    assert len(text.encode()) < 6_000_000


def test_rendering_is_quick(run: RunRecord) -> None:
    start = time.perf_counter()
    render(run)
    assert time.perf_counter() - start < 5


def test_the_verdict_is_told_in_words_and_figures(text: str, read: Read) -> None:
    words = " ".join(read(text).words.split())
    assert "Within budget" in words
    assert "latency of at most 4.00 ms and memory of at most 16.0 MB" in words
    assert "The network found measures 3.94 ms latency and 12.6 MB memory" in words
    assert "Kendall τ 0.71 and Spearman ρ 0.88" in words
    assert "The winner was proposed by the scores, a predictor of quality" in words
    assert "and the controller, by its distribution." in words


@pytest.mark.parametrize(
    ("verdict", "title"),
    [
        ("over", "Over budget"),
        ("undecided", "Undecided"),
        ("predicted, not verified", "Predicted, not verified"),
        (None, "Unfinished"),
    ],
)
def test_every_verdict_has_words_and_a_mark(run: RunRecord, verdict: str | None, title: str) -> None:
    page = render(dataclasses.replace(run, result=run.result | {"verdict": verdict}))
    hero = page.split('class="hero">')[1].split("</div>")[0]
    assert f"<h2>{title}</h2>" in hero
    assert '<svg class="mark' in hero


def test_a_limit_without_its_own_verdict_is_judged_by_its_measurement(run: RunRecord) -> None:
    tight = dataclasses.replace(run, result=run.result | {"budget": {"latency_ms": 4.0, "memory_mb": 12.5}})
    row = render(tight).split("memory <span")[1].split("</tr>")[0]
    assert "over" in row


def hostile(run: RunRecord) -> RunRecord:
    """The same run with markup in its paths, options, names and versions."""
    attack = json.dumps("</script><evil a='\">&")[1:-1]

    def infect(part: Any) -> Any:
        told = json.dumps(part, ensure_ascii=False)
        for name in (
            "linear_attention",
            "swiglu_2x",
            "layers.1",
            "hybrid-lm",
            "local",
            "bits per byte",
            "1.32.0",
        ):
            told = told.replace(name, name + attack)
        for name in ('"cost table":', '"steps":', "this machine's CPU"):
            told = told.replace(name, name[:-2] + attack + name[-2:])
        return json.loads(told)

    return RunRecord(*(infect(getattr(run, field.name)) for field in dataclasses.fields(run)))


def test_markup_in_a_run_never_becomes_markup_in_the_page(run: RunRecord, read: Read) -> None:
    text = render(hostile(run))
    page = read(text)
    assert "evil" not in page.tags
    assert page.sections == SECTIONS
    assert page.words.count("<evil") > 20
    assert "<evil" not in text.replace("\\u003c", "")
    names = [trace.get("name", "") for figure in page.figures for trace in figure["data"]]
    assert any("&lt;evil" in name for name in names), "plotly's own small HTML must be escaped too"
    assert not any("<evil" in json.dumps(figure) for figure in page.figures)


@pytest.mark.parametrize("key", [
    "verdict", "space", "task", "device", "workload", "statistic", "architecture", "budget", "predicted",
    "measured", "verification", "quality", "baselines", "winner_source", "candidates", "corrections",
    "scores", "calibration", "parity", "timings", "versions",
])  # fmt: skip
def test_any_part_may_be_absent_or_null(run: RunRecord, key: str, read: Read) -> None:
    assert read(render(without(run, key))).sections == SECTIONS
    assert read(render(dataclasses.replace(run, result=run.result | {key: None}))).sections == SECTIONS


def test_an_empty_run_says_what_is_missing(read: Read) -> None:
    page = read(render(RunRecord()))
    assert page.sections == SECTIONS
    assert page.figures == []
    for told in (
        "No architecture has been chosen",
        "No step has been recorded",
        "No cost table has been built",
    ):
        assert told in page.words


def test_a_device_that_is_not_here_has_no_measurement(run: RunRecord, read: Read) -> None:
    predicted = {"verdict": "predicted, not verified", "measured": None, "verification": None}
    words = read(render(dataclasses.replace(run, result=run.result | predicted))).words
    assert "is predicted at 3.93 ms latency" in words
    assert "There are no verification processes" in words


def test_without_a_cost_table_or_trajectory_the_rest_still_renders(run: RunRecord, read: Read) -> None:
    page = read(render(dataclasses.replace(run, cost_table={}, trajectory=[], scores={})))
    assert page.sections == SECTIONS
    assert "convolution" in page.words
