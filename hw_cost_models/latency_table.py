"""Measured costs, kept across runs: what was measured once is neither exported nor measured again.

Timings are kept as they would have been on the day of the table's first measurement: divided by the drift of
the anchors when stored, multiplied by today's drift when given out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_cost_models.cache import cache_path, keep
from hw_cost_models.errors import DamagedFileError
from hw_cost_models.export import export_many, feeds
from hw_cost_models.files import read_json
from hw_cost_models.measure import Measurement, Timing, drift, measure
from hw_cost_models.runtimes import RUNTIMES
from hw_cost_models.structure import structure_key
from hw_cost_models.trace import static_costs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hw_cost_models.cost import Cost, Item, Statistic
    from hw_cost_models.device import Device
    from hw_cost_models.measure import Progress

Export = Callable[["Mapping[str, Item]", Path], "dict[str, Path]"]
"""Writes each item's ONNX file into the folder. The names are structure keys."""

_FORMAT = 1
_COMPARABLE = (0.7, 1.4)
"""Drift beyond which the machine is another one: caches, clocks and memory no longer scale alike."""


@dataclass(frozen=True)
class _Entry:
    """One structure's timing on the day of the reference anchors, and its arena."""

    timing: Timing
    arena_bytes: int


class LatencyTable:
    """A CostModel that measures on this machine. Not for several threads at once.

    `dynamic` names the dimensions that stay free in the exported files, as networks are exported; `export`
    makes those files where there is a faster way than exporting each module, by structure key. The cache
    lies in the folder `cache`, by default the user's cache folder or $DNAS_CACHE_DIR. `warnings` tells what
    the user should know: a cache that was damaged, incomparable or could not be written, and a machine too
    busy for its figures.
    """

    def __init__(
        self,
        device: Device,
        *,
        dynamic: Mapping[int, str],
        export: Export | None = None,
        cache: Path | None = None,
        rounds: int = 25,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self.device = device
        self.dynamic = dict(dynamic)
        self.export = export or partial(export_many, dynamic=self.dynamic)
        self.rounds = rounds
        self.seed = seed
        self.progress = progress
        self.anchors: dict[str, Timing] = {}
        """Today's timings of the anchors; empty until the first price."""
        self.drift = 1.0
        """How much slower the machine is today than on the day of the table."""
        self.warnings: list[str] = []
        self.path = cache_path("latency", device, cache, sorted(self.dynamic.items()))
        self._reference: dict[str, Timing] = {}
        self._entries: dict[str, _Entry] = {}
        self._load()

    def price(self, items: Mapping[str, Item], counted: Mapping[str, Cost] | None = None) -> dict[str, Cost]:
        """Measured latency as of today and peak of activations; the rest is counted.

        Raises MeasurementError or HardwareCostError where an item can be neither exported nor measured.
        """
        entries, slower = self._measured(items), self._slower("p10")
        return {
            name: replace(
                cost,
                latency_ms=entries[name].timing.p10_ms * slower,
                peak_activation_bytes=float(entries[name].arena_bytes),
            )
            for name, cost in (counted or static_costs(items)).items()
        }

    def latency_ms(self, items: Mapping[str, Item], statistic: Statistic) -> dict[str, float]:
        """Measured latency as of today; raises as `price` does."""
        entries = self._measured(items)
        slower = self._slower(statistic)
        return {name: entry.timing.at(statistic) * slower for name, entry in entries.items()}

    def peak_bytes(self, items: Mapping[str, Item]) -> dict[str, float]:
        """What the runtime's arena grows to, weights apart; see `Measurement.arena_bytes`."""
        return {name: float(entry.arena_bytes) for name, entry in self._measured(items).items()}

    def _slower(self, statistic: Statistic) -> float:
        return drift(self._reference, self.anchors, statistic)

    def _measured(self, items: Mapping[str, Item]) -> dict[str, _Entry]:
        keys = {name: structure_key(*item) for name, item in items.items()}
        missing = {key: items[name] for name, key in keys.items() if key not in self._entries}
        if missing or not self.anchors:
            measurement = self._measure(missing)
            if not self._accept(measurement):
                return self._measured(items)
        return {name: self._entries[key] for name, key in keys.items()}

    def _measure(self, items: Mapping[str, Item]) -> Measurement:
        with tempfile.TemporaryDirectory(prefix="dnas-table-") as folder:
            models: Mapping[str, Path | Item] = items
            arrays = {}
            if not RUNTIMES[self.device.runtime].takes_modules:
                models = files = self.export(items, Path(folder))
                arrays = {name: feeds(path, items[name][1]) for name, path in files.items()}
            return measure(
                models,
                arrays,
                self.device,
                rounds=self.rounds,
                seed=self.seed,
                memory=models,
                progress=self.progress,
            )

    def _accept(self, measurement: Measurement) -> bool:
        """Take the measurement in; False when it shows that the table is from another machine, in effect."""
        if measurement.busy:
            self.warnings += measurement.warnings
        reference = self._reference or measurement.anchors
        slower = drift(reference, measurement.anchors)
        if not _COMPARABLE[0] <= slower <= _COMPARABLE[1]:
            self.warnings.append(
                f"{self.path}: this machine takes {slower:.2f} times as long as when the table was measured; "
                "the table was discarded and is measured again"
            )
            self._reference, self._entries, self.anchors = {}, {}, {}
            return False
        self._reference = reference
        if not self.anchors:
            self.anchors, self.drift = measurement.anchors, slower
        for key, timing in measurement.timings.items():
            self._entries[key] = _Entry(
                self._as_of_the_reference(timing, measurement), measurement.arena_bytes[key]
            )
        if measurement.timings:
            self._save()
        return True

    def _as_of_the_reference(self, timing: Timing, measurement: Measurement) -> Timing:
        """Each percentile without its own drift: noise lifts the median and leaves the 10th where it was."""
        p10, p50, p95 = (
            timing.at(s) / drift(self._reference, measurement.anchors, s) for s in ("p10", "p50", "p95")
        )
        return Timing(p10, p50, p95, timing.rounds)

    def _load(self) -> None:
        try:
            value = read_json(self.path)
            if value["format"] != _FORMAT:
                raise DamagedFileError(f"{self.path} has format {value['format']}, not {_FORMAT}")
            self._reference = {name: Timing(**timing) for name, timing in value["anchors"].items()}
            self._entries = {
                key: _Entry(Timing(**entry["timing"]), entry["arena_bytes"])
                for key, entry in value["entries"].items()
            }
        except FileNotFoundError:
            return
        except (DamagedFileError, OSError) as error:
            self.warnings.append(f"{error}; the latency table is measured again")

    def _save(self) -> None:
        value: dict[str, Any] = {
            "format": _FORMAT,
            "anchors": {name: vars(timing) for name, timing in self._reference.items()},
            "entries": {
                key: {"timing": vars(entry.timing), "arena_bytes": entry.arena_bytes}
                for key, entry in self._entries.items()
            },
        }
        if error := keep(self.path, value):
            self.warnings.append(f"{self.path}: the latency table could not be kept ({error.strerror})")
