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
from hw_cost_models.trace import nonzero_parameters
from nas.budget import METRICS
from search_spaces import Architecture, Decoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from hw_cost_models.cost import Item, Kind
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
        return replace(bench, anchors=bench.measure({}, seed=0, memory=False).anchors)

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
            networks = self._written(architectures, Path(folder))
            return self._figures(architectures, self.measure(networks, seed))

    def exported(self, architectures: Sequence[Architecture], seed: int) -> list[dict[str, float]]:
        """The same of each architecture, but of an export of the whole: slower, and what will be shipped."""
        with tempfile.TemporaryDirectory(prefix="dnas-bench-") as folder:
            networks = {}
            for architecture in architectures:
                path = Path(folder) / f"{architecture.name}.onnx"
                networks[architecture.name] = path, self._export(architecture, path)
            return self._figures(architectures, self.measure(networks, seed))

    def _export(self, architecture: Architecture, path: Path) -> tuple[Tensor, ...]:
        """Writes the file and gives what it runs on."""
        module, inputs = self.assembly.whole(architecture)
        outputs = len(module.state_names) if isinstance(module, Decoder) else 0
        export_onnx(
            module,
            inputs,
            path,
            dynamic=self.assembly.space.dynamic,
            input_names=[f"input_{i}" for i in range(len(inputs))],
            output_names=[f"output_{i}" for i in range(1 + outputs)],
        )
        return inputs

    def _figures(
        self, architectures: Sequence[Architecture], measurement: Measurement
    ) -> list[dict[str, float]]:
        items = {a.name: self.assembly.whole(a) for a in architectures}
        return [{**self.measured(measurement, name), **self.counted(item)} for name, item in items.items()]

    @property
    def kind(self) -> Kind:
        return self.assembly.workload.kind

    @property
    def clock(self) -> str:
        """The metric that this bench times."""
        return next(m.name for m in METRICS if m.kind == self.kind and m.timed)

    def measured(self, measurement: Measurement, name: str) -> dict[str, float]:
        """The metrics that differ between two measurements of a network."""
        figures = {self.clock: self.latency(measurement, name)}
        return figures if self.kind != "forward" else {**figures, "memory_mb": memory_mb(measurement, name)}

    def counted(self, item: Item) -> dict[str, float]:
        """The metrics that a network has, measured or not."""
        match self.kind:
            case "forward":
                return {"params_m": nonzero_parameters(item[0]) / 1e6}
            case "decode":
                return {"state_mb": self.assembly.state_bytes(item) / 1e6}
            case "prefill":
                return {}

    def measure(
        self, networks: Mapping[str, tuple[Path, tuple[Tensor, ...]]], seed: int, memory: bool = True
    ) -> Measurement:
        """One fresh process that times these files beside the anchors, which are the measurement's own.

        With each file stands what it runs on.
        """
        with tempfile.TemporaryDirectory(prefix="dnas-anchors-") as folder:
            anchors = self._written(self.anchor_architectures, Path(folder))
            every = {**{f"anchor {name}": network for name, network in anchors.items()}, **networks}
            found = measure(
                {name: path for name, (path, _) in every.items()},
                {name: feeds(path, inputs) for name, (path, inputs) in every.items()},
                self.device,
                rounds=self.rounds,
                seed=seed,
                memory=networks if memory and self.kind == "forward" else (),
            )
        return replace(found, anchors={name: found.timings[f"anchor {name}"] for name in anchors})

    def _written(
        self, architectures: Sequence[Architecture], folder: Path
    ) -> dict[str, tuple[Path, tuple[Tensor, ...]]]:
        networks = {}
        for architecture in architectures:
            path = folder / f"{architecture.name}.onnx"
            write_atomic(path, self.assembly.model(architecture).SerializeToString())
            networks[architecture.name] = path, self.assembly.whole(architecture)[1]
        return networks

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


@dataclass(frozen=True)
class Benches:
    """One bench for each workload that is limited, the plain forward's first."""

    benches: tuple[Bench, ...]

    @classmethod
    def restore(
        cls,
        assemblies: Sequence[Assembly],
        device: Device,
        statistic: Statistic,
        rounds: int,
        stored: Sequence[Sequence[Mapping[str, Any]]],
    ) -> Benches:
        """Those of a run, from the anchors of each."""
        return cls(
            tuple(
                Bench.restore(assembly, device, statistic, rounds, anchors)
                for assembly, anchors in zip(assemblies, stored, strict=True)
            )
        )

    def architectures(self, architectures: Sequence[Architecture], seed: int) -> list[dict[str, float]]:
        """Every metric of each architecture; see `Bench.architectures`."""
        return _merged([bench.architectures(architectures, seed) for bench in self.benches])

    def exported(self, architectures: Sequence[Architecture], seed: int) -> list[dict[str, float]]:
        """Every metric of each architecture; see `Bench.exported`."""
        return _merged([bench.exported(architectures, seed) for bench in self.benches])


def _merged(rows: Sequence[Sequence[dict[str, float]]]) -> list[dict[str, float]]:
    """Rows of figures by workload, to one row for each network."""
    return [{k: v for figures in network for k, v in figures.items()} for network in zip(*rows, strict=True)]


def memory_mb(measurement: Measurement, name: str) -> float:
    """Weights plus the runtime's peak arena of activations."""
    return (measurement.weight_bytes[name] + measurement.arena_bytes[name]) / 1e6
