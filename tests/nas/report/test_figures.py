"""The figures hold the run's own numbers, and never mix what must not be mixed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from nas.report import RunRecord, render
from nas.report.baselines import conclusion
from nas.report.contenders import contenders
from nas.report.diagram import Node, flow, place
from nas.report.palette import option_colours

Read = Callable[[str], Any]


@pytest.fixture(scope="module")
def page(run: RunRecord, read: Read) -> Any:
    return read(render(run))


def test_shared_weight_scores_are_the_runs_own(run: RunRecord, page: Any) -> None:
    traces = page.traces("predicted latency, ms")
    networks = run.result["baselines"]["random"]
    assert traces["random"]["x"] == [n["predicted"]["latency_ms"] for n in networks]
    assert traces["random"]["y"] == [n["shared_loss"] for n in networks]
    assert traces["winner"]["y"] == [1.803]
    assert len(traces["candidate"]["x"]) == len(run.result["candidates"])


def test_trained_scores_have_their_own_plane(run: RunRecord, page: Any) -> None:
    traces = page.traces("measured latency, ms")
    assert set(traces) == {"winner", "best random", "uniform", "largest, at 8.44 ms"}
    assert traces["winner"] | {"x": [3.94], "y": [2.343]} == traces["winner"]
    trained = {traces[name]["y"][0] for name in traces}
    shared = {y for trace in page.traces("predicted latency, ms").values() for y in trace["y"]}
    assert not trained & shared


def test_the_trained_plane_falls_back_to_predictions_for_all_networks_at_once(
    run: RunRecord, read: Read
) -> None:
    page = read(render(dataclasses.replace(run, result=run.result | {"measured": None})))
    titles = [figure["layout"]["xaxis"].get("title", {}).get("text") for figure in page.figures]
    assert titles.count("predicted latency, ms") == 2
    assert "measured latency, ms" not in titles


def test_expected_costs_are_fractions_of_their_limits(run: RunRecord, page: Any) -> None:
    figure = page.drawn("yaxis", "expected / limit")
    first = next(entry for entry in run.trajectory if entry["phase"] == "architecture")
    assert figure["data"][0]["y"][0] == pytest.approx(first["expected"]["latency_ms"] / 4.0)
    assert figure["layout"]["shapes"][0]["y0"] == 1.0
    low, high = figure["layout"]["yaxis"]["range"]
    assert low < 1.0 < high


def test_no_trace_is_longer_than_can_be_seen(page: Any) -> None:
    assert max(len(trace["x"]) for figure in page.figures for trace in figure["data"]) <= 400


def test_probabilities_keep_one_colour_an_option_and_sum_to_one(run: RunRecord, page: Any) -> None:
    bands = [f for f in page.figures if f["data"][0].get("stackgroup")]
    assert len(bands) == len(run.choices)
    colours: dict[str, set[str]] = {}
    for figure in bands:
        for trace in figure["data"]:
            colours.setdefault(trace["name"], set()).add(trace["fillcolor"])
        assert sum(trace["y"][-1] for trace in figure["data"]) == pytest.approx(1.0)
    assert all(len(found) == 1 for found in colours.values())
    assert len(set().union(*colours.values())) == len(colours)


def test_predicted_against_measured_holds_the_calibration_networks(run: RunRecord, page: Any) -> None:
    figure = page.drawn("yaxis", "measured, ms")
    dots = {trace.get("name"): trace for trace in figure["data"]}
    networks = run.result["calibration"]["networks"]
    assert dots["calibration network"]["y"] == [n["measured_ms"] for n in networks]
    assert dots["winner"]["y"] == [3.94]
    band = dots["±5 %"]
    assert band["y"] == pytest.approx(
        [x * f for x, f in zip(band["x"], (1.05, 1.05, 0.95, 0.95), strict=True)]
    )


def test_a_joint_search_shows_losses_costs_and_duals(run: RunRecord) -> None:
    lines: list[dict[str, Any]] = [
        {
            "phase": "joint",
            "step": i,
            "loss": 2.0,
            "task_loss": 1.5,
            "expected": {"latency_ms": 3.0},
            "duals": {"latency_ms": 0.1},
        }
        for i in range(10)
    ]
    text = render(dataclasses.replace(run, trajectory=lines))
    assert "Weights and architecture parameters in alternation" in text
    section = text.split('id="trajectory"')[1].split("</section>")[0]
    assert section.count('class="figure"') == 3


def test_equal_rows_of_the_cost_table_share_one_row(run: RunRecord) -> None:
    section = render(run).split('id="costs"')[1].split("</section>")[0]
    assert section.count("and 3 more") == 2
    assert section.count('<th scope="row">') == 2
    assert "0.430<sup>×2</sup>" in section


@pytest.mark.parametrize(
    ("ours", "told"),
    [
        (1.600, "The winner is better"),
        (1.648, "No clear difference"),
        (1.656, "No clear difference"),
        (1.700, "The winner loses"),
    ],
)
def test_the_comparison_with_the_best_random_is_plain(run: RunRecord, ours: float, told: str) -> None:
    quality = run.result["quality"] | {"test_loss": ours}
    changed = dataclasses.replace(run, result=run.result | {"quality": quality})
    assert told in conclusion(contenders(changed))


def test_the_graph_runs_down_each_layer_and_across() -> None:
    nodes = [Node(column, "t", "o", 1.0, "p") for column in ("a", "a", "b", "b", "b", "c")]
    graph = flow(nodes)
    centres = place(graph, [node.column for node in nodes], width=100)
    assert list(graph.edges) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    across = [centres[i][0] - centres[0][0] for i in range(6)]
    down = [centres[i][1] - centres[0][1] for i in range(6)]
    assert across == pytest.approx([0, 0, 130, 130, 130, 260])
    assert down == pytest.approx([0, 88, 0, 88, 176, 0])


def test_one_column_hangs_straight_down() -> None:
    nodes = [Node("a", "t", "o", 1.0, "p")] * 3
    centres = place(flow(nodes), ["a"] * 3, width=100)
    assert [centres[i][1] - centres[0][1] for i in range(3)] == pytest.approx([0, 88, 176])
    assert place(flow(nodes[:1]), ["a"], width=100)[0] == pytest.approx((51, 66))


def test_choices_stand_in_the_order_of_the_table_and_others_by_their_numbers() -> None:
    passed = ["width", "layers.1.mixer", "layers.0.mixer", "first"]
    run = RunRecord(cost_table={"choices": {path: {} for path in passed}})
    others = [f"more.{i}" for i in range(12)]
    assert run.ordered(sorted([*others, *passed])) == [*passed, *others]


def test_skip_is_grey_and_takes_no_colour_from_the_others() -> None:
    colours = option_colours([["a", "skip", "b"], ["skip", "c"]])
    assert len(set(colours.values())) == 4
    assert colours["a"] == option_colours([["a", "b"]])["a"]
