"""The search, from top to bottom: price, train, differentiate, discretise, measure, train, export, verify."""

from __future__ import annotations

import copy
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from hw_cost_models.cost import Workload
from hw_cost_models.device import load_device
from hw_cost_models.errors import DeviceError
from hw_cost_models.files import digest, write_atomic, write_json
from nas.baselines import random_architectures, uniform_architecture
from nas.bench import Benches
from nas.bilevel import Bilevel
from nas.budget import Budget, Statistic
from nas.candidates import Candidate, Selection, Source, aim, choose
from nas.controllers import CONTROLLERS
from nas.cost_table import CostTable
from nas.discretise import Scores
from nas.environment import environment
from nas.errors import BadInputError, InfeasibleBudgetError
from nas.evaluate import evaluate, shared_loss
from nas.export import export_winner
from nas.outcome import Outcome, write_report
from nas.pricing import assembly_of, price_on
from nas.progress import Progress, Silent
from nas.run import Run, generator, pack_tensors
from nas.sampling import FairSampler
from nas.scores import FittedScores, fit_scores
from nas.settings import CONTEXT, PRESETS, Effort, Schedule, Settings
from nas.supernet import Supernet
from nas.train import Training, train, tuned_loss
from nas.verify import PROCESSES, Verification, verify_all
from search_spaces import Architecture, SearchSpace, Task, finalised, select

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from search_spaces.space import Batch, Split

EVALUATION_BATCH = 8
RANKING = 4
"""Candidates are ranked on this many times the batches that the scores were fitted to."""
FINAL_BATCHES = 32
"""Batches of the validation and test losses of trained networks."""


@dataclass(frozen=True)
class Result:
    """What a search returns. `summary` is the content of result.json."""

    path: Path
    architecture: Architecture
    verdict: str
    summary: dict[str, Any]

    @property
    def onnx(self) -> Path:
        return self.path / "winner.onnx"

    @property
    def report(self) -> Path:
        return self.path / "report.html"


def search(
    space: SearchSpace,
    task: Task,
    out: Path | str,
    *,
    budget: Budget | None = None,
    device: str = "local",
    threads: int | None = None,
    runtime: str | None = None,
    provider: str | None = None,
    workload: Workload | None = None,
    context: int = CONTEXT,
    statistic: Statistic = "p50",
    preset: str = "standard",
    effort: Effort | None = None,
    controller: str = "gumbel",
    schedule: Schedule = "staged",
    seed: int = 0,
    data: str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Searches `space` under `budget` (default: half of the dearest architecture's latency) into `out`.

    `workload` is the forward that `latency_ms` and `memory_mb` are of; `prefill_ms`, `decode_ms` and
    `state_mb` are those of a context of that many tokens. `effort` overrides the preset. `data` is only
    stored, so that the command line can resume.

    Raises BadInputError for values that cannot be used or an `out` that is not empty, InfeasibleBudgetError
    before any training when nothing meets the budget, VerificationError when the exported file disagrees
    with PyTorch. A measured miss is no error here: it is the result's verdict.
    """
    if preset not in PRESETS:
        raise BadInputError(f"no preset {preset!r}; the presets are {', '.join(PRESETS)}")
    if controller not in CONTROLLERS:
        raise BadInputError(f"no controller {controller!r}; the controllers are {', '.join(CONTROLLERS)}")
    profile = load_device(device)
    profile = profile.with_threads(threads or profile.threads)
    if runtime or provider:
        profile = profile.with_runtime(runtime or profile.runtime, provider)
    settings = Settings(
        space=space.name,
        task=task.name,
        data=data,
        device=profile.latency_file.path if profile.latency_file else device,
        threads=profile.threads,
        runtime=profile.runtime,
        provider=profile.provider,
        workload=workload or Workload(),
        statistic=statistic,
        budget=budget,
        context=context,
        preset=preset,
        effort=effort or PRESETS[preset],
        controller=controller,
        schedule=schedule,
        seed=seed,
        training_threads=torch.get_num_threads(),
    )
    progress = progress or Silent()
    run = Run.create(Path(out), settings.to_dict(), progress.note)
    try:
        return go_on(run, space, task, progress)
    except (InfeasibleBudgetError, DeviceError):
        shutil.rmtree(run.path)  # it holds nothing yet, and the same name should do for another budget
        raise


def resume(out: Path | str, space: SearchSpace, task: Task, progress: Progress | None = None) -> Result:
    """Goes on with the search in `out`; a finished one only returns its result.

    Raises BadInputError when `out` holds no run, or one of another space or task.
    """
    progress = progress or Silent()
    run = Run.open(Path(out), progress.note)
    settings = Settings.from_dict(run.config)
    for what, stored, given in (("space", settings.space, space.name), ("task", settings.task, task.name)):
        if stored != given:
            raise BadInputError(f"{out} is a run of {what} {stored!r}, not {given!r}")
    return go_on(run, space, task, progress)


def go_on(run: Run, space: SearchSpace, task: Task, progress: Progress) -> Result:
    """All phases that the run has not finished, on a copy of the network: the one given stays as it is."""
    settings = Settings.from_dict(run.config)
    space = replace(space, network=copy.deepcopy(space.network))
    with _reproducible(settings.training_threads):
        if not run.holds("result.json"):
            _Search(run, space, task, settings, progress).finish()
    if not run.holds("report.html"):
        write_report(run, run.path / "report.html")
    summary = run.read("result.json")
    return Result(run.path, Architecture(summary["architecture"]), summary["verdict"], summary)


class _Search:
    """The phases, in order. Each leaves its outcome in the run and reads it back from there."""

    def __init__(
        self, run: Run, space: SearchSpace, task: Task, settings: Settings, progress: Progress
    ) -> None:
        self.run, self.space, self.task, self.settings, self.progress = run, space, task, settings, progress
        self.device = settings.profile()
        self.effort = settings.effort
        self.assemblies = [assembly_of(space, workload) for workload in settings.workloads]

    def finish(self) -> None:
        joint, here = self.settings.schedule == "joint", self.device.here
        self.progress.plan(12 - joint - (not here))
        self.run.once("environment.json", lambda: {**environment(), "task": self.task.describe()})
        table = self.price()
        budget = self.settings.budget or Budget(latency_ms=0.5 * table.figures(table.dearest())["latency_ms"])
        table.problem(budget).check_feasible()
        supernet = self.train_supernet(table, aim(table, budget))
        scores = self.fit_scores(supernet.network, table)
        selection = self.choose(supernet, table, budget, scores)
        baselines = self.baselines(supernet.network, selection.table, budget)
        trained = self.train_and_test(supernet.network, selection.best, baselines)
        parity, verification = self.export_and_verify(trained["winner"], budget)
        losses = {name: one.losses for name, one in trained.items()}
        outcome = Outcome(budget, scores, selection, baselines, losses, parity, verification)
        self.write(outcome, trained["winner"].network)

    def write(self, outcome: Outcome, winner: nn.Module) -> None:
        """The files of a finished run; result.json comes last, and makes it finished."""
        path, weights = self.run.path, pack_tensors(winner.state_dict())
        write_atomic(path / "winner.safetensors", weights)
        write_atomic(path / "architecture.json", outcome.selection.best.architecture.to_json().encode())
        summary = outcome.to_dict(self.settings, self.device, self.task)
        timings = {"timings": self._timings(), "winner_sha256": digest(weights)}
        write_json(path / "result.json", {**summary, **timings})

    # ---------------------------------------------------------------------------- 0 cost table

    def price(self) -> CostTable:
        settings = self.settings

        def compute() -> dict[str, Any]:
            priced = [
                price_on(self.device, assembly, settings.statistic, self.effort.rounds, self.progress)
                for assembly in self.assemblies
            ]
            (table, _), *others = priced
            table = replace(table, beside={other.workload.kind: other for other, _ in others})
            anchors = [bench.anchors_to_dict() if bench else [] for _, bench in priced]
            return {**table.to_dict(), "anchors": anchors}

        with self._phase("pricing every option"):
            return CostTable.from_dict(self.run.once("cost_table.json", compute))

    @property
    def benches(self) -> Benches | None:
        """None for a device that is not here."""
        if not self.device.here:
            return None
        stored = self.run.read("cost_table.json")["anchors"]
        return Benches.restore(
            self.assemblies, self.device, self.settings.statistic, self.effort.rounds, stored
        )

    # ---------------------------------------------------------------- 1, 2 train, differentiate

    def train_supernet(self, table: CostTable, budget: Budget) -> Supernet:
        supernet = Supernet(self.space.network, table, budget, CONTROLLERS[self.settings.controller])
        bilevel = Bilevel(
            self.run,
            supernet,
            self.task,
            table,
            budget.limits(),
            self.effort,
            self.settings.seed,
            self.progress,
        )
        if self.settings.schedule == "joint":
            with self._phase("training weights and architecture in turn"):
                bilevel.train_jointly()
            return supernet
        with self._phase("training the supernet"):
            bilevel.train_weights()
        with self._phase("learning the architecture"):
            bilevel.learn_architecture()
        return supernet

    # --------------------------------------------------------------------------- 3 discretise

    def fit_scores(self, network: nn.Module, table: CostTable) -> FittedScores:
        def compute() -> dict[str, Any]:
            draws, fair = generator(self.settings.seed, "scores"), FairSampler.over(table)
            architectures = [fair.sample(draws) for _ in range(self.effort.evaluations)]
            batches = self._batches("validation", self.effort.evaluation_batches)
            losses = self._shared_losses(network, architectures, batches)
            return fit_scores(table.choices, table.nesting, architectures, losses).to_dict()

        with self._phase("scoring options"):
            return FittedScores.from_dict(self.run.once("scores.json", compute))

    # ------------------------------------------------------------------------------ 4 measure

    def choose(self, supernet: Supernet, table: CostTable, budget: Budget, scores: FittedScores) -> Selection:
        benches, seed = self.benches, self.settings.seed
        batches = self._ranking_batches()

        def tuned(architecture: Architecture) -> float:
            network = select(supernet.network, architecture)
            return tuned_loss(network, self.task, self._training(self.effort.tuning_steps), batches)

        with self._phase("ranking and measuring candidates"):
            return choose(
                table,
                budget,
                {
                    "scores": Source(scores.scores),
                    "filling scores": Source(scores.scores, filled=True),
                    "controller": Source(_log_probabilities(supernet)),
                },
                lambda architecture: shared_loss(supernet.network, architecture, self.task, batches),
                tuned,
                None if benches is None else partial(benches.architectures, seed=seed),
                None if benches is None else partial(benches.exported, seed=seed),
                self.run.once,
                proposals=self.effort.candidates,
                measured=self.effort.measured,
                note=self.progress.note,
            )

    def baselines(self, network: nn.Module, table: CostTable, budget: Budget) -> dict[str, Any]:
        """Random architectures and the best of them, the uniform one, the largest: in shared weights."""

        def compute() -> dict[str, Any]:
            draws = generator(self.settings.seed, "random architectures")
            within = aim(table, budget)
            drawn = random_architectures(table, within, self.effort.random_architectures, draws)
            named = {"uniform": uniform_architecture(table, within), "largest": table.dearest()}
            others = {name: a for name, a in named.items() if a is not None}
            losses = self._shared_losses(network, [*drawn, *others.values()], self._ranking_batches())
            entries = [
                {"architecture": dict(a), "predicted": table.figures(a), "shared_loss": loss}
                for a, loss in zip([*drawn, *others.values()], losses, strict=True)
            ]
            random = entries[: len(drawn)]
            best = {"best_random": random[int(np.argmin(losses[: len(random)]))]} if random else {}
            rivals = {**best, **dict(zip(others, entries[len(drawn) :], strict=True))}
            return {"random": random, **self._with_measurements(rivals)}

        with self._phase("drawing baselines"):
            return self.run.once("baselines.json", compute)

    def _with_measurements(self, rivals: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        benches = self.benches
        if benches is None:
            return {name: {**entry, "measured": None} for name, entry in rivals.items()}
        architectures = [Architecture(entry["architecture"]) for entry in rivals.values()]
        figures = benches.architectures(list(dict.fromkeys(architectures)), self.settings.seed)
        measured = dict(zip(dict.fromkeys(architectures), figures, strict=True))
        return {
            name: {**entry, "measured": measured[architecture]}
            for (name, entry), architecture in zip(rivals.items(), architectures, strict=True)
        }

    # -------------------------------------------------------------------------------- 5 train

    def train_and_test(
        self, network: nn.Module, winner: Candidate, baselines: Mapping[str, Any]
    ) -> dict[str, Trained]:
        """The winner and its rivals, each from inherited weights, in the same way, on the same batches."""
        training = self._training(self.effort.train_steps)
        rivals = {name: Architecture(e["architecture"]) for name, e in baselines.items() if name != "random"}
        trained = {}
        for name, architecture in {"winner": winner.architecture, **rivals}.items():
            with self._phase(f"training {name.replace('_', ' ')}"):
                plain = select(network, architecture)
                train(plain, self.task, training, self.run, name, self.progress)
                losses = self.run.once(f"trained-{name}.json", partial(self._final_losses, plain))
                trained[name] = Trained(plain, losses)
        return trained

    def _final_losses(self, network: nn.Module) -> dict[str, float]:
        """Test data is touched here, once for each network, after everything is decided."""
        validation, test = (
            evaluate(network, self.task, self._batches(split, FINAL_BATCHES))
            for split in ("validation", "test")
        )
        return {"validation_loss": validation, "test_loss": test, "test_metric": self.task.metric(test)}

    # ----------------------------------------------------------------------- 6 export, verify

    def export_and_verify(
        self, winner: Trained, budget: Budget
    ) -> tuple[dict[str, Any], Verification | None]:
        with self._phase("exporting the winner"):

            def export() -> dict[str, Any]:
                return export_winner(winner.network, self.assemblies, self.run.path)

            parity = self.run.once("export.json", export)
        benches = self.benches
        if benches is None:
            return parity, None
        with self._phase("verifying in fresh processes"):
            self.progress.start(PROCESSES * len(benches.benches))

            def measure() -> dict[str, Any]:
                network, advance = finalised(winner.network), self.progress.advance
                return verify_all(network, self.run.path, budget, benches, advance).to_dict()

            return parity, Verification.from_dict(self.run.once("verification.json", measure))

    # ---------------------------------------------------------------------------------- tools

    def _training(self, steps: int) -> Training:
        return Training(steps, self.effort.batch_size, self.effort.learning_rate / 2, self.settings.seed)

    def _batches(self, split: Split, count: int) -> list[Batch]:
        return list(self.task.batches(split, EVALUATION_BATCH, count))

    def _ranking_batches(self) -> list[Batch]:
        return self._batches("validation", RANKING * self.effort.evaluation_batches)

    def _shared_losses(
        self, network: nn.Module, architectures: Sequence[Architecture], batches: Sequence[Batch]
    ) -> list[float]:
        losses = []
        self.progress.start(len(architectures))
        for architecture in architectures:
            losses.append(shared_loss(network, architecture, self.task, batches))
            self.progress.advance()
        return losses

    @contextmanager
    def _phase(self, title: str) -> Iterator[None]:
        """Announces a phase and adds its seconds to the run's, which a resumed run has from before."""
        self.progress.phase(title)
        began = time.monotonic()
        try:
            yield
        finally:
            timings = self._timings()
            timings[title] = timings.get(title, 0.0) + time.monotonic() - began
            write_json(self.run.path / "timings.json", timings)

    def _timings(self) -> dict[str, float]:
        return self.run.read("timings.json") if self.run.holds("timings.json") else {}


@dataclass(frozen=True)
class Trained:
    network: nn.Module
    losses: dict[str, float]


def _log_probabilities(supernet: Supernet) -> Scores:
    """What the controller learnt, as scores: the best architecture is its most probable one."""
    return Scores(
        {
            (path, option): log_p
            for path, alpha in supernet.alphas().items()
            for option, log_p in zip(
                supernet.options[path], alpha.detach().double().log_softmax(0).tolist(), strict=True
            )
        }
    )


@contextmanager
def _reproducible(threads: int) -> Iterator[None]:
    """Deterministic algorithms and a fixed number of threads: sums in another order are other sums."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
