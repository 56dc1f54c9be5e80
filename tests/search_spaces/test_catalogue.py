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
from search_spaces.catalogue import SPACES, lasting, space_and_task, space_named, task_named
from search_spaces.data_kinds import NAMES, Kind
from search_spaces.images import LabelledImages
from search_spaces.sequences import LabelledSequences
from search_spaces.synthetic import KINDS
from tests.search_spaces.test_data_kinds import arrays
from tests.search_spaces.test_image_files import save


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
    (_, named), (_, path) = (space_and_task("hybrid-lm", data, None) for data in (kind, f"./{kind}"))
    assert isinstance(named, SyntheticTask)
    assert isinstance(path, ByteText)
    assert (named.name, named.length) == (kind, 512)
    assert (path.name, path.length) == (kind, 256)
    lengths = [space_and_task("hybrid-lm", data, 33)[1].length for data in (kind, f"./{kind}", None)]
    assert lengths == [33] * 3
    assert (lasting(kind), lasting(f"./{kind}"), lasting(None)) == (kind, str(tmp_path / kind), None)


def test_names_last() -> None:
    assert [lasting(name) for name in NAMES] == list(NAMES)


@pytest.mark.parametrize("name", SPACES)
def test_data_that_is_neither(name: str) -> None:
    with pytest.raises(DataError, match="sorting: no such file or folder, and the names are recall"):
        space_and_task(name, "sorting", None)


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
    assert space_and_task("encoder", None, None)[1].length == 512


def test_an_encoder_learns_sequences(tmp_path: Path) -> None:
    space, task = space_and_task("encoder", str(arrays(tmp_path / "mine.npz", 12)), None)
    assert isinstance(task, LabelledSequences)
    assert (space.network.head.linear.out_features, task.length) == (3, 12)


def test_images_make_a_network_of_their_classes_channels_and_size(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(3):
            save(tmp_path / label / f"{number}.png", size=(16, 16), mode="RGB")
    space, task = space_and_task("mobile-vision", str(tmp_path), None)
    assert isinstance(task, LabelledImages)
    assert space.example_inputs(2, task.length)[0].shape == (2, 3, 16, 16)
    assert space.length == 16
    (images,), _ = task.sample("train", 2, torch.Generator().manual_seed(0))
    first = Mixture.of(Architecture({p: c.options[0] for p, c in choices(space.network).items()}))
    assert bind(space.network, first)(images).shape == (2, 2)
    assert space_and_task("mobile-vision", None, None)[1].name == "digits"


def test_digits_are_learnt_at_eight_pixels() -> None:
    space, task = space_and_task("mobile-vision", "digits", None)
    assert (space.length, task.length) == (8, 8)


IMAGES = "take --space mobile-vision"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("hybrid-lm", "fashion-mnist", f"images, and hybrid-lm learns text or a generated task: .* {IMAGES}"),
        ("hybrid-lm", "mine.npz", "sequences of tokens with labels, .* take --space encoder"),
        ("hybrid-lm", "photos.npz", f"images, .* {IMAGES}"),
        ("encoder", "recall", "a generated task, .* text or sequences of tokens.* take --space hybrid-lm$"),
        ("encoder", "digits", f"images, .* {IMAGES}$"),
        ("encoder", "copying", "a generated task, .* --space hybrid-lm; ./copying is what lies at that path"),
        (
            "mobile-vision",
            "a.txt",
            "text, and mobile-vision learns images: .* --space hybrid-lm or --space enc",
        ),
        ("mobile-vision", "mine.npz", "sequences of tokens with labels, .* take --space encoder"),
        ("mobile-vision", "recall", "a generated task, .* take --space hybrid-lm"),
    ],
)
def test_data_of_the_wrong_kind(
    name: str, data: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays(Path("mine.npz"), 7)
    arrays(Path("photos.npz"), 7, 7)
    Path("a.txt").write_text("text")
    Path("copying").mkdir()
    with pytest.raises(DataError, match=f"^{data} is taken for {said}") as caught:
        space_and_task(name, data, None)
    assert "\n" not in str(caught.value)


def test_every_kind_of_data_is_for_some_space() -> None:
    assert {kind for entry in SPACES.values() for kind in entry.takes} == set(Kind)


def test_a_space_of_ones_own_takes_any_kind_of_data(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text " * 2000)
    for data, kind, length in (
        ("recall", SyntheticTask, 64),
        ("digits", LabelledImages, 12),
        (str(tmp_path / "a.txt"), ByteText, 32),
        (str(arrays(tmp_path / "mine.npz", 7)), LabelledSequences, 7),
    ):
        task = task_named(data, length)
        assert isinstance(task, kind)
        assert task.length == length
