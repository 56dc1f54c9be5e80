"""The outcome of a search: what result.json holds, and the page that is drawn from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hw_cost_models.files import write_atomic
from nas.environment import versions
from nas.report import RunRecord, render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hw_cost_models.device import Device
    from nas.budget import Budget
    from nas.candidates import Selection
    from nas.run import Run
    from nas.scores import FittedScores
    from nas.settings import Settings
    from nas.verify import Verification
    from search_spaces import Task

WELL_USED = 0.85
"""From this fraction of a limit on, nothing needs to be said about what is left of it."""


@dataclass(frozen=True)
class Outcome:
    """What the phases found."""

    budget: Budget
    scores: FittedScores
    selection: Selection
    baselines: Mapping[str, Any]
    losses: Mapping[str, Mapping[str, float]]
    """Of each trained network."""
    precisions: Mapping[str, Mapping[str, float]]
    """Of each trained network, its metric on test data by precision; empty where there is no choice of it."""
    parity: Mapping[str, Any]
    verification: Verification | None
    """None for a device that is not here."""

    def to_dict(self, settings: Settings, device: Device, task: Task) -> dict[str, Any]:
        """The content of result.json, timings and digests apart."""
        best, found = self.selection.best, self.verification
        rivals = {
            name: {**rival, **self.losses.get(name, {})}
            for name, rival in self.baselines.items()
            if name != "random"
        }
        scores = {k: v for k, v in self.scores.to_dict().items() if k not in ("options", "neighbours")}
        return {
            "verdict": found.verdict if found else "predicted, not verified",
            "space": settings.space,
            "task": {"name": task.name, "metric": task.metric_name, **task.describe()},
            "device": device.model_dump(exclude_none=True),
            "workload": asdict(settings.workload),
            "statistic": settings.statistic,
            "preset": settings.preset,
            "seed": settings.seed,
            "controller": settings.controller,
            "schedule": settings.schedule,
            "architecture": dict(best.architecture),
            "budget": self.budget.limits(),
            "predicted": best.predicted,
            "measured": found.measured if found else None,
            "use": self._use(),
            "verification": found.to_dict() if found else None,
            "quality": {"shared_loss": best.shared_loss, **self.losses["winner"]},
            "baselines": {"random": self.baselines["random"], **rivals},
            **({"precision": self.precisions} if self.precisions else {}),
            "winner_source": best.source,
            "candidates": [candidate.to_dict() for candidate in self.selection.ranked],
            "corrections": [correction.to_dict() for correction in self.selection.table.corrections],
            "scores": scores,
            "calibration": self.selection.table.calibration.to_dict(),
            "parity": self.parity,
            "versions": versions(),
        }

    def _use(self) -> dict[str, Any]:
        """How much of its fullest limit the winner uses.

        Where that is little, `filling` says what filling the limit would have given: the best, in shared
        weights, of all candidates and random architectures that do.
        """
        best, limits = self.selection.best, self.budget.limits()
        figures = self.verification.measured if self.verification else best.predicted
        use = {name: figures[name] / limit for name, limit in limits.items()}
        fullest = max(use, key=use.__getitem__)
        known: dict[str, Any] = {"limit": fullest, "fraction": use[fullest], "filling": None}
        others = [*(c.to_dict() for c in self.selection.ranked), *self.baselines["random"]]
        filling = [o for o in others if o["predicted"][fullest] >= WELL_USED * limits[fullest]]
        if use[fullest] < WELL_USED and filling:
            rival = min(filling, key=lambda other: float(other["shared_loss"]))
            known["filling"] = {
                "architectures": len(filling),
                "architecture": dict(rival["architecture"]),
                "predicted": rival["predicted"],
                "shared_loss": rival["shared_loss"],
                "winner_shared_loss": best.shared_loss,
            }
        return known


def write_report(run: Run, path: Path) -> None:
    """The page of a run, finished or not, as one HTML file."""
    parts = {
        name: run.read(f"{name}.json") if run.holds(f"{name}.json") else {}
        for name in ("result", "cost_table", "scores")
    }
    record = RunRecord(parts["result"], run.config, parts["cost_table"], run.trajectory(), parts["scores"])
    write_atomic(path, render(record).encode())
