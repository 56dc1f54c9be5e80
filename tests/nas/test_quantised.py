"""A search with precision as a choice: what floats cannot fit is met, measured, and what it costs is told."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from typer.testing import CliRunner

from hw_cost_models.cost import Workload
from hw_cost_models.export import export_onnx
from hw_cost_models.export_cache import ExportCache
from hw_cost_models.files import read_json
from hw_cost_models.trace import static_cost
from nas.assembly import Assembly
from nas.budget import Budget
from nas.cli import app
from nas.cli_runs import space_and_task
from nas.cost_table import CostTable
from nas.errors import InfeasibleBudgetError
from nas.quantised import calibrated, in_precisions
from nas.run import Run
from nas.start import Result, search
from search_spaces import Architecture, Choice, SearchSpace, choices, finalised, select
from search_spaces.blocks import MLP, PreNorm, SwiGLU
from search_spaces.precision import with_precisions
from search_spaces.quantised import EightBits, quantised
from search_spaces.rules import at_least, where
from tests.nas.toys import EFFORT, ToyTask

if TYPE_CHECKING:
    from pathlib import Path

    from search_spaces.space import Batch, Split

WIDTH, LENGTH = 64, 8
WORKLOAD = Workload(batch=1, length=LENGTH)


class Stack(nn.Module):
    """(batch, length, WIDTH) -> the same; nearly all of its memory is the weights of its options."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.a, self.b = (
                Choice(
                    {
                        "mlp": PreNorm(WIDTH, MLP(WIDTH, 8 * WIDTH)),
                        "gated": PreNorm(WIDTH, SwiGLU(WIDTH, 8 * WIDTH)),
                        "skip": nn.Identity(),
                    }
                )
                for _ in range(2)
            )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(self.a(x))
        return y


def _inputs(batch: int, length: int) -> tuple[Tensor]:
    return (torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(batch)),)


def _space() -> SearchSpace:
    """Both places have to do work."""
    network = Stack()
    rule = at_least(2, where(network, "*", "mlp", "gated"))
    known = {"all mlp": (Architecture({"a": "mlp", "b": "mlp"}),)}
    return SearchSpace("stack", network, _inputs, {0: "batch", 1: "length"}, rules=(rule,), references=known)


class Turning(ToyTask):
    """The target is the input turned by one place, and squashed."""

    def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
        x = torch.randn(size, LENGTH, WIDTH, generator=generator)
        return (x,), x.roll(1, dims=-1).tanh()


FLOATS_MB = 2 * 4 * 2 * WIDTH * 8 * WIDTH / 1e6
"""The weights of two `mlp` by hand, without which nothing is allowed: 0.52 MB."""
BUDGET = Budget(memory_mb=0.6 * FLOATS_MB)


def test_floats_alone_cannot_meet_it(tmp_path: Path) -> None:
    with pytest.raises(InfeasibleBudgetError, match="memory"):
        search(
            _space(),
            Turning(),
            tmp_path / "run",
            device="raspberry-pi-5",
            budget=BUDGET,
            workload=WORKLOAD,
            effort=EFFORT,
        )
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    space = with_precisions(_space(), ("fp32", "int8", "int4"))
    path = tmp_path_factory.mktemp("search") / "run"
    return search(space, Turning(), path, budget=BUDGET, workload=WORKLOAD, effort=EFFORT, seed=1)


def test_with_integers_it_is_met_and_the_measured_file_is_within(result: Result) -> None:
    limit = BUDGET.limits()["memory_mb"]
    assert result.verdict == "within"
    assert 0 < result.summary["measured"]["memory_mb"] <= limit < FLOATS_MB
    file = onnx.load(result.onnx)
    assert sum(numpy_helper.to_array(t).nbytes for t in file.graph.initializer) < 1e6 * limit
    operators = Counter(node.op_type for node in file.graph.node)
    assert operators["MatMulNBits"] + operators["QuantizeLinear"] > 0
    precisions = {p: o for p, o in result.architecture.items() if "." in p}
    assert len(precisions) == 2
    assert set(precisions.values()) != {"fp32"}


def test_what_was_lost_is_told_of_all_that_were_trained(result: Result) -> None:
    told, baselines = result.summary["precision"], result.summary["baselines"]
    assert told.keys() == {"winner", "best_random", "reference"}
    for name, one in told.items():
        assert one.keys() == {"as_shipped", "fp32", "int8"}
        entry = result.summary["quality"] if name == "winner" else baselines[name]
        assert one["as_shipped"] == pytest.approx(entry["test_metric"])
        assert one["int8"] == pytest.approx(one["fp32"], rel=0.2)
    assert told["winner"]["as_shipped"] != told["winner"]["fp32"]
    assert baselines["reference"]["name"] in ("all mlp int8", "all mlp int4")  # in floats it does not fit
    assert baselines["reference"]["predicted"]["memory_mb"] <= BUDGET.limits()["memory_mb"]
    assert result.summary["parity"]["rounding"] > 0


def test_the_table_prices_each_precision(result: Result) -> None:
    """Weights by hand: a byte, or half of one with a scale and a zero point for 32, and scales."""
    table = CostTable.from_dict(read_json(result.path / "cost_table.json"))
    count, outputs = 2 * WIDTH * 8 * WIDTH, 9 * WIDTH
    norm = 4 * WIDTH
    costs = {name: table.options["a.mlp", name] for name in ("fp32", "int8", "int4")}
    assert costs["fp32"].weight_bytes == 4 * count + norm
    assert costs["int8"].weight_bytes == count + 5 * outputs + 2 * 5 + norm
    assert costs["int4"].weight_bytes == count // 2 + (4 * count + count // 2) // 32 + norm
    assert {cost.parameters for cost in costs.values()} == {count + WIDTH}
    assert table.options["a", "mlp"].weight_bytes == table.options["a", "mlp"].latency_ms == 0
    assert all(cost.latency_ms > 0 for cost in costs.values())


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_assembled_and_whole_files_agree(precision: str, tmp_path: Path) -> None:
    space = with_precisions(_space(), ("fp32", "int8", "int4"))
    assembly = Assembly(space, WORKLOAD, ExportCache(tmp_path, space.dynamic))
    taken = {"a": "mlp", "a.mlp": precision, "b": "gated", "b.gated": "int8"}
    network = finalised(select(space.network, Architecture(taken)).eval())
    model = assembly.model(Architecture(taken))
    held = sum(numpy_helper.to_array(t).nbytes for t in model.graph.initializer)
    counted = static_cost(network, _inputs(1, LENGTH)).weight_bytes
    assert counted <= held < counted + 64  # constants of the norm and of gelu are no weights
    whole = tmp_path / "whole.onnx"
    names = {"input_names": ["x"], "output_names": ["y"]}
    export_onnx(network, _inputs(1, LENGTH), whole, dynamic=space.dynamic, **names)
    operators = [Counter(node.op_type for node in file.graph.node) for file in (model, onnx.load(whole))]
    assert operators[0] == operators[1]
    assert operators[0]["MatMulNBits"] == (2 if precision == "int4" else 0)
    onnxruntime.InferenceSession(model.SerializeToString())


def test_what_was_asked_on_the_command_line_is_there_again_on_resume(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("nas.own_space._space_and_task", lambda *_: (_space(), Turning()))
    told = {"space": "stack", "origin": "mine:stack", "data": None, "workload": {"length": LENGTH}}
    for precisions, choice in (([], False), (["fp32", "int4"], True)):
        run = Run.create(tmp_path / str(choice), {**told, "precisions": precisions}, lambda _: None)
        space, _ = space_and_task(run)
        assert ("a.mlp" in choices(space.network)) == choice


def test_a_precision_that_is_none_is_said_before_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.own_space._space_and_task", lambda *_: (_space(), Turning()))
    said = CliRunner().invoke(app, ["search", "--precision", "fp32, int7"])
    assert str(said.exception) == "no precision 'int7'; the precisions are fp32, int8, int4"


def test_ranges_are_those_of_training_data() -> None:
    layer = nn.Linear(WIDTH, WIDTH)
    network = calibrated(quantised(nn.Sequential(layer), "int8"), Turning())
    (eight,) = (part for part in network.modules() if isinstance(part, EightBits))
    assert 3.5 < eight.high.item() < 5.5  # the largest of some thousand normal numbers
    assert eight.training == network.training  # as it was
    test = list(Turning().batches("test", 8, 2))
    told = in_precisions(nn.Sequential(layer), Turning(), test)
    assert told["as_shipped"] == told["fp32"]
    assert 0 < abs(told["int8"] / told["fp32"] - 1) < 0.05
