"""Handwritten digits that scikit-learn carries: 1,797 images of 8 by 8 pixels, for runs of seconds."""

from __future__ import annotations

import torch

from search_spaces.augmentation import Augmentation
from search_spaces.errors import SearchSpaceError
from search_spaces.examples import Examples
from search_spaces.images import LabelledImages


def digits(length: int | None = None) -> LabelledImages:
    """Of each digit a tenth for validation and a tenth to test. `length` is the side in pixels, 8 if None.

    They are the test set of Alpaydin and Kaynak 1998 (doi:10.24432/C50P49). Raises SearchSpaceError where
    scikit-learn or kornia is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SearchSpaceError("digits come with scikit-learn: pip install 'dnas[vision]'") from None
    found = load_digits()
    images, labels = torch.from_numpy(found.images).to(torch.uint8), torch.from_numpy(found.target)
    return LabelledImages(
        "digits", Examples("digits of scikit-learn", images, labels), length, Augmentation()
    )
