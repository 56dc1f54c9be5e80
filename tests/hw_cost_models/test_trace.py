"""Graphs, lifetimes and static costs, by hand and fake against real."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.errors import HardwareCostError, UnknownOperatorError
from hw_cost_models.graph import Storage
from hw_cost_models.trace import _record, static_cost, trace

_FLOAT = 4
_Items = dict[str, tuple[nn.Module, tuple[Tensor, ...]]]


def _summary(graph: nx.DiGraph) -> object:
    nodes = [(n["operator"], n["shapes"], n["dtypes"], n["flops"], n["free"]) for _, n in graph.nodes.data()]
    return nodes, sorted(graph.edges), sorted(map(repr, graph.graph["storages"]))


@pytest.mark.parametrize("name", ["gated", "attention", "lm", "convolution"])
def test_fake_and_real_tensors_agree(examples: _Items, name: str) -> None:
    vision = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    module, inputs = {**examples, "convolution": (vision, (torch.randn(1, 3, 8, 8),))}[name]
    real = _record(module, inputs, "error", None)
    assert _summary(trace(module, inputs)) == _summary(real)


def test_routing_is_traced_on_the_real_inputs(examples: _Items) -> None:
    torch.manual_seed(0)
    graph = trace(examples["routed"][0], (torch.randn(2, 8, 16),))
    products = [n["shapes"][0][0] for _, n in graph.nodes.data() if n["operator"] == "aten.addmm"]
    assert products[0] == 16
    assert sum(products[1:]) == 16, "each token goes to one expert"
    assert min(products[1:]) > 0


class _Chain(nn.Module):
    """(n, 8) -> (n, 32) -> (n, 4), and the input again at the end if asked."""

    def __init__(self, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.up = nn.Linear(8, 32, bias=False)
        self.down = nn.Linear(32, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(self.up(x).exp())
        return x + y if self.residual else y


@pytest.mark.parametrize(
    ("residual", "floats"),
    [
        (False, 32 + 32),  # the exponential and its input; x is gone
        (True, 8 + 32 + 32),  # x is needed at the end
    ],
)
def test_peak_of_a_chain_by_hand(residual: bool, floats: int) -> None:
    cost = static_cost(_Chain(residual), (torch.ones(5, 8),))
    assert cost.peak_activation_bytes == 5 * floats * _FLOAT
    assert cost.weight_bytes == 2 * 8 * 32 * _FLOAT
    assert cost.flops == 2 * 5 * 8 * 32 * 2 + 5 * 32 + residual * 5 * 8
    assert cost.latency_ms == 0


def test_views_share_the_storage_of_their_base() -> None:
    graph = trace(nn.Flatten(), (torch.ones(2, 3, 4),))
    assert graph.graph["storages"] == (Storage(bytes=24 * _FLOAT, born=-1, dies=1),)
    assert static_cost(nn.Identity(), (torch.ones(3),)).peak_activation_bytes == 3 * _FLOAT


def test_edges_follow_tensors_and_writes_in_place() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            y[:, 0].add_(1)
            return y.exp()

    graph = trace(InPlace(), (torch.ones(2, 2),))
    names = {step: node["operator"] for step, node in graph.nodes.data()}
    (mul,) = (s for s, n in names.items() if n == "aten.mul")
    (add,) = (s for s, n in names.items() if n == "aten.add_")
    (exp,) = (s for s, n in names.items() if n == "aten.exp")
    assert nx.is_directed_acyclic_graph(graph)
    assert nx.has_path(graph, mul, add)
    assert graph.has_edge(add, exp), "what changes a tensor in place comes before what reads it"


def test_what_depends_on_weights_alone_is_computed_beforehand() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            return x @ (self.weight * (self.weight > 0)).t()

        def nonzero_parameters(self) -> int:
            return 7

    cost = static_cost(nn.Sequential(Masked(), nn.Linear(8, 8)), (torch.ones(1, 8),))
    assert cost.flops == 2 * 2 * 8 * 8
    assert cost.peak_activation_bytes == 2 * 8 * _FLOAT
    assert cost.parameters == 7 + 8 * 8 + 8, "a module that knows better is asked"


def test_zeros_and_shared_parameters() -> None:
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight[0] = 0
    twin = nn.Linear(4, 4, bias=False)
    twin.weight = layer.weight
    cost = static_cost(nn.Sequential(layer, twin), (torch.ones(1, 4),))
    assert cost.parameters == 12
    assert cost.weight_bytes == 16 * _FLOAT


def test_a_traced_module_is_as_it_was() -> None:
    module = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4)).train()
    module[0].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    static_cost(module, (torch.randn(3, 4),))
    assert [part.training for part in module.modules()] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_node_says_what_it_is() -> None:
    layer = nn.Linear(8, 4, dtype=torch.float64)
    (view, product) = (n for _, n in trace(layer, (torch.ones(2, 8, dtype=torch.float64),)).nodes.data())
    assert view["free"]
    assert (view["kind"], view["launches"], view["flops"]) == ("movement", 0, 0)
    assert (product["operator"], product["kind"], product["launches"]) == ("aten.addmm", "matmul", 1)
    assert (product["dtype"], product["dtypes"], product["shapes"]) == ("float64", ["float64"], [(2, 4)])
    assert product["input_shapes"] == [(4,), (2, 8), (8, 4)]
    assert product["weight_bytes"] == (4 + 32) * 8
    assert product["bytes_read"] == (4 + 16 + 32) * 8
    assert product["covered"]


def test_weights_are_parameters_buffers_and_literals() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(8))
            self.plain = torch.ones(8)
            self.unused = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale * self.plain

    graph = trace(Net(), (torch.ones(2, 8),))
    assert graph.graph["weight_bytes"] == (8 + 3) * _FLOAT
    assert [n["weight_bytes"] for _, n in graph.nodes.data()] == [8 * _FLOAT, 8 * _FLOAT]
    assert graph.graph["coverage"] == 1


def test_masks_are_not_what_is_calculated_in() -> None:
    class Masked(nn.Module):
        def forward(self, mask: Tensor, x: Tensor) -> Tensor:
            return torch.where(mask, x, 0 * x)

    graph = trace(Masked(), (torch.ones(3, dtype=torch.bool), torch.ones(3, dtype=torch.float16)))
    assert {n["dtype"] for _, n in graph.nodes.data()} == {"float16"}


class _Eigenvalues(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvalsh(x) + 1


def test_an_unknown_operator_is_an_error_or_less_coverage() -> None:
    with pytest.raises(
        UnknownOperatorError, match=r"no formula for the operator aten\._linalg_eigh.*unknown="
    ):
        trace(_Eigenvalues(), (torch.eye(3),))
    graph = trace(_Eigenvalues(), (torch.eye(3),), unknown="skip")
    (unknown,) = (n for _, n in graph.nodes.data() if not n["covered"])
    assert (unknown["kind"], unknown["flops"]) == ("other", 0)
    assert unknown["bytes_read"] == 9 * _FLOAT
    assert graph.graph["coverage"] == 1 / 2


def test_inputs_that_do_not_fit_are_said_in_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        HardwareCostError, match=r"^Linear does not run on the inputs float32 \(2, 5\): .*2x5"
    ):
        trace(nn.Linear(3, 4), (torch.ones(2, 5),))
    with pytest.raises(HardwareCostError, match=r"does not run on the inputs none: .*missing 1 required"):
        trace(nn.Linear(3, 4), ())
    assert capfd.readouterr() == ("", "")


def test_a_layer_with_an_operator_of_its_own_is_taken_apart() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    before = torch.backends.mha.get_fastpath_enabled()
    kinds = {n["kind"] for _, n in trace(layer, (torch.ones(1, 4, 16),)).nodes.data()}
    assert {"attention", "matmul", "normalisation"} <= kinds
    assert torch.backends.mha.get_fastpath_enabled() == before
