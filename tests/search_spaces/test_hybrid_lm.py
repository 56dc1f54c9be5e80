"""Every option of hybrid-lm: causal, shape-preserving, trainable, and the same in ONNX Runtime."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hw_cost_models import export_onnx
from search_spaces import Architecture, SearchSpaceError, capture_inputs, choices, hybrid_lm, select
from search_spaces.blocks import finalised

WIDTH = 64
FOUND = choices(hybrid_lm(layers=1).network)
OPTIONS = {
    f"{path.split('.')[-1]}/{name}": choice.extract(name)
    for path, choice in FOUND.items()
    for name in choice.options
}
every_option = pytest.mark.parametrize("name", OPTIONS)


@every_option
@settings(max_examples=8, deadline=None)
@given(batch=st.integers(1, 3), length=st.integers(1, 150), data=st.data())
def test_causal_at_any_length(name: str, batch: int, length: int, data: st.DataObject) -> None:
    torch.manual_seed(length)
    x, other = torch.randn(batch, length, WIDTH), torch.randn(batch, length, WIDTH)
    now = data.draw(st.integers(0, length))
    perturbed = torch.cat((x[:, :now], other[:, now:]), dim=1)
    with torch.no_grad():
        before, after = OPTIONS[name](x), OPTIONS[name](perturbed)
    assert before.shape == x.shape
    torch.testing.assert_close(after[:, :now], before[:, :now], atol=1e-6, rtol=1e-6)
    if now < length:
        assert not torch.equal(after[:, now], before[:, now])


@every_option
def test_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 100, WIDTH, requires_grad=True)
    (OPTIONS[name](x) * torch.randn(2, 100, WIDTH)).sum().backward()
    assert x.grad.abs().min() > 0
    assert all(p.grad.abs().sum() > 0 for p in OPTIONS[name].parameters())
    OPTIONS[name].zero_grad()


class Together(nn.Module):
    """All options as one graph: one export in place of fourteen."""

    def __init__(self) -> None:
        super().__init__()
        self.options = nn.ModuleList(finalised(option) for option in OPTIONS.values())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(option(x) for option in self.options)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From an example no longer than a window or a chunk, at which blocks have only one of them."""
    path = tmp_path_factory.mktemp("onnx") / "options.onnx"
    export_onnx(
        Together(),
        (torch.randn(1, 32, WIDTH),),
        path,
        dynamic={0: "batch", 1: "length"},
        input_names=["x"],
        output_names=list(OPTIONS),
    )
    return path


exporting = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


@exporting
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 33), (3, 129)])
def test_onnx_runtime_agrees_at_other_sizes(exported: Path, batch: int, length: int) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    x = torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(length))
    with torch.no_grad():
        expected = Together().eval()(x)
    for name, ours, theirs in zip(OPTIONS, expected, session.run(None, {"x": x.numpy()}), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-4, rtol=0, err_msg=name)


@exporting
def test_exported_file_holds_the_zeros_of_sparse_weights(exported: Path) -> None:
    initialisers = [onnx.numpy_helper.to_array(i) for i in onnx.load(exported).graph.initializer]
    half_zero = sorted(a.shape for a in initialisers if np.count_nonzero(a) * 2 == a.size and a.size > 10_000)
    assert half_zero in ([(64, 256), (512, 64)], [(64, 512), (256, 64)])  # as stored, or transposed


def test_network_reads_tokens_and_gives_logits() -> None:
    space = hybrid_lm(layers=2, width=16, heads=2, vocabulary=50)
    uniform = Architecture(
        {f"layers.{i}.{part}": "skip" for i in range(2) for part in ("mixer", "feedforward")}
    )
    (tokens,) = space.example_inputs(3, 7)
    assert tokens.dtype == torch.int64
    assert int(tokens.max()) < 50
    assert select(space.network, uniform)(tokens).shape == (3, 7, 50)
    captured = capture_inputs(space.network, space.example_inputs(2, 5))
    assert list(captured) == [
        "layers.0.mixer",
        "layers.0.feedforward",
        "layers.1.mixer",
        "layers.1.feedforward",
    ]
    assert all(inputs[0].shape == (2, 5, 16) for inputs in captured.values())


def test_examples_are_text_and_fixed() -> None:
    space = hybrid_lm(layers=1)
    (tokens,) = space.example_inputs(2, 1000)
    text = bytes(tokens[0].tolist()).decode()
    assert "def mean(values" in text
    assert torch.equal(tokens, *space.example_inputs(2, 1000))
    assert not torch.equal(*tokens)


def test_weights_come_from_the_seed_alone_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    first = hybrid_lm(layers=1, seed=3).network.state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    again, other = (hybrid_lm(layers=1, seed=seed).network.state_dict() for seed in (3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_untrained_networks_predict_nearly_evenly_at_any_depth() -> None:
    space = hybrid_lm()
    for mixer, feedforward in (("skip", "skip"), ("attention", "swiglu_4x"), ("convolution", "moe")):
        decisions = {
            path: mixer if path.endswith("mixer") else feedforward for path in choices(space.network)
        }
        network = select(space.network, Architecture(decisions))
        logits = network(*space.example_inputs(2, 64))
        assert logits.std() < 0.5


@pytest.mark.parametrize("sizes", [{"layers": 0}, {"vocabulary": 257}, {"vocabulary": 0}, {"heads": 5}])
def test_sizes_that_do_not_fit(sizes: dict[str, int]) -> None:
    with pytest.raises(SearchSpaceError, match=str(next(iter(sizes.values())))):
        hybrid_lm(**sizes)


def test_the_reference_is_a_stack_of_every_depth() -> None:
    space = hybrid_lm(layers=3, width=WIDTH, heads=2)
    for depth, architecture in enumerate(space.references["LLaMA-like"], start=1):
        kinds = [type(module).__name__ for module in select(space.network, architecture).modules()]
        assert (kinds.count("Attention"), kinds.count("SwiGLU"), kinds.count("Identity")) == (
            *(depth, depth, 2 * (3 - depth)),
        )
    with pytest.raises(SearchSpaceError, match="no choice 'layers"):
        replace(hybrid_lm(layers=2, width=WIDTH, heads=2), references=space.references)
