"""What a command line can name: spaces, and the task that `--data` gives each of them."""

from pathlib import Path

import pytest
import torch

from search_spaces import (
    Architecture,
    ByteText,
    DataError,
    LabelledText,
    Mixture,
    SearchSpaceError,
    SyntheticTask,
    bind,
    choices,
)
from search_spaces.catalogue import (
    SPACES,
    labelled_task,
    language_task,
    lasting,
    space_and_task,
    space_named,
)
from search_spaces.synthetic import KINDS


@pytest.mark.parametrize("name", SPACES)
def test_spaces_are_called_what_they_are_named(name: str) -> None:
    assert space_named(name).name == name


def test_a_space_that_there_is_not() -> None:
    for find in (space_named, lambda name: space_and_task(name, None, None)):
        with pytest.raises(SearchSpaceError, match="no space 'nope'; the spaces are hybrid-lm, encoder"):
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


@pytest.mark.parametrize("name", SPACES)
def test_what_a_space_learns_without_data_fits_it(name: str) -> None:
    space, task = space_and_task(name, None, 32)
    inputs, target = task.sample("train", 2, torch.Generator().manual_seed(0))
    first = Mixture.of(Architecture({p: c.options[0] for p, c in choices(space.network).items()}))
    assert inputs[0].shape == space.example_inputs(2, 32)[0].shape
    assert torch.isfinite(task.loss(bind(space.network, first)(*inputs), target))


def test_an_encoder_has_as_many_outputs_as_its_task_has_classes(tmp_path: Path) -> None:
    for label in "abc":
        (tmp_path / label).mkdir()
        for number in range(3):
            (tmp_path / label / f"{number}.txt").write_text(label * 40)
    space, task = space_and_task("encoder", str(tmp_path), 32)
    assert isinstance(task, LabelledText)
    assert space.network.head.linear.out_features == task.classes == 3
    assert labelled_task(None, None).length == 512


@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_task_is_none_for_an_encoder(kind: str) -> None:
    with pytest.raises(DataError, match=f"{kind} is generated for language models.* ./{kind} is one of that"):
        space_and_task("encoder", kind, None)
