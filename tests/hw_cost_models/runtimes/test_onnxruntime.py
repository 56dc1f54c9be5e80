"""Where ONNX Runtime would fall back to the CPU without a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import onnxruntime as ort
import pytest

from hw_cost_models.anchors import write_anchors
from hw_cost_models.device import load_device
from hw_cost_models.errors import MeasurementError
from hw_cost_models.measure import measure
from hw_cost_models.runtimes.onnxruntime import OnnxRuntime

if TYPE_CHECKING:
    from pathlib import Path

_AZURE = "AzureExecutionProvider"  # in many builds; it runs custom operators only


@dataclass
class _Part:
    ep_name: str
    nodes: int

    def get_nodes(self) -> list[None]:
        return [None] * self.nodes


class _Session:
    """What a session says of itself where a provider is there, in whole or in part."""

    asked: ClassVar[list[Any]] = []
    providers: tuple[str, ...] = ("CUDAExecutionProvider", "CPUExecutionProvider")
    parts: tuple[_Part, ...] = (_Part("CUDAExecutionProvider", 3), _Part("CPUExecutionProvider", 1))

    def __init__(self, path: str, options: Any, providers: list[tuple[str, dict[str, str]]]) -> None:
        self.asked.append(providers)

    def run(self, outputs: None, feed: Any) -> list[Any]:
        return [np.zeros(1)]

    def get_providers(self) -> list[str]:
        return list(self.providers)

    def get_provider_graph_assignment_info(self) -> list[_Part]:
        return list(self.parts)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> OnnxRuntime:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", _Session)
    return OnnxRuntime("CUDAExecutionProvider", 1)


def test_operators_left_to_the_cpu_are_counted(cuda: OnnxRuntime, tmp_path: Path) -> None:
    assert cuda.bind(tmp_path / "net.onnx", {}).elsewhere == 0.25


def test_a_provider_with_threads_of_its_own_is_told_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "OpenVINOExecutionProvider"
    monkeypatch.setattr(ort, "get_available_providers", lambda: [name])
    monkeypatch.setattr(ort, "InferenceSession", _Session)
    monkeypatch.setattr(_Session, "providers", (name,))
    OnnxRuntime(name, 3).bind(tmp_path / "net.onnx", {})
    assert _Session.asked[-1] == [(name, {"num_of_threads": "3"})]


def test_a_provider_that_does_not_start(
    cuda: OnnxRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Session, "providers", ("CPUExecutionProvider",))
    with pytest.raises(MeasurementError, match="does not start here: it would run on CPUExecutionProvider"):
        cuda.bind(tmp_path / "net.onnx", {})


@pytest.mark.skipif(_AZURE not in ort.get_available_providers(), reason="this build has no such provider")
def test_a_network_that_would_run_on_the_cpu_alone(tmp_path: Path) -> None:
    path, feed = write_anchors(tmp_path)["matmul"]
    device = load_device("local").with_runtime("onnxruntime", _AZURE)
    with pytest.raises(MeasurementError, match=rf"net: {_AZURE} runs none of its operators"):
        measure({"net": path}, {"net": feed}, device, rounds=1, seed=0)
