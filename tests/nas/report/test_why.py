"""Why the winner is what it is: shares, ratios and fitted quality by hand, and no word without a figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nas.report import RunRecord, render
from nas.report.option_costs import groups, limited, qualities, reference_option
from nas.report.why import binding, why

Read = Callable[[str], Any]
Json = dict[str, Any]

FORWARD = {"dear": 4.0, "fair": 2.0, "cheap": 1.0, "skip": 0.0}
DECODE = {"dear": 0.6, "fair": 0.15, "cheap": 0.05, "skip": 0.0}
FLOPS = {"dear": 3e6, "fair": 4e6, "cheap": 3e6, "skip": 0.0}
PATHS = ("layers.0.mixer", "layers.1.mixer")


def option(name: str, latency: float, place: int) -> Json:
    known = {"latency_ms": latency, "weight_mb": 0.5, "peak_activation_mb": 2.0, "params_m": 0.1}
    state = {"state_mb": 1.5 + place} if name == "dear" else {}
    return known | {"flops": FLOPS[name]} | state


def table(kind: str, latencies: dict[str, float]) -> Json:
    """The second place is dearer by a half: tables hold means over places, not one of them."""
    return {
        "device": "local",
        "workload": {"kind": kind, "batch": 1, "length": 4096},
        "choices": {
            path: {name: option(name, ms * (1 + place / 2), place) for name, ms in latencies.items()}
            for place, path in enumerate(PATHS)
        },
    }


TABLE = table("forward", FORWARD) | {"beside": {"decode": table("decode", DECODE)}}
RESULT: Json = {
    "architecture": {PATHS[0]: "cheap", PATHS[1]: "skip"},
    "budget": {"decode_ms": 2.5, "memory_mb": 10.0},
    "measured": {"latency_ms": 9.0, "decode_ms": 2.45, "memory_mb": 1.2},
}
REFERENCE = {"baselines": {"reference": {"architecture": {PATHS[0]: "fair", PATHS[1]: "skip"}}}}
SCORES: Json = {
    "options": [
        [path, name, worth] for path in PATHS for name, worth in zip(FORWARD, (3, 1, 1, -1), strict=True)
    ],
    "neighbours": [[PATHS[0], "fair", PATHS[1], "fair", 2.0]],
}


def words(read: Read, run: RunRecord) -> str:
    return " ".join(read(why(run)).words.split())


def run_of(**result: Any) -> RunRecord:
    return RunRecord(result=RESULT | result, cost_table=TABLE)


def test_the_limits_are_judged_by_what_was_measured(read: Read) -> None:
    told = words(read, run_of())
    assert "The limit on time per token (98.0 % used) binds; memory (12.0 % used) does not." in told


@pytest.mark.parametrize(
    ("use", "told"),
    [
        ({"latency_ms": 0.5}, "No limit binds: latency (50.0 % used)."),
        ({"latency_ms": 0.9}, "The limit on latency (90.0 % used) binds."),
        (
            {"latency_ms": 1.0, "state_mb": 0.95, "memory_mb": 0.1, "params_m": 0.2},
            "The limits on latency (100.0 % used) and state (95.0 % used) bind; memory (10.0 % used) and "
            "parameters (20.0 % used) do not.",
        ),
    ],
)
def test_which_limits_bind(use: dict[str, float], told: str) -> None:
    assert binding(use) == told


def test_the_binding_limit_is_explained_beside_the_reference(read: Read) -> None:
    """dear: (0.6 + 0.9) / 2 = 0.75 ms of 2.5; fair 0.1875 and cheap 0.0625."""
    alone = words(read, run_of())
    assert (
        "For one token after 4,096 tokens on local, dear takes 12 times the time of cheap: 30 % of the limit "
        "at each place, against 2.5 %. The winner takes dear nowhere and cheap at 1 of 2 places."
    ) in alone
    known = words(read, replace(run_of(**REFERENCE), scores=SCORES))
    assert (
        "fair takes 3.0 times the time of cheap: 7.5 % of the limit at each place, against 2.5 %. By fitted "
        "quality fair is 0.5000 nats better. The winner takes fair nowhere"
    ) in known
    assert "times the activations" not in alone, "memory does not bind"


def test_without_a_binding_limit_the_fullest_is_explained(read: Read) -> None:
    told = words(read, run_of(measured={"decode_ms": 0.5, "memory_mb": 8.0}))
    assert "No limit binds" in told
    assert "In a forward of length 4,096 on local" in told
    assert "times the activations of" in told
    assert "For one token" not in told


def test_a_winner_of_skips_is_said_to_skip(read: Read) -> None:
    skips = dict.fromkeys(PATHS, "skip")
    told = words(read, run_of(architecture=skips))
    assert "The winner takes dear nowhere, cheap nowhere and skip at 2 of 2 places." in told


def rows(read: Read, run: RunRecord) -> dict[str, list[str]]:
    """The table's cells by option."""
    body = why(run).split("<tbody>")[1].split("</tbody>")[0].replace("<wbr>", "")
    cells = [row.replace("</th>", "</td>").split("</td>")[:-1] for row in body.split("</tr>")[:-1]]
    texts = [[" ".join(read(cell).words.split()) for cell in row] for row in cells]
    return {first: rest for first, *rest in texts}


def test_the_table_by_hand(read: Read) -> None:
    """Beside the reference's option fair: 0.1875 ms of 2.5 ms."""
    found = rows(read, replace(run_of(**REFERENCE), scores=SCORES))
    assert list(found) == ["dear", "fairreference", "cheap", "skip"]
    assert found["dear"][:3] == ["30 % · 4.0 ×", "5.0 % · 1.0 ×", "20 % · 1.0 ×"]
    assert found["fairreference"][0] == "7.5 % · 1.0 ×"
    assert found["skip"][0] == "–"
    assert [row[-1] for row in found.values()] == ["–", "–", "1 of 2", "1 of 2"]


def test_without_a_reference_the_dearest_is_the_measure(read: Read) -> None:
    found = rows(read, run_of())
    assert [found[name][0] for name in ("dear", "fair")] == ["30 % · 1.0 ×", "7.5 % · 0.25 ×"]
    assert {row[-2] for row in found.values()} == {"–"}, "nothing was fitted"


def test_a_figure_of_none_of_them_has_no_column(read: Read) -> None:
    state = run_of(budget={"state_mb": 5.0})
    assert rows(read, state)["dear"][0] == "40 % · 1.0 ×", "(1.5 + 2.5) / 2 of 5 MB"
    assert rows(read, state)["cheap"][0] == "–"
    stateless = {
        path: {o: c | {"state_mb": 0.0} for o, c in row.items()} for path, row in TABLE["choices"].items()
    }
    decode = TABLE["beside"]["decode"] | {"choices": stateless}
    without = replace(state, cost_table=TABLE | {"beside": {"decode": decode}})
    assert [len(row) for row in rows(read, without).values()] == [2] * 4


def test_fitted_quality_averages_over_places_and_neighbours() -> None:
    """A pair counts for a quarter at either end: to (3, 1, 1, -1) comes 0.5 for one of them."""
    (group,) = groups(run_of())
    found = qualities(replace(run_of(), scores=SCORES), group)
    assert found == pytest.approx({"dear": 1.875, "fair": 0.375, "cheap": -0.125, "skip": -2.125})
    assert qualities(run_of(), group) == {}


def test_equal_options_share_a_group_and_the_reference_is_what_works() -> None:
    (group,) = groups(run_of())
    assert (group.title, group.paths) == ("layers.*.mixer", PATHS)
    assert reference_option(run_of(**REFERENCE), group) == "fair"
    assert reference_option(run_of(), group) is None


def test_what_the_device_makes_dear_is_named(read: Read) -> None:
    """Of the time of a token 75, 18.75 and 6.25 %; of the FLOPs 30, 40 and 30 %."""
    told = words(read, run_of())
    assert (
        "By time per token on local, dear for its arithmetic: dear (75.0 % of the time, 30.0 % of the FLOPs; "
        "ranks 1 and 2 of 4); cheap for its arithmetic: fair (18.8 % of the time, 40.0 % of the FLOPs; ranks "
        "2 and 1 of 4) and cheap (6.2 % of the time, 30.0 % of the FLOPs; ranks 3 and 2 of 4)."
    ) in told


def test_an_unlimited_time_is_told_by_the_latency_of_the_run(read: Read) -> None:
    """4, 2 and 1 of 7 against 3, 4 and 3 of 10: only the last is below half of its FLOPs."""
    told = words(read, run_of(budget={"params_m": 1.0}))
    assert (
        "By latency on local, cheap for its arithmetic: cheap (14.3 % of the time, 30.0 % of the FLOPs"
        in told
    )
    assert "dear for its arithmetic:" not in told


def test_an_unfinished_run_is_told_by_what_it_was_asked(read: Read) -> None:
    asked = RunRecord(config={"budget": {"decode_ms": 2.5, "memory_mb": None}}, cost_table=TABLE)
    told = words(read, asked)
    assert "dear takes 12 times the time of cheap" in told
    assert "binds" not in told
    assert "The winner takes" not in told
    assert [figure.metric.name for figure in limited(asked)] == ["decode_ms"]


@pytest.mark.parametrize(
    "missing", [{"cost_table": {}}, {"result": {}}, {"cost_table": TABLE | {"beside": {}}}]
)
def test_without_limits_or_costs_the_section_says_so(missing: Json, read: Read) -> None:
    run = replace(RunRecord(result=RESULT | {"budget": {"decode_ms": 2.5}}, cost_table=TABLE), **missing)
    assert "costs explain nothing" in words(read, run)


def test_the_run_of_the_other_tests_is_explained(run: RunRecord) -> None:
    section = render(run).split('id="why"')[1].split("</section>")[0]
    assert "The limit on latency (98.5 % used) binds; memory (78.8 % used) does not." in section
    assert section.count("<table") == 2
