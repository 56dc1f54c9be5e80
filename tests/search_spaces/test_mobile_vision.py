"""mobile-vision as a space: where it shrinks, what it offers, what its references are, how it begins."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from hw_cost_models.trace import static_cost
from search_spaces import Architecture, SearchSpaceError, choices, select
from search_spaces.mobile_vision import mobile_vision, strides

SMALL = mobile_vision(classes=7, channels=3, resolution=12, width=8)


@pytest.mark.parametrize(
    ("resolution", "expected", "last"),
    [
        (4, (1, 1, 1, 1, 1), 4),
        (8, (1, 1, 1, 2, 1), 4),
        (28, (1, 2, 1, 2, 1), 7),
        (32, (1, 2, 1, 2, 2), 4),
        (64, (2, 2, 1, 2, 2), 4),
        (224, (2, 2, 2, 2, 2), 7),  # as MobileNet, whose last side is 7
        (1000, (2, 2, 2, 2, 2), 32),
    ],
)
def test_strides_leave_small_sides(resolution: int, expected: tuple[int, ...], last: int) -> None:
    assert strides(resolution) == expected
    side = resolution
    for stride in expected:
        side = -(-side // stride)
    assert side == last


def test_images_to_logits() -> None:
    (x,) = SMALL.example_inputs(5, 12)
    network = select(SMALL.network, SMALL.references["EfficientNet-lite-like"][-1]).eval()
    assert x.shape == (5, 3, 12, 12)
    assert network(x).shape == (5, 7)
    assert (SMALL.length, SMALL.unit, dict(SMALL.dynamic)) == (12, "pixels", {0: "batch"})


def test_what_stands_where() -> None:
    options = {path: set(choice.options) for path, choice in choices(SMALL.network).items()}
    assert list(options) == [f"stages.{i}.{j}" for i, depth in enumerate((1, 2, 4, 3)) for j in range(depth)]
    for path, names in options.items():
        _, stage, block = path.split(".")
        late, last = stage in "23", stage == "3"
        assert {f"mbconv_{k}x{k}_e{e}" for k in (3, 5, 7) for e in (3, 4, 6)} <= names
        assert ("mbconv_5x5_e6_se" in names) == ("fused_3x3_e4" not in names) == late
        assert ("skip" in names) == ("convnext" in names) == (block != "0")
        assert ("attention" in names) == (late and block != "0")
        assert ("moe" in names) == (last and block != "0")


def test_expansions_share_their_weights() -> None:
    choice = choices(SMALL.network)["stages.3.1"]
    largest = choice.option("mbconv_5x5_e6_se")
    part = choice.extract("mbconv_5x5_e3_se")
    torch.testing.assert_close(part.expand.convolution.weight, largest.expand.convolution.weight[: 3 * 48])
    assert len(list(choice.parameters())) == len(set(choice.parameters()))


def test_references_grow_by_one_block_to_the_published_pattern() -> None:
    for name, sizes in SMALL.references.items():
        blocks = [[path for path, option in a.items() if option != "skip"] for a in sizes]
        assert [len(taken) for taken in blocks] == [4, 5, 6, 7, 8, 9, 10], name
        assert all(set(fewer) < set(more) for fewer, more in pairwise(blocks))
    small, lite = (sizes[-1] for sizes in SMALL.references.values())
    assert [option.endswith("_se") for option in small.values()] == [False] * 3 + [True] * 7
    assert not any(option.endswith("_se") for option in lite.values())


def test_what_is_added_begins_small_and_is_not_nothing() -> None:
    for path, choice in choices(SMALL.network).items():
        if "skip" in choice.options:
            width = 8 * (2, 3, 6, 12)[int(path.split(".")[1])] // 2
            x = torch.randn(4, width, 6, 6, generator=torch.Generator().manual_seed(width))
            for name in set(choice.options) - {"skip"}:
                added = choice.extract(name).train()(x) - x
                assert 1e-3 < added.std() < 0.3, (path, name)


def test_the_seed_decides_the_weights_and_the_world_does_not() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again, other = mobile_vision(width=8, seed=0).network, mobile_vision(width=8, seed=1).network
    assert torch.equal(torch.get_rng_state(), before)
    same = mobile_vision(width=8, seed=0).network
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), same.parameters(), strict=True))
    assert not torch.equal(again.head.weight, other.head.weight)


def test_the_dearest_at_28_pixels_is_of_the_order_it_is_said_to_be() -> None:
    """10 choices of 150 MFLOP in all: some 5 ms at 30 GFLOP/s."""
    space = mobile_vision()
    largest = {
        path: next(name for name in ("mbconv_7x7_e6_se", "fused_3x3_e4") if name in choice.options)
        for path, choice in choices(space.network).items()
    }
    cost = static_cost(select(space.network, Architecture(largest)), space.example_inputs(1, 28))
    assert 0.1e9 < cost.flops < 0.2e9


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ({"width": 12}, "width of 12 .* multiple of 8"),
        ({"width": 0}, "width of 0"),
        ({"classes": 1}, "got 1, 1 and 28"),
        ({"channels": 0}, "got 10, 0 and 28"),
        ({"resolution": 3}, "4 x 4 pixels, got 10, 1 and 3"),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict[str, int], match: str) -> None:
    with pytest.raises(SearchSpaceError, match=match):
        mobile_vision(**sizes)
