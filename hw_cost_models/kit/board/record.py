"""What has been measured so far, kept on disk round by round, so that a killed measurement goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hw_cost_models.errors import DamagedFileError, MeasurementError
from hw_cost_models.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_CONDITIONS = "conditions.json"


class Record:
    """The folder of one measurement, under conditions that must not change while it lasts.

    Raises MeasurementError where it was begun under others.
    """

    def __init__(self, folder: Path, conditions: Mapping[str, Any], note: Callable[[str], None]) -> None:
        self.folder, self.note = folder, note
        folder.mkdir(exist_ok=True)
        begun = self.once(_CONDITIONS, lambda: conditions)
        changed = [name for name, value in conditions.items() if begun.get(name) != value]
        if changed:
            what = ", ".join(f"{name} {begun.get(name)}, now {conditions[name]}" for name in changed)
            raise MeasurementError(
                f"{folder} holds a measurement begun under other conditions ({what}): go on as it was begun, "
                "or delete that folder to begin anew"
            )
        self._rounds = [r for path in self._round_files() if (r := self._whole(path)) is not None]

    @property
    def rounds(self) -> int:
        """How many are measured."""
        return len(self._rounds)

    def add_round(self, times: Mapping[str, list[float]]) -> None:
        """The times of one round's visits, in milliseconds, by name of the network."""
        last = max((int(path.stem.split("-")[1]) for path in self._round_files()), default=0)
        write_json(self.folder / f"round-{last + 1:05}.json", {"times": dict(times)})
        self._rounds.append(dict(times))

    def visits(self, name: str) -> list[list[float]]:
        """Of one network, over all rounds."""
        return [times[name] for times in self._rounds if name in times]

    def once(self, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """An outcome of the measurement: computed only if the folder does not hold it whole."""
        path = self.folder / name
        if (kept := self._read(path)) is not None:
            return kept
        write_json(path, dict(compute()))
        return read_json(path)

    def _round_files(self) -> list[Path]:
        return sorted(self.folder.glob("round-*.json"))

    def _whole(self, path: Path) -> dict[str, list[float]] | None:
        value = self._read(path)
        return value and value["times"]

    def _read(self, path: Path) -> dict[str, Any] | None:
        """None for a file that is not there or not whole, which is measured again."""
        try:
            return read_json(path)
        except FileNotFoundError:
            return None
        except DamagedFileError:
            self.note(f"{path} is damaged and measured again")
            path.unlink()
            return None
