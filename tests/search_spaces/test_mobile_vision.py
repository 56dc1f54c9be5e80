"""mobile-vision as a space: where it shrinks, what it offers, what its references are, how it begins."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from hw_cost_models.trace import static_cost
from nas import price
from nas.sampling import random_architecture
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


def test_resolutions_share_the_network_and_scale_what_comes() -> None:
    space = mobile_vision(classes=7, channels=3, resolution=12, scaled_to=(8, 5), width=8)
    plain = dict(SMALL.network.named_parameters())
    assert {id(p) for p in space.network.parameters()} == {
        id(p) for p in choices(space.network)["resolution"].option("12px").parameters()
    }
    for (name, mine), theirs in zip(
        choices(space.network)["resolution"].option("12px").named_parameters(), plain.values(), strict=True
    ):
        assert torch.equal(mine, theirs), name
    (images,) = space.example_inputs(2, 12)
    pattern = SMALL.references["EfficientNet-lite-like"][-1]
    by_hand = select(SMALL.network, pattern).eval()
    for side in (12, 8, 5):
        taken = {f"resolution.{side}px.{path}": option for path, option in pattern.items()}
        network = select(space.network, Architecture({"resolution": f"{side}px", **taken})).eval()
        fed = images if side == 12 else F.interpolate(images, (side, side), mode="bilinear", antialias=True)
        assert torch.equal(network(images), by_hand(fed))
        assert (
            Architecture({"resolution": f"{side}px", **taken}) in space.references["EfficientNet-lite-like"]
        )


@pytest.mark.parametrize(
    ("resolution", "options"),
    [
        (224, ("224px", "160px")),
        (32, ("32px", "24px")),
        (28, ("28px", "20px")),
        (16, ("16px", "12px")),
    ],
)
def test_what_images_are_scaled_to_unless_it_is_said(resolution: int, options: tuple[str, ...]) -> None:
    assert choices(mobile_vision(resolution=resolution, width=8).network)["resolution"].options == options


def test_every_resolution_has_costs_of_its_own() -> None:
    """A table each: what is counted adds up exactly to whole networks, which one table could not do."""
    space = mobile_vision(resolution=12, scaled_to=(8,), width=8)
    table = price(space, device="raspberry-pi-5")
    draws = torch.Generator().manual_seed(0)
    drawn = [random_architecture(space.network, draws) for _ in range(8)]
    assert {a["resolution"] for a in drawn} == {"12px", "8px"}
    for architecture in drawn:
        counted = static_cost(select(space.network, architecture), space.example_inputs(1, 12))
        predicted = table.cost(architecture)
        assert predicted.flops == counted.flops
        assert predicted.parameters == counted.parameters
    large, small = ("resolution.12px.stages.0.0", "resolution.8px.stages.0.0")
    for option in table.choices[large]:
        assert table.options[small, option].flops < 0.5 * table.options[large, option].flops


def test_the_seed_decides_the_weights_and_the_world_does_not() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    made = partial(mobile_vision, width=8, resolution=12)
    again, other = made(seed=0).network, made(seed=1).network
    assert torch.equal(torch.get_rng_state(), before)
    same = made(seed=0).network
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), same.parameters(), strict=True))
    assert not torch.equal(again.head.weight, other.head.weight)


def test_the_dearest_at_28_pixels_is_of_the_order_it_is_said_to_be() -> None:
    """10 choices of 150 MFLOP in all: some 5 ms at 30 GFLOP/s."""
    space = mobile_vision(scaled_to=())
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
        ({"scaled_to": (24, 28)}, "28 pixels cannot be scaled to 24, 28: give sides from 4 to 27"),
        ({"scaled_to": (24, 24)}, "each once"),
        ({"scaled_to": (3,)}, "give sides from 4"),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict[str, Any], match: str) -> None:
    with pytest.raises(SearchSpaceError, match=match):
        mobile_vision(**sizes)
