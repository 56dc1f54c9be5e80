"""What a command line can name: spaces, and the task that `--data` gives each of them."""

from pathlib import Path

import pytest

from search_spaces import ByteText, DataError, SearchSpaceError, SyntheticTask
from search_spaces.catalogue import SPACES, language_task, lasting, space_and_task, space_named
from search_spaces.synthetic import KINDS


@pytest.mark.parametrize("name", SPACES)
def test_spaces_are_called_what_they_are_named(name: str) -> None:
    assert space_named(name).name == name


def test_a_space_that_there_is_not() -> None:
    for find in (space_named, lambda name: space_and_task(name, None, None)):
        with pytest.raises(SearchSpaceError, match="no space 'nope'; the spaces are hybrid-lm"):
            find("nope")


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_comes_first_and_a_path_can_be_told_apart(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(kind).write_text("text " * 2000)
    named, path = language_task(kind, None), language_task(f"./{kind}", None)
    assert isinstance(named, SyntheticTask)
    assert isinstance(path, ByteText)
    assert (named.name, named.length) == (kind, 512)
    assert (path.name, path.length) == (kind, 256)
    assert [language_task(data, 33).length for data in (kind, f"./{kind}", None)] == [33] * 3
    assert (lasting(kind), lasting(f"./{kind}"), lasting(None)) == (kind, str(tmp_path / kind), None)


def test_data_that_is_neither() -> None:
    with pytest.raises(
        DataError, match="sorting: no such file or folder, and the generated tasks are recall"
    ):
        language_task("sorting", None)
