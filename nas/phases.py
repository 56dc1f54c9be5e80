"""The phases, top to bottom: price, train, differentiate, discretise, measure, train, export, verify."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hw_cost_models.files import digest, write_atomic, write_json
from nas.baselines import drawn_baselines, to_train
from nas.bench import Benches
from nas.bilevel import Bilevel
from nas.budget import Budget
from nas.candidates import Candidate, Selection, Source, aim, choose
from nas.controllers import CONTROLLERS
from nas.cost_table import CostTable
from nas.environment import environment
from nas.evaluate import error_rate, evaluate, metric, shared_loss, shared_losses
from nas.export import export_winner
from nas.outcome import Outcome
from nas.pricing import assembly_of, price_on
from nas.quantised import in_precisions
from nas.run import Run, generator, pack_tensors
from nas.sampling import FairSampler
from nas.scores import FittedScores, fit_scores
from nas.supernet import Supernet
from nas.train import Trained, Training, train, tuned_loss
from nas.verify import PROCESSES, Verification, verify_all
from search_spaces import Architecture, CountsErrors, SearchSpace, Task, choices, finalised, select, twins
from search_spaces.quantised import is_quantised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import nn

    from nas.progress import Progress
    from nas.settings import Settings
    from search_spaces.space import Batch, Split

RANKING = 4
"""Candidates are ranked on this many times the batches that the scores were fitted to."""
SHORT_MS = 0.2
"""Below, what a machine does beside the network shifts its latency by several per cent."""
RIVALS = 2
"""How many are usually trained beside the winner: as many phases are announced before that is known."""
FINAL_BATCHES: Mapping[Split, int] = {"validation": 32, "test": 128}
"""Batches of the last losses of trained networks, where the data has so many."""


class Phases:
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
        phases = 8 - joint + here
        self.progress.plan(phases + RIVALS)
        self.run.once("environment.json", lambda: {**environment(), "task": self.task.describe()})
        table = self.price()
        budget = self.settings.budget or Budget(latency_ms=0.5 * table.figures(table.dearest())["latency_ms"])
        table.problem(budget).check_feasible()
        supernet = self.train_supernet(table, aim(table, budget))
        scores = self.fit_scores(supernet.network, table)
        selection = self.choose(supernet, table, budget, scores)
        baselines = self.baselines(supernet.network, selection.table, budget)
        self.progress.plan(phases + len(to_train(baselines)))
        trained = self.train_and_test(supernet.network, selection.best, baselines)
        parity, verification = self.export_and_verify(trained["winner"], budget)
        losses = {name: one.losses for name, one in trained.items()}
        precisions = {name: one.precisions for name, one in trained.items() if one.precisions}
        outcome = Outcome(budget, scores, selection, baselines, losses, precisions, parity, verification)
        self.write(outcome, trained["winner"].network)

    def write(self, outcome: Outcome, winner: nn.Module) -> None:
        """The files of a finished run; result.json comes last, and makes it finished."""
        path, weights = self.run.path, pack_tensors(winner.state_dict())
        write_atomic(path / "winner.safetensors", weights)
        write_atomic(path / "architecture.json", outcome.selection.best.architecture.to_json().encode())
        summary = outcome.to_dict(self.settings, self.device, self.task)
        timings = {"timings": self.run.timings(), "winner_sha256": digest(weights)}
        write_json(path / "result.json", {**summary, **timings})

    # ---------------------------------------------------------------------------- 0 cost table

    def price(self) -> CostTable:
        settings = self.settings

        def compute() -> dict[str, Any]:
            for assembly in self.assemblies:
                assembly.check_export()  # a device that is not here would ask for it after the training
            priced = [
                price_on(self.device, assembly, settings.statistic, self.effort.rounds, self.progress)
                for assembly in self.assemblies
            ]
            (table, _), *others = priced
            table = replace(table, beside={other.workload.kind: other for other, _ in others})
            anchors = [bench.anchors_to_dict() if bench else [] for _, bench in priced]
            return {**table.to_dict(), "anchors": anchors}

        with self._phase("pricing every option"):
            table = CostTable.from_dict(self.run.once("cost_table.json", compute))
        if self.device.here and table.cost(table.dearest()).latency_ms < SHORT_MS:
            self.progress.note(
                f"no architecture takes {SHORT_MS:g} ms: such networks are timed less surely; a larger batch "
                "tells them apart better"
            )
        return table

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
            losses = self._shared_losses(network, batches, architectures)
            first = twins(choices(self.space.network))
            return fit_scores(table.choices, table.nesting, first, architectures, losses).to_dict()

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
                    "controller": Source(supernet.log_probabilities()),
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
        draws = generator(self.settings.seed, "random architectures")
        scored = partial(self._shared_losses, network, self._ranking_batches())
        within, count = aim(table, budget), self.effort.random_architectures

        def compute() -> dict[str, Any]:
            references = self.space.references
            return drawn_baselines(table, within, count, draws, references, scored, self.benches)

        with self._phase("drawing baselines"):
            return self.run.once("baselines.json", compute)

    # -------------------------------------------------------------------------------- 5 train

    def train_and_test(
        self, network: nn.Module, winner: Candidate, baselines: Mapping[str, Any]
    ) -> dict[str, Trained]:
        """The winner and its rivals, each from inherited weights, in the same way, on the same batches."""
        training, validation = self._training(self.effort.train_steps), self._ranking_batches()
        trained = {}
        for name, architecture in {"winner": winner.architecture, **to_train(baselines)}.items():
            with self._phase(f"training {name.replace('_', ' ')}"):
                plain = select(network, architecture)
                train(plain, self.task, training, validation, self.run, name, self.progress)
                losses = self.run.once(f"trained-{name}.json", partial(self._final_losses, plain))
                trained[name] = Trained(plain, losses, self._in_precisions(plain, name))
        return trained

    def _final_losses(self, network: nn.Module) -> dict[str, float]:
        """Test data is touched here, once for each network, after everything is decided."""
        validation, test = (self._batches(split, count) for split, count in FINAL_BATCHES.items())
        loss, examples = evaluate(network, self.task, test), sum(len(inputs[0]) for inputs, _ in test)
        losses = {
            "validation_loss": evaluate(network, self.task, validation),
            "test_loss": loss,
            "test_examples": examples,
        }
        judged = {**losses, "test_metric": metric(network, self.task, test, loss)}
        if isinstance(self.task, CountsErrors):
            judged["test_error"] = error_rate(network, self.task, test)
        return judged

    def _in_precisions(self, network: nn.Module, name: str) -> dict[str, float]:
        """Before and after integers, where the space offers them."""
        if not is_quantised(self.space.network):
            return {}
        test = self._batches("test", FINAL_BATCHES["test"])
        return self.run.once(f"precisions-{name}.json", partial(in_precisions, network, self.task, test))

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
        return list(self.task.batches(split, self.effort.evaluation_batch, count))

    def _ranking_batches(self) -> list[Batch]:
        return self._batches("validation", RANKING * self.effort.evaluation_batches)

    def _shared_losses(
        self, network: nn.Module, batches: Sequence[Batch], architectures: Sequence[Architecture]
    ) -> list[float]:
        return shared_losses(network, architectures, self.task, batches, self.progress)

    def _phase(self, title: str) -> AbstractContextManager[None]:
        return self.run.phase(title, self.progress)
