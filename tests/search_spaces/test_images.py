"""LabelledImages: batches of the training split's own mean and deviation, scaling, and images of no use."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from search_spaces import DataError, SearchSpaceError
from search_spaces.augmentation import Augmentation
from search_spaces.examples import Examples
from search_spaces.images import LabelledImages, scaled

LABELS = torch.arange(60) % 3


def pictures(*shape: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    values = torch.randint(256, (len(LABELS), *shape), generator=torch.Generator().manual_seed(0))
    return values.to(dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 3)])
def test_batches_are_normalised_by_the_training_split(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images = pictures(*shape, dtype=dtype)
    examples = Examples("mine", images, LABELS)
    task = LabelledImages("mine", examples)
    assert (task.length, task.channels, task.classes) == (6, math.prod(shape[2:]), 3)
    train = images[examples.splits["train"]].double().numpy().reshape(-1, task.channels)
    described = task.describe()
    assert described["mean"] == pytest.approx(train.mean(axis=0), rel=1e-6)
    assert described["standard_deviation"] == pytest.approx(train.std(axis=0), rel=1e-6)
    assert json.loads(json.dumps(described)) == described
    for split in ("train", "test"):
        seen = []
        for (batch,), labels in task.batches(split, 2, 100):
            assert batch.shape == (2, task.channels, 6, 6)
            assert batch.dtype == torch.float32
            assert batch.is_contiguous()
            seen += list(zip(batch, labels.tolist(), strict=True))
        for (found, label), place in zip(seen, examples.splits[split].tolist(), strict=True):
            raw = images[place].double().numpy().reshape(6, 6, task.channels)
            expected = (raw - train.mean(axis=0)) / train.std(axis=0)
            np.testing.assert_allclose(found.permute(1, 2, 0), expected, atol=1e-5)
            assert label == LABELS[place]


def test_only_what_is_drawn_to_train_on_is_augmented_and_by_the_generator_alone() -> None:
    examples = Examples("mine", pictures(8, 8), LABELS)
    plain, task = LabelledImages("m", examples), LabelledImages("m", examples, augmentation=Augmentation())
    for split, same in (("train", False), ("validation", True), ("test", True)):
        drawn = []
        for one in (plain, task, task):
            torch.manual_seed(len(drawn))
            drawn.append(one.sample(split, 16, torch.Generator().manual_seed(3)))
        ((x,), y), ((augmented,), labels), ((again,), _) = drawn
        assert torch.equal(augmented, again)
        assert torch.equal(y, labels)
        assert torch.equal(x, augmented) == same
    assert task.describe()["augmentation"] == {"border": 1 / 14, "mirror": False}
    assert plain.describe()["augmentation"] is None


def test_a_channel_that_does_not_vary() -> None:
    images = pictures(4, 4, 2)
    images[..., 1] = 7
    (batch,), _ = next(LabelledImages("mine", Examples("mine", images, LABELS)).batches("train", 4, 1))
    assert batch[:, 1].eq(0).all()


@settings(max_examples=10)
@given(st.integers(3, 20), st.integers(3, 20), st.integers(2, 24), st.integers(0, 99))
def test_scaling_is_that_of_pillow_with_the_middle_cut_out(
    height: int, width: int, length: int, seed: int
) -> None:
    picture = torch.randint(256, (height, width), generator=torch.Generator().manual_seed(seed)).byte()
    found = scaled(picture[None, None], length)
    assert found.shape == (1, 1, length, length)
    shorter = min(height, width)
    size = round(width * length / shorter), round(height * length / shorter)
    resized = np.asarray(Image.fromarray(picture.numpy()).resize(size, Image.Resampling.BILINEAR)).astype(int)
    left, top = (size[0] - length) // 2, (size[1] - length) // 2
    expected = resized[top : top + length, left : left + length]
    assert np.abs(found[0, 0].numpy() - expected).max() <= 1, "both round"


def test_images_of_their_own_length_stay_as_they_are() -> None:
    images = pictures(5, 5)[:, None]
    assert scaled(images, 5) is images
    task = LabelledImages("mine", Examples("mine", pictures(6, 4), LABELS), length=3)
    assert task.length == 3


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (pictures(4), r"images of shape \(60, 4\) and type torch.uint8, and they are"),
        (pictures(4, 4, dtype=torch.int64), "type torch.int64, .* uint8 or float32"),
        (pictures(4, 6, 3), "images of 6x4 pixels, .* give a length, the side in pixels"),
        (pictures(4, 4, dtype=torch.float32) / 0, "values of images that are not finite"),
    ],
)
def test_images_that_cannot_be_used(images: torch.Tensor, said: str) -> None:
    with pytest.raises(DataError, match=f"^mine: .*{said}"):
        LabelledImages("mine", Examples("mine", images, LABELS))


@pytest.mark.parametrize("length", [0, 1])
def test_a_length_of_nothing(length: int) -> None:
    with pytest.raises(SearchSpaceError, match=f"at least two pixels a side, got length {length}"):
        LabelledImages("mine", Examples("mine", pictures(4, 4), LABELS), length=length)


def test_loss_and_errors_are_of_the_class() -> None:
    task = LabelledImages("mine", Examples("mine", pictures(4, 4), LABELS))
    (_,), labels = task.sample("train", 9, torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(labels, 3).float() * 100
    assert task.loss(right, labels).item() == pytest.approx(0)
    assert task.error(-right, labels).item() == 1
    with pytest.raises(SearchSpaceError, match=r"'mine' scores logits of shape \(9, 3\)"):
        task.loss(torch.zeros(9, 2), labels)
