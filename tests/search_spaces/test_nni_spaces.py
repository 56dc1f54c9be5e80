"""NNI's model spaces against NNI itself: every sample that comes back freezes to the same network."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from nas.sampling import FairSampler, random_architecture
from search_spaces import SearchSpaceError, choices, parents, select
from search_spaces.nni_spaces import from_nni
from search_spaces.trial import try_space

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nni = pytest.importorskip("nni", reason="NNI is not installed: it pins packages, and is tested apart")
    import nni.nas.hub.pytorch as hub
    import nni.nas.nn.pytorch as open_nn

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore")


def _images(side: int, channels: int = 3) -> Callable[[int, int], tuple[Tensor]]:
    return lambda batch, length: (torch.randn(batch, channels, side, side),)


class Joined(nn.Module):
    """One of two inputs, chosen inside."""

    def __init__(self) -> None:
        super().__init__()
        self.join = open_nn.InputChoice(2, n_chosen=1, label="join")

    def forward(self, x: Tensor) -> Tensor:
        return self.join([x, x.relu()])


class Small(open_nn.ModelSpace):
    """Every kind of thing that is open, in a network of a few layers."""

    def __init__(self) -> None:
        super().__init__()
        kernel = nni.choice("kernel", [1, 3, 5])
        self.stem = open_nn.MutableConv2d(3, 8, kernel, padding=(kernel - 1) // 2)
        self.layer = open_nn.LayerChoice(
            OrderedDict([("conv", nn.Conv2d(8, 8, 3, padding=1)), ("skip", nn.Identity())]), label="layer"
        )
        self.again = open_nn.LayerChoice([nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)], label="again")
        self.stage = open_nn.Repeat(
            lambda index: open_nn.LayerChoice(
                [nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)], label=f"s{index}"
            ),
            nni.choice("depth", [1, 2, 4]),
        )
        width = nni.choice("width", [4, 16])
        self.wide = nn.Sequential(
            open_nn.MutableConv2d(8, width, 1), nn.ReLU(), open_nn.MutableConv2d(width, 8, 1)
        )
        self.fixed = open_nn.LayerChoice([nn.ReLU()], label="fixed")
        self.joined = Joined()
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.layer(self.stem(x)))
        return self.head(self.fixed(self.joined(self.wide(self.stage(x)))).mean((2, 3)))


class Tied(open_nn.ModelSpace):
    """One label at two places, of layers and of depths."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (
            open_nn.LayerChoice([nn.Linear(4, 4), nn.Identity()], label="layer") for _ in range(2)
        )
        self.deep, self.deeper = (open_nn.Repeat(nn.Linear(4, 4), (1, 3), label="depth") for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.deeper(self.deep(self.second(self.first(x))))


def _agree(
    model_space: Any, example_inputs: Callable[[int, int], tuple[Tensor, ...]], draws: int
) -> set[str]:
    """Random architectures equal what NNI freezes, with the same weights; the labels that were decided."""
    space, sample_of = from_nni(model_space, example_inputs)
    try_space(space, 2, 1)
    costs = {(path, o): 1.0 for path, choice in choices(space.network).items() for o in choice.options}
    fair = FairSampler.of(costs, parents(space.network), space.rules)
    generator, labels = torch.Generator().manual_seed(0), set[str]()
    for _ in range(draws):
        architecture = fair.sample(generator)
        ours, sample = select(space.network, architecture).eval(), sample_of(architecture)
        theirs = model_space.freeze(sample).eval()
        weights = ours.state_dict().values()
        theirs.load_state_dict(dict(zip(theirs.state_dict(), weights, strict=True)))
        inputs = example_inputs(2, 1)
        with torch.no_grad():
            torch.testing.assert_close(theirs(*inputs), ours(*inputs))
        labels |= set(sample)
    return labels


def test_layers_depths_values_and_inputs() -> None:
    space, sample_of = from_nni(Small(), _images(8))
    found = choices(space.network)
    assert found["stem"].options == ("kernel=1", "kernel=3", "kernel=5")
    assert found["layer"].options == ("conv", "skip")
    assert found["again"].options == ("0", "1")
    assert found["wide"].options == ("width=4", "width=16")
    assert [options for path, c in found.items() if "depth 1" in (options := c.options)] == [
        ("depth 1", "deeper")
    ]
    labels = _agree(Small(), _images(8), 12)
    assert labels == {"kernel", "layer", "again", "depth", "s0", "s1", "s2", "s3", "width", "fixed", "join"}
    architecture = random_architecture(space.network, torch.Generator().manual_seed(1))
    sample = sample_of(architecture)
    assert sample["fixed"] == 0
    assert sample["again"] in (0, 1)
    assert {f"s{index}" in sample for index in range(sample["depth"])} == {True}


def test_a_label_at_several_places_is_one_choice() -> None:
    space, _ = from_nni(Tied(), lambda batch, length: (torch.randn(batch, 4),))
    assert sorted(len(rule.tied) for rule in space.rules) == [2, 2, 2]
    assert _agree(Tied(), lambda batch, length: (torch.randn(batch, 4),), 20) == {"layer", "depth"}


@pytest.mark.parametrize(
    ("build", "side"),
    [
        (lambda: hub.NasBench201(stem_out_channels=4, num_modules_per_stack=1), 8),
        (lambda: hub.ProxylessNAS(num_labels=4, base_widths=(8, 8, 8, 8, 8, 8, 8, 8, 8)), 32),
        (
            lambda: hub.MobileNetV3Space(
                num_labels=4,
                base_widths=(8, 8, 8, 8, 8, 8, 8),
                width_multipliers=1.0,
                expand_ratios=(1.0, 3.0),
                squeeze_excite=("none", "optional", "force", "none"),
                depth_range=(1, 2),
                stride=(2, 1, 2, 2, 1, 1, 1),
                activation=("hswish", "relu", "relu", "hswish", "hswish", "hswish", "hswish"),
            ),
            32,
        ),
        (
            lambda: hub.AutoFormer(
                search_embed_dim=(32,),
                search_depth=(1, 2),
                search_num_heads=(1, 2),
                img_size=32,
                num_labels=4,
            ),
            32,
        ),
    ],
    ids=["nasbench201", "proxylessnas", "mobilenetv3", "autoformer"],
)
def test_spaces_of_the_hub(build: Callable[[], Any], side: int) -> None:
    assert _agree(build(), _images(side), 4)


def test_what_reaches_across_layers_is_refused() -> None:
    with pytest.raises(
        SearchSpaceError, match=r"MobileNetV3Space: s1_width_mult, .* build blocks in 117649 ways"
    ):
        from_nni(hub.MobileNetV3Space(), _images(32))


class Rebuilt(open_nn.ParametrizedModule):
    """Builds itself anew for every width, and a choice in it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = nn.Linear(4, width)
        self.layer = open_nn.LayerChoice([nn.ReLU(), nn.Tanh()], label="inner")


def _space(*modules: Callable[[], nn.Module]) -> open_nn.ModelSpace:
    class Space(open_nn.ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.Sequential(*(build() for build in modules))

    return Space()


def _layer(label: str, inside: Callable[[], nn.Module] = nn.Tanh) -> Callable[[], nn.Module]:
    return lambda: open_nn.LayerChoice([nn.Identity(), inside()], label=label)


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (
            (lambda: open_nn.MutableDropout(nni.uniform("rate", 0.1, 0.9)),),
            "is a Numerical.*give a list of val",
        ),
        (
            (lambda: Rebuilt(nni.choice("width", [1, 2])),),
            r"parts\.0, a Rebuilt, .* holds inner, which cannot",
        ),
        (
            (_layer("a"), _layer("b", _layer("a"))),
            r"'a' stands at parts\.0, parts\.1\.1, .* without the other",
        ),
    ],
)
def test_what_cannot_be_converted(modules: tuple[Callable[[], nn.Module], ...], said: str) -> None:
    with pytest.raises(SearchSpaceError, match=said) as caught:
        from_nni(_space(*modules), _images(8))
    assert "\n" not in str(caught.value)


def test_the_same_label_in_two_options_of_one_choice_is_not_tied() -> None:
    inner = lambda: nn.Sequential(_layer("a")())  # noqa: E731
    space, sample_of = from_nni(
        _space(lambda: open_nn.LayerChoice([inner(), inner()], label="outer")), _images(8)
    )
    assert not space.rules
    architecture = random_architecture(space.network, torch.Generator().manual_seed(0))
    assert set(sample_of(architecture)) == {"outer", "a"}
