"""Starting a search, and going on with one that was stopped."""

from __future__ import annotations

import copy
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from hw_cost_models.device import load_device
from hw_cost_models.errors import HardwareCostError
from nas.budget import Budget
from nas.controllers import CONTROLLERS
from nas.errors import BadInputError, NasError
from nas.outcome import write_report
from nas.phases import Phases
from nas.reproducible import reproducible
from nas.run import Run
from nas.settings import CONTEXT, PRESETS, Effort, Schedule, Settings
from nas.terminal import Bar
from nas.workloads import unit_of, workload_of
from search_spaces import Architecture, SearchSpace, SearchSpaceError, Task
from search_spaces.space import batch_multiple
from search_spaces.trial import try_space, try_task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hw_cost_models.cost import Workload
    from nas.budget import Statistic
    from nas.progress import Progress


@dataclass(frozen=True)
class Result:
    """What a search returns. `summary` is the content of result.json."""

    path: Path
    architecture: Architecture
    verdict: str
    summary: dict[str, Any] = field(repr=False)

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
    origin: str | None = None,
    precisions: Sequence[str] = (),
    progress: Progress | None = None,
) -> Result:
    """Searches `space` under `budget` (default: half of the dearest architecture's latency) into `out`.

    `workload` is the forward that `latency_ms` and `memory_mb` are of; `prefill_ms`, `decode_ms` and
    `state_mb` are those of a context of that many tokens. `effort` overrides the preset. `data` and
    `origin`, the `module:function` that returns the space, and the `precisions` that it was given are only
    stored, so that the command line can resume.

    Phases and what is left of each are told on the terminal; `progress=nas.Silent()` tells nothing.

    Raises BadInputError for values that cannot be used or an `out` that is not empty, SearchSpaceError for a
    space that does not run or a task that does not fit it, InfeasibleBudgetError before any training when
    nothing meets the budget, VerificationError when the exported file disagrees with PyTorch. A measured miss
    is no error here: it is the result's verdict.
    """
    if preset not in PRESETS:
        raise BadInputError(f"no preset {preset!r}; the presets are {', '.join(PRESETS)}")
    if budget is not None and not isinstance(budget, Budget):
        raise BadInputError(f"budget={budget!r}: give a nas.Budget, such as nas.Budget(latency_ms=2)")
    if controller not in CONTROLLERS:
        raise BadInputError(f"no controller {controller!r}; the controllers are {', '.join(CONTROLLERS)}")
    profile = load_device(device, threads=threads, runtime=runtime, provider=provider)
    settings = Settings(
        space=space.name,
        task=task.name,
        data=data,
        device=profile.latency_file.path if profile.latency_file else device,
        threads=profile.threads,
        runtime=profile.runtime,
        provider=profile.provider,
        workload=replace(workload, unit=unit_of(space)) if workload else workload_of(space),
        statistic=statistic,
        budget=budget,
        context=context,
        preset=preset,
        effort=effort or PRESETS[preset].scaled(batch_multiple(task)),
        controller=controller,
        schedule=schedule,
        seed=seed,
        training_threads=torch.get_num_threads(),
        origin=origin,
        precisions=tuple(precisions),
    )
    try_space(space, settings.workload.batch, settings.workload.length)
    try_task(space, task)
    with told(progress) as progress:
        run = Run.create(Path(out), settings.to_dict(), progress.note)
        try:
            return go_on(run, space, task, progress)
        except (NasError, HardwareCostError, SearchSpaceError):
            if not (
                run.path / "checkpoints"
            ).exists():  # it holds nothing: its name may do for another budget
                shutil.rmtree(run.path)
            raise


def resume(out: Path | str, space: SearchSpace, task: Task, progress: Progress | None = None) -> Result:
    """Goes on with the search in `out`, telling its progress; a finished one only returns its result.

    Raises BadInputError when `out` holds no run, or one of another space or task.
    """
    with told(progress) as progress:
        run = Run.open(Path(out), progress.note)
        settings = Settings.from_dict(run.config)
        for what, stored, given in (
            ("space", settings.space, space.name),
            ("task", settings.task, task.name),
        ):
            if stored != given:
                raise BadInputError(f"{out} is a run of {what} {stored!r}, not {given!r}")
        return go_on(run, space, task, progress)


@contextmanager
def told(progress: Progress | None) -> Iterator[Progress]:
    """The progress given, or a bar on the standard error."""
    if progress is not None:
        yield progress
        return
    with Bar(Console(stderr=True)) as bar:
        yield bar


def go_on(run: Run, space: SearchSpace, task: Task, progress: Progress) -> Result:
    """All phases that the run has not finished, on a copy of the network: the one given stays as it is."""
    settings = Settings.from_dict(run.config)
    space = replace(space, network=copy.deepcopy(space.network))
    with reproducible(settings.training_threads):
        if not run.holds("result.json"):
            Phases(run, space, task, settings, progress).finish()
    if not run.holds("report.html"):
        write_report(run, run.path / "report.html")
    summary = run.read("result.json")
    return Result(run.path, Architecture(summary["architecture"]), summary["verdict"], summary)
