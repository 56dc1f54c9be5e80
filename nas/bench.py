"""The bench: networks as ONNX files, timed on the device at hand, the machine's drift taken out."""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_cost_models.export import export_onnx, feeds
from hw_cost_models.files import write_atomic
from hw_cost_models.measure import Measurement, Timing, measure
from search_spaces import Architecture, finalised, select

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from hw_cost_models.device import Device
    from nas.assembly import Assembly
    from nas.budget import Statistic

NEAR = 0.5
"""Width, in natural logarithms of latencies, within which anchors speak for a network."""


@dataclass(frozen=True)
class Bench:
    """Figures are stated as of the moment the cost table was made.

    The anchors are whole architectures, timed then, that ride in every measurement: networks of the same kind
    drift alike, generic ones do not.
    """

    assembly: Assembly
    device: Device
    statistic: Statistic
    anchors: Mapping[str, Timing]
    """By name of the architecture."""
    rounds: int
    anchor_architectures: tuple[Architecture, ...] = ()

    @classmethod
    def start(
        cls,
        assembly: Assembly,
        device: Device,
        statistic: Statistic,
        rounds: int,
        anchors: Sequence[Architecture],
    ) -> Bench:
        """A bench whose moment is now: it times its anchors."""
        bench = cls(assembly, device, statistic, {}, rounds, tuple(anchors))
        return replace(bench, anchors=bench.files({}, seed=0, memory=False).anchors)

    def anchors_to_dict(self) -> list[dict[str, Any]]:
        named = {a.name: a for a in self.anchor_architectures}
        return [{"architecture": dict(named[n]), "timing": asdict(t)} for n, t in self.anchors.items()]

    @classmethod
    def restore(
        cls,
        assembly: Assembly,
        device: Device,
        statistic: Statistic,
        rounds: int,
        stored: Sequence[Mapping[str, Any]],
    ) -> Bench:
        """The bench of a run, from what `anchors_to_dict` gave."""
        architectures = tuple(Architecture(anchor["architecture"]) for anchor in stored)
        timings = (Timing(**anchor["timing"]) for anchor in stored)
        anchors = {a.name: timing for a, timing in zip(architectures, timings, strict=True)}
        return cls(assembly, device, statistic, anchors, rounds, architectures)

    def architectures(self, architectures: Sequence[Architecture], seed: int) -> list[dict[str, float]]:
        """Every metric of each architecture, untrained, in the same rounds."""
        with tempfile.TemporaryDirectory(prefix="dnas-bench-") as folder:
            measurement = self.files(self._written(architectures, Path(folder)), seed)
        return self._figures(architectures, measurement)

    def exported(self, architectures: Sequence[Architecture], seed: int) -> list[dict[str, float]]:
        """The same of each architecture, but of an export of the whole: slower, and what will be shipped."""
        with tempfile.TemporaryDirectory(prefix="dnas-bench-") as folder:
            files = {a.name: Path(folder) / f"{a.name}.onnx" for a in architectures}
            for architecture in architectures:
                self._export(architecture, files[architecture.name])
            return self._figures(architectures, self.files(files, seed))

    def _export(self, architecture: Architecture, path: Path) -> None:
        space = self.assembly.space
        export_onnx(
            finalised(select(self.assembly.network, architecture)),
            self.assembly.inputs,
            path,
            dynamic=space.dynamic,
            input_names=space.input_names,
            output_names=space.output_names,
        )

    def _figures(
        self, architectures: Sequence[Architecture], measurement: Measurement
    ) -> list[dict[str, float]]:
        networks = {a.name: finalised(select(self.assembly.network, a)) for a in architectures}
        return [
            {
                "latency_ms": self.latency(measurement, name),
                "memory_mb": memory_mb(measurement, name),
                "params_m": nonzero_parameters(network) / 1e6,
            }
            for name, network in networks.items()
        ]

    def files(self, files: Mapping[str, Path], seed: int, memory: bool = True) -> Measurement:
        """One fresh process that times these files beside the anchors, which are the measurement's own."""
        with tempfile.TemporaryDirectory(prefix="dnas-anchors-") as folder:
            anchors = self._written(self.anchor_architectures, Path(folder))
            every = {**{f"anchor {name}": path for name, path in anchors.items()}, **files}
            arrays = {name: feeds(path, self.assembly.inputs) for name, path in every.items()}
            checked = files if memory else ()
            found = measure(every, arrays, self.device, rounds=self.rounds, seed=seed, memory=checked)
        return replace(found, anchors={name: found.timings[f"anchor {name}"] for name in anchors})

    def _written(self, architectures: Sequence[Architecture], folder: Path) -> dict[str, Path]:
        files = {a.name: folder / f"{a.name}.onnx" for a in architectures}
        for architecture in architectures:
            model = self.assembly.model(architecture)
            write_atomic(files[architecture.name], model.SerializeToString())
        return files

    def drift(self, measurement: Measurement, name: str) -> float:
        """How much slower the machine is for a network of that latency than when the cost table was made.

        A geometric mean over the anchors, those of about its latency first: interruptions by others lengthen
        the medians of long networks more than those of short ones.
        """
        latency = measurement.timings[name].at(self.statistic)
        weights = {
            anchor: math.exp(-0.5 * (math.log(timing.at(self.statistic) / latency) / NEAR) ** 2) + 1e-6
            for anchor, timing in measurement.anchors.items()
        }
        logs = {
            anchor: math.log(timing.at(self.statistic) / self.anchors[anchor].at(self.statistic))
            for anchor, timing in measurement.anchors.items()
        }
        return math.exp(sum(weights[a] * logs[a] for a in logs) / sum(weights.values()))

    def latency(self, measurement: Measurement, name: str) -> float:
        """Milliseconds in the statistic of the limit, drift taken out."""
        return measurement.timings[name].at(self.statistic) / self.drift(measurement, name)


def memory_mb(measurement: Measurement, name: str) -> float:
    """Weights plus the runtime's peak arena of activations."""
    return (measurement.weight_bytes[name] + measurement.arena_bytes[name]) / 1e6


def nonzero_parameters(network: nn.Module) -> int:
    return sum(int((parameter != 0).sum()) for parameter in network.parameters())
