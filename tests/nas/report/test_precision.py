"""Where integers were taken for speed and where not, by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nas.report import RunRecord, render
from nas.report.option_costs import groups, latency
from nas.report.precision import precision

Read = Callable[[str], Any]


def _costs(**latencies: float) -> dict[str, dict[str, float]]:
    bytes_mb = {"fp32": 0.4, "int8": 0.1, "int4": 0.06}
    return {
        name: {"latency_ms": ms, "weight_mb": bytes_mb[name], "flops": 1e6} for name, ms in latencies.items()
    }


BARE = {"latency_ms": 0.0, "weight_mb": 0.0, "flops": 0.0}
RUN = RunRecord(
    result={
        "architecture": {"a": "wide", "a.wide": "int8", "b": "wide", "b.wide": "int8", "c": "skip"},
        "precision": {"winner": {"as_shipped": 2.51, "fp32": 2.5, "int8": 2.52}},
        "task": {"metric": "bits per byte"},
    },
    cost_table={
        "choices": {
            "a": {"wide": BARE, "skip": BARE},
            "a.wide": _costs(fp32=4.0, int8=2.0, int4=5.0),
            "b": {"wide": BARE, "skip": BARE},
            "b.wide": _costs(fp32=1.0, int8=0.99, int4=0.5),
            "c": {"wide": BARE, "skip": BARE},
            "c.wide": _costs(fp32=1.0, int8=0.1),
        },
        "nesting": {
            **dict.fromkeys("abc"),
            **{f"{place}.wide": [place, "wide"] for place in "abc"},
        },
    },
)


def _words(read: Read, run: RunRecord) -> str:
    return " ".join(read(precision(run)).words.split())


def test_it_says_where_integers_are_for_speed(read: Read) -> None:
    """At the second place int8 takes 99 % of the time: that is no speed. The third is not the winner's."""
    words = _words(read, RUN)
    assert "int8 was taken at 2 of 2 places: at 1 it takes less time than floats there, at 1" in words
    assert "int4 was taken at 0 of 2 places" in words
    assert "faster at 1 of the places where it was not taken" in words
    assert "bits per byte" in words
    assert "2.510" in words
    assert "c.wide" not in words


def test_a_space_of_floats_has_no_such_section() -> None:
    plain = replace(RUN, cost_table={"choices": {"a": {"wide": BARE, "skip": BARE}}})
    assert precision(plain) == ""
    assert 'href="#precision"' not in render(plain)
    assert 'href="#precision"' in render(RUN)


def test_options_cost_what_is_nested_in_them_in_floats() -> None:
    (group,) = groups(RUN)
    assert group.options == ("wide", "skip")
    assert latency(RUN).costs(group) == {"wide": 2.0, "skip": 0.0}  # of 4, 1 and 1 ms
    assert latency(RUN).flops(group) == {"wide": 1e6, "skip": 0.0}
