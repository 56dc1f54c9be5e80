"""Paths as people read them."""

from __future__ import annotations

import pytest

from nas.paths import together


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (["layers.0.mixer"], "layers.0.mixer"),
        (["layers.0.mixer", "layers.11.mixer"], "layers.*.mixer"),
        (
            ["layers.0.mixer", "layers.0.feedforward", "layers.1.mixer"],
            "layers.*.mixer, layers.0.feedforward",
        ),
        (["size.24px.stages.2.1", "size.24px.stages.2.3"], "size.24px.stages.2.*"),
        (["size.24px.stages.2.1", "size.20px.stages.2.1"], "size.*px.stages.2.1"),
        (["", "body"], ", body"),
    ],
)
def test_a_star_where_numbers_differ(paths: list[str], told: str) -> None:
    assert together(paths) == told
