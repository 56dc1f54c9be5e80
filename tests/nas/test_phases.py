"""The whole search: small, but real, from the budget to a file that another runtime runs."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch

from hw_cost_models.cost import Workload
from hw_cost_models.files import digest, read_json
from nas import loop
from nas.after import export_again, verify_again
from nas.bilevel import Bilevel
from nas.budget import Budget
from nas.cost_table import CostTable
from nas.errors import BadInputError, DivergedError, InfeasibleBudgetError, VerificationError
from nas.export import Parity
from nas.outcome import write_report
from nas.phases import Phases
from nas.progress import Silent
from nas.run import Run, read_tensors
from nas.start import Result, resume, search
from search_spaces import Architecture, ByteText, Decoder, check, hybrid_lm, select
from search_spaces.rules import at_least, excluded, requires
from tests.nas.toys import EFFORT, FIRST, INNER, SECOND, Killed, ToyTask, same, toy_space
from tests.search_spaces.narrowed import narrowed

if TYPE_CHECKING:
    from pathlib import Path

    from search_spaces import SearchSpace

WORKLOAD = Workload(batch=1, length=32)
ELSEWHERE = "raspberry-pi-5"
"""A device that is priced by its figures alone."""


def _text_space() -> SearchSpace:
    """Routed experts, sparse weights, slices and states of both kinds, and what the reference is made of."""
    mixers, feedforwards = ("attention", "gated_delta", "convolution"), ("swiglu_2x", "swiglu_4x", "moe")
    space = hybrid_lm(layers=2, width=16, heads=2)
    return narrowed(space, {*mixers, *feedforwards, "sparse_2_4", "skip"})


def _lines(run: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in (run / "trajectory").iterdir()}


# --------------------------------------------------------------------- a run on real text


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    path = tmp_path_factory.mktemp("search") / "run"
    return search(
        _text_space(), ByteText(length=32), path, device=ELSEWHERE, workload=WORKLOAD, effort=EFFORT, seed=3
    )


def test_the_run_directory_is_complete(result: Result) -> None:
    files = {str(f.relative_to(result.path)) for f in result.path.rglob("*") if f.is_file()}
    assert files >= {
        "config.json",
        "environment.json",
        "cost_table.json",
        "scores.json",
        "attempt-1.json",
        "baselines.json",
        "result.json",
        "winner.onnx",
        "winner.safetensors",
        "report.html",
        "trajectory/1-supernet.jsonl",
        "trajectory/2-architecture.jsonl",
        "trajectory/5-train-winner.jsonl",
        "checkpoints/1-supernet/000006.safetensors",
    }
    assert not [name for name in files if name.endswith((".tmp", ".draft", ".pt", ".pkl"))]
    assert result.onnx.exists()
    assert result.report.exists()


def test_the_result_says_what_was_found(result: Result) -> None:
    summary = read_json(result.path / "result.json")
    assert summary == result.summary
    assert summary.keys() >= {
        "architecture",
        "budget",
        "predicted",
        "measured",
        "quality",
        "baselines",
        "versions",
    }
    assert (summary["verdict"], summary["measured"]) == ("predicted, not verified", None)
    check(_text_space().network, result.architecture)
    assert Architecture(summary["architecture"]) == result.architecture
    table = CostTable.from_dict(read_json(result.path / "cost_table.json"))
    assert summary["predicted"] == table.figures(result.architecture)
    assert summary["predicted"].keys() == {"latency_ms", "energy_mj", "memory_mb", "params_m"}
    half = 0.5 * table.figures(table.dearest())["latency_ms"]
    assert summary["budget"] == {"latency_ms": pytest.approx(half)}
    assert summary["predicted"]["latency_ms"] <= half
    assert all(math.isfinite(value) for value in summary["quality"].values())
    assert summary["quality"]["test_metric"] == pytest.approx(summary["quality"]["test_loss"] / math.log(2))
    assert 0 < summary["quality"]["test_error"] < 1


def test_what_it_stands_beside(result: Result) -> None:
    baselines, budget = result.summary["baselines"], result.summary["budget"]["latency_ms"]
    assert baselines.keys() >= {"random", "best_random", "reference", "largest"}
    assert baselines["reference"]["name"] == "LLaMA-like"
    assert baselines["reference"]["predicted"]["latency_ms"] <= budget
    assert len({json.dumps(r["architecture"]) for r in baselines["random"]}) == EFFORT.random_architectures
    assert all(r["predicted"]["latency_ms"] <= budget for r in baselines["random"])
    best = min(baselines["random"], key=lambda r: r["shared_loss"])
    assert baselines["best_random"]["architecture"] == best["architecture"]
    for name, entry in baselines.items():
        if name in ("best_random", "reference"):
            assert {"shared_loss", "validation_loss", "test_loss", "test_metric"} <= entry.keys()
            trained = _lines(result.path)[f"5-train-{name}.jsonl"].splitlines()
            assert len(trained) == EFFORT.train_steps
    candidates = result.summary["candidates"]
    ranked = [(c["tuned_loss"] is None, c["tuned_loss"] or c["shared_loss"]) for c in candidates]
    assert ranked == sorted(ranked)
    assert result.summary["candidates"][0]["architecture"] == result.summary["architecture"]


def test_every_architecture_obeys_the_rules_of_the_space(tmp_path: Path) -> None:
    rule = requires((FIRST, "skip"), (SECOND, "skip"))
    space = replace(toy_space(), rules=(rule, excluded((FIRST, "linear"), (INNER, "narrow"))))
    budget = Budget(params_m=1.0)  # limits nothing
    found = search(space, ToyTask(), tmp_path / "run", device=ELSEWHERE, budget=budget, effort=EFFORT)
    candidates, baselines = found.summary["candidates"], found.summary["baselines"]
    rivals = [entry for name, entry in baselines.items() if name != "random"]
    for entry in (*candidates, *baselines["random"], *rivals):
        assert all(r.allows(entry["architecture"]) for r in space.rules), entry["architecture"]


def test_rules_that_clash_end_a_search_before_it_trains(tmp_path: Path) -> None:
    clashing = (at_least(1, [(FIRST, "skip")]), excluded((FIRST, "skip"), (SECOND, "skip")))
    space = replace(toy_space(), rules=(*clashing, at_least(1, [(SECOND, "skip")])))
    with pytest.raises(InfeasibleBudgetError, match=r"rules of the space: at least 1 of .*; no two of"):
        search(space, ToyTask(), tmp_path / "run", device=ELSEWHERE, effort=EFFORT)
    assert not (tmp_path / "run" / "trajectory").exists()


def test_the_file_runs_in_another_runtime(result: Result) -> None:
    network = select(_text_space().network, result.architecture).eval()
    weights = (result.path / "winner.safetensors").read_bytes()
    network.load_state_dict(read_tensors(result.path / "winner.safetensors", digest(weights)))
    session = onnxruntime.InferenceSession(str(result.onnx))
    (fed,), (given,) = session.get_inputs(), session.get_outputs()
    assert (fed.type, given.type) == ("tensor(int64)", "tensor(float)")
    for batch in (1, 3):
        for length in (7, 40):
            tokens = np.random.default_rng(length).integers(0, 256, (batch, length))
            (logits,) = session.run(None, {fed.name: tokens})
            assert logits.shape == (batch, length, 256)
            expected = network(torch.from_numpy(tokens)).detach().numpy()
            np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert result.summary["parity"]["max_difference"] < 1e-4


def test_the_page_names_the_run(result: Result) -> None:
    page = result.report.read_text()
    assert "predicted, not verified" in page
    assert all(option in page for option in result.architecture.values())
    assert str(result.path) not in page
    write_report(Run.open(result.path), result.path.parent / "again.html")
    assert (result.path.parent / "again.html").read_bytes() == result.report.read_bytes()


def test_a_finished_run_is_only_read(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Phases, "finish", lambda self: pytest.fail("searched again"))
    again = resume(result.path, _text_space(), ByteText(length=32))
    assert again == result


def test_the_winner_is_exported_again(result: Result, tmp_path: Path) -> None:
    written = export_again(Run.open(result.path), _text_space(), tmp_path / "again.onnx")
    again = written.pop(tmp_path / "again.onnx")
    assert again.to_dict()["max_difference"] == result.summary["parity"]["max_difference"]
    assert [path.name for path in written] in ([], ["again-prefill.onnx", "again-decode.onnx"])
    tokens = {"input_ids": np.arange(20).reshape(2, 10)}
    outputs = [
        onnxruntime.InferenceSession(str(path)).run(None, tokens)[0]
        for path in (result.onnx, tmp_path / "again.onnx")
    ]
    assert np.array_equal(*outputs)


def test_weights_leave_in_a_file_of_their_own_when_asked(result: Result, tmp_path: Path) -> None:
    (path, *_) = export_again(
        Run.open(result.path), _text_space(), tmp_path / "again.onnx", weights_beside=True
    )
    assert (tmp_path / "again.onnx.data").stat().st_size > path.stat().st_size / 4
    tokens = {"input_ids": np.arange(20).reshape(2, 10)}
    outputs = [onnxruntime.InferenceSession(str(p)).run(None, tokens)[0] for p in (result.onnx, path)]
    assert np.array_equal(*outputs)


def test_what_cannot_be_verified_here(result: Result) -> None:
    with pytest.raises(BadInputError, match=f"for {ELSEWHERE}, which is not here: its figures stay"):
        verify_again(Run.open(result.path), _text_space())


def test_a_run_of_something_else_is_not_resumed(result: Result) -> None:
    with pytest.raises(BadInputError, match="is a run of space 'hybrid-lm', not 'toy'"):
        resume(result.path, toy_space(), ByteText(length=32))
    with pytest.raises(BadInputError, match="is a run of task 'python-stdlib', not 'toy'"):
        resume(result.path, _text_space(), ToyTask())


# ------------------------------------------------------------------ many runs on the toy


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter takes seconds, and other tests look at it."""

    def write(network: object, space: object, shape: tuple[int, int], path: Path) -> Parity:
        path.write_bytes(b"not a model")
        return Parity(0.0, (shape,))

    monkeypatch.setattr("nas.export.export_network", write)


def _toy(path: Path, **changes: Any) -> Result:
    arguments: dict[str, Any] = {"device": ELSEWHERE, "workload": WORKLOAD, "effort": EFFORT, **changes}
    return search(toy_space(), ToyTask(), path, **arguments)


def _outcome(path: Path) -> dict[str, Any]:
    """All that must not depend on how often a run was killed."""
    summary = read_json(path / "result.json")
    weights = {f.name: f.read_bytes() for f in path.glob("*.safetensors")}
    return {"summary": {**summary, "timings": None}, "weights": weights, "trajectory": _lines(path)}


class Stopping(Silent):
    """Kills the search at its n-th sign of life."""

    def __init__(self, left: float) -> None:
        self.left = left
        self.seen = 0

    def _sign(self) -> None:
        self.seen += 1
        if self.seen > self.left:
            raise Killed

    def phase(self, title: str) -> None:
        self._sign()

    def advance(self) -> None:
        self._sign()


@pytest.mark.usefixtures("quick_export")
@pytest.mark.parametrize("schedule", ["staged", "joint"])
@pytest.mark.parametrize("pace", [-1.0, math.inf])
def test_killed_anywhere_and_resumed_is_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str, pace: float
) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", pace)
    watch = Stopping(math.inf)
    _toy(tmp_path / "whole", schedule=schedule, progress=watch)
    expected = _outcome(tmp_path / "whole")
    assert watch.seen > 35
    for left in range(0, watch.seen, 13 if pace < 0 else 23):
        path = tmp_path / f"{left}"
        with pytest.raises(Killed):
            _toy(path, schedule=schedule, progress=Stopping(left))
        with pytest.raises(Killed):  # and again, a little further on
            resume(path, toy_space(), ToyTask(), Stopping(4))
        resume(path, toy_space(), ToyTask())
        assert _outcome(path) == expected, f"killed after {left} signs of life"


def test_text_killed_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Result, quick_export: None
) -> None:
    """Routed experts, sparse weights and all: the same winner, bit for bit."""
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    with pytest.raises(Killed):
        search(
            _text_space(),
            ByteText(length=32),
            tmp_path / "run",
            device=ELSEWHERE,
            workload=WORKLOAD,
            effort=EFFORT,
            seed=3,
            progress=Stopping(5),
        )
    resume(tmp_path / "run", _text_space(), ByteText(length=32))
    found, expected = _outcome(tmp_path / "run"), _outcome(result.path)
    assert found["trajectory"] == expected["trajectory"]
    assert found["weights"] == expected["weights"]
    assert found["summary"]["architecture"] == expected["summary"]["architecture"]
    assert found["summary"]["quality"] == expected["summary"]["quality"]


@pytest.mark.usefixtures("quick_export")
def test_a_seed_repeats_a_run_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(seed + len(name))
        _toy(tmp_path / name, seed=seed)
    a, b, c = (_outcome(tmp_path / name) for name in "abc")
    assert a == b
    assert a["trajectory"] != c["trajectory"]


@pytest.mark.usefixtures("quick_export")
def test_the_space_that_was_given_is_left_as_it_was(tmp_path: Path) -> None:
    """Searched a second time, for another budget say, it must not begin with the weights of the first."""
    space = toy_space()
    before = {name: weight.clone() for name, weight in space.network.state_dict().items()}
    search(space, ToyTask(), tmp_path / "run", device=ELSEWHERE, workload=WORKLOAD, effort=EFFORT)
    assert same(dict(space.network.state_dict()), before)


@pytest.mark.usefixtures("quick_export")
@pytest.mark.parametrize("controller", ["darts", "random"])
def test_every_controller_ends_within_the_budget(tmp_path: Path, controller: str) -> None:
    table = CostTable.from_dict(read_json(_toy(tmp_path / "a").path / "cost_table.json"))
    limit = 0.6 * table.figures(table.dearest())["params_m"]
    found = _toy(tmp_path / "b", controller=controller, budget=Budget(params_m=limit, memory_mb=1.0))
    assert found.summary["predicted"]["params_m"] <= limit
    assert found.summary["controller"] == controller
    assert found.summary["budget"] == {"memory_mb": 1.0, "params_m": limit}


@pytest.mark.usefixtures("quick_export")
def test_what_the_process_was_set_to_is_left_as_it_was(tmp_path: Path) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    _toy(tmp_path / "run")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
    with pytest.raises(Killed):
        _toy(tmp_path / "killed", progress=Stopping(9))
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_infeasible_budget_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bilevel, "train_weights", lambda self: pytest.fail("trained for nothing"))
    with pytest.raises(
        InfeasibleBudgetError, match=r"params_m <= 1e-06: the smallest feasible figure is 2e-05"
    ):
        _toy(tmp_path / "run", budget=Budget(params_m=1e-6))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "nope"}, "no preset 'nope'; the presets are quick, standard, thorough"),
        ({"controller": "nope"}, "no controller 'nope'; the controllers are gumbel, darts, random"),
    ],
)
def test_names_that_are_not_known(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(BadInputError, match=f"^{re.escape(message)}$"):
        _toy(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_loss_of_nan_stops_the_search(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"^1-supernet, step 0: the loss is nan"):
        search(toy_space(), ToyTask(scale=math.nan), tmp_path / "run", device=ELSEWHERE, effort=EFFORT)


@pytest.mark.usefixtures("quick_export")
@pytest.mark.parametrize("name", ["scores.json", "baselines.json", "attempt-1.json", "cost_table.json"])
def test_a_damaged_phase_is_named_and_made_again(tmp_path: Path, name: str) -> None:
    """From weights and a table that are the same, the same comes out."""
    whole = _toy(tmp_path / "run")
    expected, said = _outcome(whole.path), list[str]()
    for last in ("result.json", "report.html"):
        (whole.path / last).unlink()
    path = whole.path / name
    path.write_bytes(path.read_bytes()[:-9])

    class Ears(Silent):
        def note(self, message: str) -> None:
            said.append(message)

    resume(whole.path, toy_space(), ToyTask(), Ears())
    assert [str(path) in line for line in said] == [True]
    assert _outcome(whole.path) == expected


# ----------------------------------------------------------------------- other workloads


def test_limits_on_decoding_are_kept_elsewhere(tmp_path: Path) -> None:
    space = _text_space()
    budget = Budget(latency_ms=1e3, decode_ms=1e3, state_mb=0.002)
    found = search(
        space,
        ByteText(length=32),
        tmp_path / "run",
        budget=budget,
        device=ELSEWHERE,
        workload=WORKLOAD,
        context=64,
        effort=EFFORT,
    )
    predicted = found.summary["predicted"]
    assert {"latency_ms", "decode_ms", "state_mb"} <= predicted.keys()
    decoder = Decoder(select(space.network, found.architecture))
    state = sum(4 * tensor.numel() for tensor in decoder.state(1, 64))
    assert predicted["state_mb"] == pytest.approx(state / 1e6)
    assert state <= 2000
    session = onnxruntime.InferenceSession(found.path / "winner-decode.onnx")
    names = [value.name for value in session.get_inputs()]
    assert names[0] == "input_ids"
    assert all(name.startswith("past_key_values.") for name in names[1:])
    assert len(names) == 1 + len(decoder.state_names)
    assert found.summary["parity"]["decode"]["max_difference"] < 1e-4
    page = found.report.read_text()
    assert "decode, batch 1, length 64" in page


def test_a_space_that_cannot_decode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no decode step"):
        search(toy_space(), ToyTask(), tmp_path / "run", budget=Budget(decode_ms=1), device=ELSEWHERE)


# -------------------------------------------------------------------------- on this machine


@pytest.mark.measured
def test_measured_on_this_machine(tmp_path: Path) -> None:
    """The smallest search that measures: verdict from three processes, and again by `verify`."""
    effort = replace(EFFORT, rounds=5, measured=1, candidates=2)
    workload = Workload(batch=1, length=32)
    found = search(_text_space(), ByteText(length=32), tmp_path / "run", workload=workload, effort=effort)
    summary = found.summary
    assert summary["verdict"] in ("within", "over", "undecided")
    assert summary["measured"].keys() == {"latency_ms", "memory_mb", "params_m"}
    assert all(value > 0 for value in summary["measured"].values())
    verification = summary["verification"]
    assert len(verification["processes"]) == 3
    assert verification["verdicts"].keys() == {"latency_ms"}
    limit = summary["budget"]["latency_ms"]
    if summary["verdict"] == "within":
        assert all(process["latency_ms"] <= limit for process in verification["processes"])
    winner = next(c for c in summary["candidates"] if c["architecture"] == summary["architecture"])
    found_mb = summary["measured"]["memory_mb"]
    assert winner["measured"]["memory_mb"] == pytest.approx(found_mb, rel=0.05, abs=0.02)
    assert summary["measured"]["params_m"] == winner["measured"]["params_m"]
    again = verify_again(Run.open(found.path), _text_space())
    assert again["verdict"] in ("within", "over", "undecided")
    assert again["measured"]["memory_mb"] == pytest.approx(summary["measured"]["memory_mb"], rel=0.05)
    assert read_json(found.path / "result.json") == summary, "what the search measured stays"
    found.onnx.write_bytes(found.onnx.read_bytes()[:-1])
    with pytest.raises(VerificationError, match=r"is not the file that was exported: `nas export"):
        verify_again(Run.open(found.path), _text_space())
