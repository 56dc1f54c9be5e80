"""What a board measured, as a device and a cost model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from hw_cost_models.cost import Workload
from hw_cost_models.device import Device, MeasuredBy
from hw_cost_models.errors import DamagedFileError, DeviceError
from hw_cost_models.files import digest, read_json
from hw_cost_models.kit.board.measuring import FORMAT
from hw_cost_models.measure import Timing
from hw_cost_models.structure import structure_key
from hw_cost_models.trace import static_costs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hw_cost_models.cost import Cost, Item, Kind, Statistic


@dataclass(frozen=True)
class LatencyFile:
    """A latency.json that came back from a board."""

    path: Path
    sha256: str
    """Of its content."""
    space: str
    workloads: Mapping[Kind, Workload]
    machine: Mapping[str, Any]
    """What it was measured on: name, processor, cores, architecture, system."""
    runtime: Mapping[str, Any]
    """The version of ONNX Runtime there, its provider and threads."""
    rounds: int
    timings: Mapping[str, Timing]
    """By structure key."""
    arena_bytes: Mapping[str, int]
    """By structure key, as `Measurement.arena_bytes`."""
    reference: Mapping[Kind, Mapping[str, Timing]]
    """Whole networks of each workload in a process of their own, by the names that the kit was made with."""

    @property
    def device(self) -> Device:
        """The board, with the runtime that it was measured in."""
        facts = [self.machine[name] for name in ("processor", "architecture", "system")]
        return Device(
            name=self.machine["name"],
            description=f"measured by a kit: {self.machine['cores']} cores, {', '.join(facts)}",
            runtime="onnxruntime",
            provider=self.runtime["provider"],
            threads=self.runtime["threads"],
            here=False,
            latency_file=MeasuredBy(path=str(self.path.resolve()), sha256=self.sha256),
        )

    def key_of(self, item: Item) -> str:
        """The structure key; raises DeviceError for what the kit did not hold."""
        key = structure_key(*item)
        if key not in self.timings:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in item[1])
            raise DeviceError(
                f"{self.path} holds no {type(item[0]).__name__} on inputs of {shapes}: it is from a kit of "
                f"{self.space} ({'; '.join(map(str, self.workloads.values()))}); make a kit of this space "
                "and workload, `nas kit make`, and measure it on the board"
            )
        return key


class KitModel:
    """A CostModel of the board: latency and memory as measured there, the rest counted.

    Each method raises DeviceError for an item that the kit did not hold.
    """

    def __init__(self, measured: LatencyFile) -> None:
        self.measured = measured

    def price(self, items: Mapping[str, Item], counted: Mapping[str, Cost] | None = None) -> dict[str, Cost]:
        """Measured latency and peak of activations; the rest is counted."""
        latency, peak = self.latency_ms(items, "p10"), self.peak_bytes(items)
        return {
            name: replace(cost, latency_ms=latency[name], peak_activation_bytes=peak[name])
            for name, cost in (counted or static_costs(items)).items()
        }

    def latency_ms(self, items: Mapping[str, Item], statistic: Statistic) -> dict[str, float]:
        """Of the rounds that all networks of the kit took part in."""
        timings, key_of = self.measured.timings, self.measured.key_of
        return {name: timings[key_of(item)].at(statistic) for name, item in items.items()}

    def peak_bytes(self, items: Mapping[str, Item]) -> dict[str, float]:
        """What the runtime's arena grew to, weights apart."""
        arena, key_of = self.measured.arena_bytes, self.measured.key_of
        return {name: float(arena[key_of(item)]) for name, item in items.items()}


def read_latency(path: Path) -> LatencyFile:
    """A board's file.

    Raises DeviceError, in one line, for one that is absent, cut, changed or no latency file, and for one from
    a kit that another version of torch made.
    """
    try:
        data, value = path.read_bytes(), read_json(path)
    except OSError as error:
        raise DeviceError(f"{path}: cannot read this latency file ({error.strerror or error})") from None
    except DamagedFileError:
        raise DeviceError(f"{path} is cut or changed: copy it from the board again") from None
    if value.get("format") != FORMAT:
        raise DeviceError(f"{path} is no latency file: give what measure.py of a kit wrote on the board")
    made_by = value["versions"]["torch"]
    if made_by != torch.__version__:
        raise DeviceError(
            f"{path} is from a kit made by torch {made_by}, this is {torch.__version__}, which exports other "
            "graphs: make a new kit and measure it, or install that version"
        )
    networks = value["networks"]
    return LatencyFile(
        path=path,
        sha256=digest(data),
        space=value["space"],
        workloads={kind: Workload(**workload) for kind, workload in value["workloads"].items()},
        machine=value["machine"],
        runtime={name: value[name] for name in ("onnxruntime", "provider", "threads")},
        rounds=value["rounds"],
        timings={key: Timing(**network["timing"]) for key, network in networks.items()},
        arena_bytes={key: network["arena_bytes"] for key, network in networks.items()},
        reference={
            kind: {name: Timing(**timing) for name, timing in timings.items()}
            for kind, timings in value["reference"].items()
        },
    )
