"""The length of a workload: asked for, the space's, or the usual one; and how it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hw_cost_models.cost import Workload
from nas.report.headline import workload
from nas.workloads import workload_of
from search_spaces import hybrid_lm
from tests.nas.toys import toy_space

IMAGES = replace(toy_space(), length=28, unit="pixels")


def test_what_is_not_said_the_space_says() -> None:
    assert workload_of(IMAGES) == Workload(1, 28, "forward", "pixels")
    assert workload_of(IMAGES, 8, 20) == Workload(8, 20, "forward", "pixels")
    assert workload_of(hybrid_lm(layers=1, width=32)) == Workload()
    assert workload_of(hybrid_lm(layers=1, width=32), length=7, kind="decode") == Workload(1, 7, "decode")


def test_where_no_length_is_free_there_is_one_size() -> None:
    assert workload_of(toy_space(), 8) == Workload(8, unit="examples")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"kind": "forward", "batch": 8, "length": 28, "unit": "pixels"}, "forward, batch 8, 28 x 28 pixels"),
        ({"kind": "decode", "batch": 1, "length": 4096, "unit": "tokens"}, "decode, batch 1, length 4,096"),
        ({"kind": "forward", "batch": 1, "length": 256}, "forward, batch 1, length 256"),
        ({"kind": "forward", "batch": 4, "length": 256, "unit": "examples"}, "forward, batch 4"),
        ({}, ""),
    ],
)
def test_a_length_reads_as_what_it_is(parts: dict[str, object], told: str) -> None:
    assert workload(parts) == told
