"""What is particular to hybrid-lm: what all spaces and options promise is in the conformance suites."""

from dataclasses import replace

import pytest
import torch

from search_spaces import Architecture, SearchSpaceError, capture_inputs, choices, hybrid_lm, select

WIDTH = 64


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
