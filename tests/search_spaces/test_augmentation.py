"""Augmentation: nothing but shifts and mirror images, drawn from the generator alone."""

import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import SearchSpaceError
from search_spaces.augmentation import Augmentation


def possible(image: torch.Tensor, border: int, mirror: bool) -> list[torch.Tensor]:
    """Every crop of the image with a border, and its mirror image, by slicing alone."""
    side, padded = image.shape[-1], F.pad(image, (border,) * 4)
    shifts = range(2 * border + 1)
    crops = [padded[:, top : top + side, left : left + side] for top in shifts for left in shifts]
    return crops + [crop.flip(-1) for crop in crops] * mirror


@settings(max_examples=12)
@given(st.integers(2, 30), st.sampled_from((1, 3)), st.booleans(), st.integers(0, 99))
def test_what_comes_out_is_a_shift_or_a_mirror_image(
    side: int, channels: int, mirror: bool, seed: int
) -> None:
    images = torch.rand(6, channels, side, side, generator=torch.Generator().manual_seed(seed))
    border = max(1, round(side / 14))
    found = Augmentation(mirror=mirror)(images, torch.Generator().manual_seed(seed))
    assert found.shape == images.shape
    for image, augmented in zip(images, found, strict=True):
        assert any(torch.equal(augmented, one) for one in possible(image, border, mirror))


@pytest.mark.parametrize("mirror", [False, True])
def test_every_shift_occurs_equally_often(mirror: bool) -> None:
    image = torch.rand(1, 5, 5, generator=torch.Generator().manual_seed(0))
    expected = possible(image, 1, mirror)
    draws, count = torch.Generator().manual_seed(0), 300 * len(expected)
    found = Augmentation(border=0.2, mirror=mirror)(image.expand(count, -1, -1, -1), draws)
    shares = [(found == one).all(dim=(1, 2, 3)).float().mean().item() for one in expected]
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([1 / len(expected)] * len(expected), rel=0.25)


def test_draws_come_from_the_generator_alone_and_move_it_on() -> None:
    images, found = torch.rand(32, 1, 28, 28), []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        draws = torch.Generator().manual_seed(0)
        before = torch.get_rng_state()
        found.append([Augmentation(mirror=True)(images, draws) for _ in range(2)])
        assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert not torch.equal(*found[0])


@pytest.mark.parametrize("border", [0, -0.1, 1])
def test_a_border_that_is_no_share(border: float) -> None:
    with pytest.raises(SearchSpaceError, match=f"between 0 and 1, got {border}"):
        Augmentation(border)


def test_without_kornia_the_extra_is_named_before_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from search_spaces import augmentation

    augmentation._transform.cache_clear()
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    with pytest.raises(SearchSpaceError, match=r"kornia; install the extra: pip install 'dnas\[vision\]'"):
        Augmentation()
