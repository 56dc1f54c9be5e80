"""A measurement on disk: what a kill at any moment leaves is whole, and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hw_cost_models.errors import MeasurementError
from hw_cost_models.kit.board.record import Record

if TYPE_CHECKING:
    from pathlib import Path

CONDITIONS = {"threads": 4, "machine": {"name": "a board", "cores": 4}}


def test_rounds_are_there_when_it_is_opened_again(tmp_path: Path) -> None:
    folder, notes = tmp_path / "measured", list[str]()
    first = Record(folder, CONDITIONS, notes.append)
    first.add_round({"a": [1.0, 2.0], "b": [3.0]})
    first.add_round({"a": [4.0]})
    second = Record(folder, CONDITIONS, notes.append)
    assert second.rounds == 2
    second.add_round({"b": [5.0]})
    third = Record(folder, CONDITIONS, notes.append)
    assert third.visits("a") == second.visits("a") == [[1.0, 2.0], [4.0]]
    assert third.visits("b") == second.visits("b") == [[3.0], [5.0]]
    assert notes == []


@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_a_damaged_round_is_measured_again_and_nothing_else(tmp_path: Path, damaged: int) -> None:
    notes: list[str] = []
    record = Record(tmp_path, CONDITIONS, notes.append)
    for number in range(1, 4):
        record.add_round({"a": [float(number)]})
    path = tmp_path / f"round-{damaged:05}.json"
    path.write_bytes(path.read_bytes()[:-2])
    again = Record(tmp_path, CONDITIONS, notes.append)
    assert again.rounds == 2
    assert notes == [f"{path} is damaged and measured again"]
    again.add_round({"a": [9.0]})
    found = Record(tmp_path, CONDITIONS, notes.append).visits("a")
    assert sorted(found) == sorted([[float(n)] for n in range(1, 4) if n != damaged] + [[9.0]])


def test_an_outcome_is_computed_once(tmp_path: Path) -> None:
    record = Record(tmp_path, CONDITIONS, lambda _: None)
    assert record.once("memory.json", lambda: {"bytes": 1}) == {"bytes": 1}
    assert record.once("memory.json", lambda: {"bytes": 2}) == {"bytes": 1}
    (tmp_path / "memory.json").write_text("{")
    assert record.once("memory.json", lambda: {"bytes": 3}) == {"bytes": 3}


def test_other_conditions_are_refused(tmp_path: Path) -> None:
    Record(tmp_path, CONDITIONS, lambda _: None)
    with pytest.raises(
        MeasurementError, match=r"other conditions \(threads 4, now 2\): go on as it was begun"
    ):
        Record(tmp_path, {**CONDITIONS, "threads": 2}, lambda _: None)
    with pytest.raises(MeasurementError, match=r"machine \{'name': 'a board', 'cores': 4\}, now "):
        Record(tmp_path, {**CONDITIONS, "machine": {"name": "another"}}, lambda _: None)
