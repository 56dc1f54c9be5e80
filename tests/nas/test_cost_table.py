"""The cost table by hand arithmetic on the toy's round figures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_cost_models.cost import Cost, Workload
from nas import budget as budgets
from nas.budget import Budget
from nas.cost_table import Correction, CostTable
from nas.discretise import Scores
from nas.errors import BadInputError
from tests.nas.toys import COSTS, FIRST, FIXED, INNER, OPTIONS, SECOND, architecture, architectures, toy_table

if TYPE_CHECKING:
    from search_spaces import Architecture

WIDE = architecture("tanh.x2", "nested", "wide")
NARROW = architecture("linear", "nested", "narrow")
NOTHING = architecture("skip", "skip")


@pytest.mark.parametrize(
    ("taken", "latency_ms", "memory_mb", "params_m"),
    [
        # fixed 1 ms, 0.5 MB of weights, 0.125 M parameters, 0.04 MB at its peak
        (NOTHING, 1.0, 0.5 + 0.04, 0.125),
        (NARROW, 1 + 2 + 1 + 0.5, 0.5 + 0.1 + 0.2 + 0.05 + 0.04, 0.125 + 0.025 + 0.05 + 0.012),
        (WIDE, 1 + 4 + 1 + 3, 0.5 + 0.4 + 0.2 + 0.3 + 0.09, 0.125 + 0.1 + 0.05 + 0.075),
    ],
)
def test_figures_by_hand(taken: Architecture, latency_ms: float, memory_mb: float, params_m: float) -> None:
    table = toy_table()
    expected = {"latency_ms": latency_ms, "memory_mb": memory_mb, "params_m": params_m}
    assert table.figures(taken) == pytest.approx(expected)


def test_choices_in_the_order_of_the_network() -> None:
    assert toy_table().choices == OPTIONS
    assert list(toy_table().choices) == [FIRST, SECOND, INNER]


def test_dearest_by_brute_force() -> None:
    table = toy_table()
    assert table.dearest() == max(architectures(), key=lambda a: table.figures(a)["latency_ms"]) == WIDE
    upside_down = replace(
        table, options={**COSTS, (SECOND, "skip"): Cost(latency_ms=4.5), (FIRST, "skip"): Cost(latency_ms=9)}
    )
    assert upside_down.dearest() == architecture("skip", "skip")


@pytest.mark.parametrize("taken", architectures(), ids=lambda a: "-".join(a.values()))
def test_constraints_agree_with_figures(taken: Architecture) -> None:
    table = toy_table()
    for told in table.metrics:
        assert table.constraint(told, 1.0).of(taken) == pytest.approx(table.figures(taken)[told.name])


def _with_decode() -> CostTable:
    """Beside the forward, a decode that takes a tenth of the time and keeps 1 kB for each option."""
    workload = Workload(1, 512, "decode")
    costs = {
        d: replace(c, latency_ms=c.latency_ms / 10, state_bytes=1000 * (c.flops > 0))
        for d, c in COSTS.items()
    }
    return replace(toy_table(), beside={"decode": replace(toy_table(), workload=workload, options=costs)})


def test_a_workload_beside_is_another_figure_and_another_limit() -> None:
    table = _with_decode()
    assert table.figures(WIDE) == pytest.approx(
        {**toy_table().figures(WIDE), "decode_ms": 1.0 + 0.8, "state_mb": 0.003}
    )
    best = table.problem(Budget(latency_ms=20.0, decode_ms=1.5)).best(Scores(dict.fromkeys(COSTS, 1.0)))
    assert best is not None
    assert table.figures(best.architecture)["decode_ms"] <= 1.5
    corrected = table.corrected(Correction(WIDE, "decode_ms", 1.8, 3.6))
    assert corrected.figures(WIDE)["decode_ms"] == pytest.approx(3.6)
    assert corrected.figures(WIDE)["latency_ms"] == table.figures(WIDE)["latency_ms"]
    assert CostTable.from_dict(json.loads(json.dumps(corrected.to_dict()))) == corrected


def test_a_limit_that_the_table_cannot_tell() -> None:
    with pytest.raises(BadInputError, match=r"energy_mj: device .* tells no energy; limit latency_ms"):
        toy_table().constraint(budgets.metric("energy_mj"), 1.0)


def test_the_solver_works_within_the_budget() -> None:
    problem = toy_table().problem(Budget(latency_ms=4.5, params_m=0.2))
    assert [(c.name, c.limit) for c in problem.constraints] == [("latency_ms", 4.5), ("params_m", 0.2)]
    allowed = {NOTHING, architecture("linear", "skip"), architecture("skip", "nested", "narrow")}
    found = {s.architecture for s in problem.ranked(Scores({}))}
    assert found == allowed  # `tanh.x2` has 5 ms, `linear` beside `nested` 0.212 M parameters


# ------------------------------------------------------------------------------- corrections

_architectures = st.sampled_from(architectures())


@given(
    taken=_architectures,
    metric=st.sampled_from(["latency_ms", "memory_mb"]),
    factor=st.floats(0.5, 2.0),
)
def test_a_correction_raises_what_was_measured_and_lowers_nothing(
    taken: Architecture, metric: str, factor: float
) -> None:
    table = toy_table()
    predicted = table.figures(taken)[metric]
    corrected = table.corrected(Correction(taken, metric, predicted, predicted * factor))
    works = metric == "latency_ms" or any(table.options[d].flops for d in taken.items())
    expected = max(predicted, predicted * factor) if works else predicted  # a skip takes no memory
    assert corrected.figures(taken)[metric] == pytest.approx(expected, abs=2e-6)
    for other in architectures():
        before, after = table.figures(other), corrected.figures(other)
        assert all(after[name] >= before[name] for name in before)
        assert {n: v for n, v in after.items() if n != metric} == {
            n: v for n, v in before.items() if n != metric
        }
    for decision, cost in corrected.options.items():
        alike = COSTS[decision] in [COSTS[d] for d in taken.items()]
        if factor <= 1 or not alike:
            assert cost == COSTS[decision], "not measured, not touched"
    assert len(corrected.corrections) == (factor > 1)


def test_a_correction_of_latency_by_hand() -> None:
    """4.5 ms predicted, 5.4 measured: what it is made of becomes 1.2 times as dear."""
    corrected = toy_table().corrected(Correction(NARROW, "latency_ms", 4.5, 5.4))
    raised = {d: c.latency_ms for d, c in corrected.options.items()}
    assert raised == pytest.approx(
        {
            (FIRST, "linear"): 2.4,
            (FIRST, "tanh.x2"): 4.0,
            (FIRST, "skip"): 0.0,
            (SECOND, "nested"): 1.2,
            (SECOND, "skip"): 0.0,
            (INNER, "narrow"): 0.6,
            (INNER, "wide"): 3.0,
        }
    )
    assert corrected.fixed.latency_ms == pytest.approx(1.2)
    assert replace(corrected.fixed, latency_ms=1.0) == FIXED


def test_corrections_add_up() -> None:
    table = toy_table()
    for taken, measured in ((NARROW, 5.4), (WIDE, 9.9), (NARROW, 5.8)):
        predicted = table.figures(taken)["latency_ms"]
        table = table.corrected(Correction(taken, "latency_ms", predicted, measured))
        assert table.figures(taken)["latency_ms"] == pytest.approx(measured)
    assert [c.measured for c in table.corrections] == [5.4, 9.9, 5.8]


def test_what_is_counted_is_not_corrected() -> None:
    table = toy_table().corrected(Correction(WIDE, "params_m", 0.35, 0.36))
    assert table.options == toy_table().options
    assert table.fixed == toy_table().fixed
    assert [c.metric for c in table.corrections] == ["params_m"]


# -------------------------------------------------------------------------------------- JSON

_bytes = st.integers(0, 2**40).map(float)
_costs = st.builds(
    Cost,
    latency_ms=st.floats(0, 1e4),
    flops=_bytes,
    weight_bytes=_bytes,
    parameters=_bytes,
    peak_activation_bytes=_bytes,
)


@given(option=_costs, fixed=_costs, predicted=st.floats(0.1, 100), factor=st.floats(1.0, 1.5))
def test_a_table_survives_json(option: Cost, fixed: Cost, predicted: float, factor: float) -> None:
    """Exactly: what a resumed run reads is what the run before it used."""
    table = replace(
        toy_table(predicted=(predicted, 2.0), measured=(1.5, 2.5)),
        options={**COSTS, (FIRST, "linear"): option},
        fixed=fixed,
    )
    for metric in ("latency_ms", "memory_mb"):
        figure = table.figures(NARROW)[metric]
        table = table.corrected(Correction(NARROW, metric, figure, figure * factor))
    assert CostTable.from_dict(json.loads(json.dumps(table.to_dict()))) == table


def test_the_public_form() -> None:
    public = toy_table().to_dict()
    assert set(public) >= {"device", "workload", "threads", "statistic", "choices", "fixed"}
    assert public["choices"][FIRST]["linear"] == {
        "latency_ms": 2.0,
        "weight_mb": 0.1,
        "peak_activation_mb": 0.03,
        "params_m": 0.025,
        "flops": 1e6,
    }
    assert public["nesting"][INNER] == [SECOND, "nested"]
