"""What can be named to be priced, and what is said of what cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from hw_cost_models.errors import SubjectError
from hw_cost_models.export import export_onnx
from hw_cost_models.subject import graph_of

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import torch
from torch import nn

def build():
    return nn.Linear(8, 4, bias=False), (torch.zeros(3, 8),)

def misfit():
    return nn.Linear(8, 4), (torch.zeros(3, 7),)

def half():
    return nn.Linear(8, 4)

def broken():
    return nn.Linear(8, "four")

value = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine_to_price.py").write_text(MODULE)
    (tmp_path / "needs_another.py").write_text("import torch\n\nimport no_such_module\n")
    (tmp_path / "half_written.py").write_text("def build(:\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _flops(target: str, **dimensions: int) -> float:
    return sum(flops for _, flops in graph_of(target, dimensions).nodes.data("flops"))


def test_a_function_in_the_current_folder(here: Path) -> None:
    assert _flops("mine_to_price:build") == 2 * 3 * 8 * 4


def test_a_file_with_its_free_dimensions_set(here: Path) -> None:
    network = nn.Linear(8, 4, bias=False)
    path = here / "network.onnx"
    export_onnx(
        network, (torch.zeros(2, 8),), path, dynamic={0: "batch"}, input_names=["x"], output_names=["y"]
    )
    assert _flops("network.onnx", batch=5) == 2 * 5 * 8 * 4
    with pytest.raises(SubjectError, match="batch"):
        graph_of("network.onnx", {})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SubjectError, match=r"network\.onnx"):
        graph_of("network.onnx", {"batch": 5})


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("absent.onnx", "absent.onnx cannot be read"),
        ("network.pt", "neither a file that ends in .onnx nor of the form module:function"),
        ("no_such_module:build", "no module 'no_such_module' in /.*: start where it can be imported"),
        ("torch.no_such:build", "no module 'torch.no_such' in /"),
        ("needs_another:build", r"No module named 'no_such_module' \(/.*needs_another\.py, line 3\)"),
        ("half_written:build", r"SyntaxError: .*half_written\.py, line 1\)"),
        (":build", "not of the form module:function"),
        ("mine_to_price:nothing", "has no function 'nothing'; it has build, misfit, half, broken"),
        ("mine_to_price:broken", r"TypeError: .*\(/.*mine_to_price\.py, line 15\)"),
        ("mine_to_price:value", "has no function 'value'"),
        ("mine_to_price:half", r"must return \(module, \(tensor, \.\.\.\)\), it returned Linear"),
        ("mine_to_price:misfit", r"does not run on the inputs float32 \(3, 7\)"),
    ],
)
def test_what_cannot_be_priced_is_said_in_one_line(here: Path, target: str, said: str) -> None:
    with pytest.raises(SubjectError, match=said) as caught:
        graph_of(target, {})
    assert "\n" not in str(caught.value)
