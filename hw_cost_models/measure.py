"""Measured latency and memory of networks: interleaved rounds in fresh processes, with anchors."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_cost_models.anchors import write_anchors
from hw_cost_models.errors import MeasurementError
from hw_cost_models.runtimes import RUNTIMES
from hw_cost_models.runtimes.clocks import WALL
from hw_cost_models.runtimes.process import (
    Network,
    arena_and_resident,
    growth_and_resident,
    time_networks,
)

if TYPE_CHECKING:
    from torch import nn

    from hw_cost_models.cost import Item, Statistic
    from hw_cost_models.device import Device
    from hw_cost_models.runtimes.runtime import Feed

Progress = Callable[[int, int], None]
"""Called with the rounds done and the rounds in all."""


_UNSTEADY = 0.25
"""Spread, and change between the halves of the rounds, beyond which half of the runs were disturbed.

By the wall clock, in 30 processes on two cores that others kept busy (load averages of 6 to 8), networks of
0.7 to 2 ms had spreads of at most 0.24, or of at least 0.83: half their runs had waited for a core, and the
median was two to ten times the quiet machine's. Of the anchors none showed it (0.16 at most): most of their
runs are over before the scheduler takes the core away. On the core's clock no spread was over 0.15.
"""
_WAITED = 0.05
"""Share of the time without a core beyond which figures by the wall clock tell of the machine.

A network longer than the scheduler's turns, some 4 ms, takes about 1 / (1 - share) of its time in every run,
and its spread shows nothing: one of 80 ms took four times as long, at a share of 0.8 and a spread of 0.02.
"""


@dataclass(frozen=True)
class Timing:
    """Percentiles of single runs, in milliseconds, over that many rounds, by the measurement's clock.

    The 10th is the quiet machine's figure and the most repeatable: fresh processes agree within about 0.4 %,
    against 2 to 5 % for the median. It is what tables are built from, but nine runs of ten take longer: a
    verdict uses the 50th, or the 95th for real-time use.
    """

    p10_ms: float
    p50_ms: float
    p95_ms: float
    rounds: int
    trend: float = 1.0
    """The median of the later half of the rounds over that of the earlier half: 1 on a steady machine, and in
    files that do not have it."""

    @property
    def spread(self) -> float:
        """How far the median lies above the quiet machine's figure, as a fraction of it."""
        return self.p50_ms / self.p10_ms - 1

    @property
    def steady(self) -> bool:
        """Whether the median and what lies above it tell of the network rather than of the machine."""
        return self.spread <= _UNSTEADY and abs(math.log(self.trend)) <= math.log1p(_UNSTEADY)

    def at(self, statistic: Statistic) -> float:
        """That percentile, in milliseconds."""
        return {"p10": self.p10_ms, "p50": self.p50_ms, "p95": self.p95_ms}[statistic]

    def scaled(self, factor: float) -> Timing:
        """The timing of a machine that is slower by that factor."""
        return replace(
            self, p10_ms=self.p10_ms * factor, p50_ms=self.p50_ms * factor, p95_ms=self.p95_ms * factor
        )


@dataclass(frozen=True)
class Measurement:
    """What one process measured, by the names of the networks."""

    timings: dict[str, Timing]
    anchors: dict[str, Timing]
    runtime: dict[str, str | int]
    """Name, version, provider and threads."""
    weight_bytes: dict[str, int] = field(default_factory=dict)
    """Initialisers of the file, or parameters and buffers of the module."""
    arena_bytes: dict[str, int] = field(default_factory=dict)
    """What the runtime took beside the weights; empty if not asked for.

    Of ONNX Runtime it is what the arena grew to, when grown as requested, the caller's own input arrays not
    among it. The other runtimes do not tell: there it is the growth of the process over one that had run the
    anchors, the weights taken off.
    """
    resident_bytes: dict[str, int] = field(default_factory=dict)
    """Peak resident size of a fresh process, the runtime and Python themselves included."""
    elsewhere: dict[str, float] = field(default_factory=dict)
    """The fraction of operators that the provider left to the CPU, of networks where it left some."""
    clock: str = WALL
    """What the networks were timed by: the wall clock, or the time that they had a core."""
    waited: float | None = None
    """Seconds in each second of the rounds that its threads stood ready and had no core; None if not told."""

    @property
    def busy(self) -> bool:
        """Whether others took so much of the machine that no figure by the wall clock can be trusted."""
        return self.clock == WALL and (self.waited or 0) > _WAITED

    @property
    def unsteady(self) -> tuple[str, ...]:
        """The networks, anchors not among them, whose medians decide nothing: the machine was too busy."""
        return tuple(name for name, timing in self.timings.items() if self.busy or not timing.steady)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the figures has to know, a sentence each."""
        warnings = [
            f"{name}: {self.runtime['provider']} leaves {part:.0%} of its operators to the CPU"
            for name, part in self.elsewhere.items()
        ]
        if self.busy:
            warnings.append(
                f"the networks waited for a core {self.waited:.0%} of the time, as this machine was busy: "
                "their latencies are too high; measure again when other programs have ended"
            )
        elif unsteady := self.unsteady:
            widest = max(self.timings[name].spread for name in unsteady)
            warnings.append(
                f"the medians of {len(unsteady)} of {len(self.timings)} networks lie up to {widest:.0%} over "
                "their 10th percentiles, or changed on the way, so they decide nothing; "
                "this machine was busy: measure again when other programs have ended"
            )
        return tuple(warnings)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Measurement:
        timings, anchors = (
            {name: Timing(**timing) for name, timing in value[group].items()}
            for group in ("timings", "anchors")
        )
        return cls(**{**value, "timings": timings, "anchors": anchors})


def measure(
    models: Mapping[str, Path | Item],
    inputs: Mapping[str, Feed],
    device: Device,
    *,
    rounds: int,
    seed: int,
    memory: Collection[str] = (),
    progress: Progress | None = None,
) -> Measurement:
    """Time the networks against each other, and the anchors with them, in one fresh process.

    The device says in which runtime. One that runs ONNX files takes paths, and `inputs[name]` are the arrays
    of the file `models[name]` by input name; PyTorch takes modules with their inputs. Each network named in
    `memory` also runs in a fresh process of its own that reports its memory. Raises MeasurementError when the
    device is not this machine, when its runtime or provider is not installed or does not take what is given,
    when a network does not run, and when the process dies.
    """
    if not device.here:
        raise MeasurementError(
            f"device {device.name!r} is known by its figures alone and cannot be measured here; "
            "use device 'local' on that machine, or price with the roofline"
        )
    if rounds < 1:
        raise MeasurementError(f"a measurement needs at least one round, got {rounds}")
    networks = {name: _network(name, model, inputs, device) for name, model in models.items()}
    with tempfile.TemporaryDirectory(prefix="dnas-measure-") as folder:
        anchors = _anchors(Path(folder), device)
        answer = time_networks(
            [*anchors.values(), *networks.values()],
            device,
            rounds,
            seed,
            lambda done: progress(done, rounds) if progress is not None else None,
        )
        weights = {name: _weight_bytes(network.model) for name, network in networks.items()}
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # bytes, unlike times, are the same beside others
            usage = pool.map(
                lambda name: _memory(networks[name], weights[name], [*anchors.values()], device), memory
            )
            used = dict(zip(memory, usage, strict=True))
    timings = [Timing(**timing) for timing in answer["timings"]]
    elsewhere = dict(zip(networks, answer["elsewhere"][len(anchors) :], strict=True))
    _refuse_other_providers(elsewhere, device)
    return Measurement(
        timings=dict(zip(networks, timings[len(anchors) :], strict=True)),
        anchors=dict(zip(anchors, timings, strict=False)),
        runtime={
            **{"name": device.runtime, "version": answer["version"]},
            **{"provider": device.provider, "threads": device.threads},
        },
        weight_bytes=weights,
        arena_bytes={name: arena for name, (arena, _) in used.items()},
        resident_bytes={name: resident for name, (_, resident) in used.items()},
        elsewhere={name: part for name, part in elsewhere.items() if part},
        clock=answer["clock"],
        waited=answer["waited"],
    )


def drift(reference: Mapping[str, Timing], now: Mapping[str, Timing], statistic: Statistic = "p10") -> float:
    """How much slower the machine is now: the geometric mean over the anchors of now / reference.

    Raises MeasurementError when the two have no anchor in common.
    """
    common = reference.keys() & now.keys()
    if not common:
        raise MeasurementError(
            "two measurements without a common anchor cannot be compared; measure both again"
        )
    logs = [math.log(now[name].at(statistic) / reference[name].at(statistic)) for name in sorted(common)]
    return math.exp(sum(logs) / len(logs))


def _network(name: str, model: Path | Item, inputs: Mapping[str, Feed], device: Device) -> Network:
    """A path with its feed, or an item, whichever the device's runtime takes."""
    takes_modules = RUNTIMES[device.runtime].takes_modules
    if isinstance(model, tuple) and not takes_modules:
        raise MeasurementError(
            f"{name} is a module, and {device.runtime} runs ONNX files: "
            "write one with export_onnx, or measure in the runtime 'pytorch'"
        )
    if isinstance(model, tuple):
        return Network(name, *model)
    if takes_modules:
        raise MeasurementError(
            f"{model} is a file, and {device.runtime} runs modules: "
            "give (module, inputs), or measure in the runtime 'onnxruntime'"
        )
    return Network(str(model), model, inputs[name])


def _anchors(folder: Path, device: Device) -> dict[str, Network]:
    files = write_anchors(folder)
    if not RUNTIMES[device.runtime].takes_modules:
        return {name: Network(str(path), path, feed) for name, (path, feed) in files.items()}
    import onnx
    import torch

    from hw_cost_models.runtimes.anchor_modules import module_of

    return {
        name: Network(name, module_of(onnx.load(path)), tuple(map(torch.from_numpy, feed.values())))
        for name, (path, feed) in files.items()
    }


def _refuse_other_providers(elsewhere: Mapping[str, float], device: Device) -> None:
    for name, part in elsewhere.items():
        if part == 1:
            raise MeasurementError(
                f"{name}: {device.provider} runs none of its operators, all of them fall back to the CPU; "
                "measure it on the CPU's provider, or change its operators or their type"
            )


def _memory(network: Network, weights: int, anchors: list[Network], device: Device) -> tuple[int, int]:
    """Arena, weights apart, and resident bytes of one network in a process that does nothing else."""
    if device.runtime == "onnxruntime":  # which tells its arena to the byte
        return arena_and_resident(network, device.threads)
    growth, resident = growth_and_resident(network, anchors, device)
    among_it = 0 if RUNTIMES[device.runtime].takes_modules else weights
    return max(0, growth - among_it), resident


def _weight_bytes(model: Path | nn.Module) -> int:
    if not isinstance(model, Path):
        return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    import onnx
    from onnx import numpy_helper

    return sum(numpy_helper.to_array(t).nbytes for t in onnx.load(str(model)).graph.initializer)
