"""Keys agree for equal structures and differ for everything that changes what is computed."""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hw_cost_models.structure import structure_key

if TYPE_CHECKING:
    from pathlib import Path

_X = torch.ones(2, 4)


@dataclass(frozen=True)
class _Config:
    size: int


class _Block(nn.Module):
    def __init__(self, **given: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        for name, value in given.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y


def test_weights_and_mode_do_not_matter() -> None:
    a, b = _Block(k=1), _Block(k=1).eval()
    assert structure_key(a, (_X,)) == structure_key(b, (_X * 2,)) == structure_key(copy.deepcopy(a), (_X,))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"k": 1}, {"k": 2}),
        ({"k": 1}, {"k": True}),
        ({"k": 1}, {"j": 1}),
        ({"k": (1, 2)}, {"k": (2, 1)}),
        ({"k": None}, {"k": "None"}),
        ({"f": F.gelu}, {"f": F.silu}),
        ({"c": _Config(1)}, {"c": _Config(2)}),
        ({"d": {"a": 1}}, {"d": {"a": 2}}),
        ({"t": torch.float32}, {"t": torch.float16}),
        ({"m": nn.ReLU()}, {"m": nn.GELU()}),
        ({"w": nn.Parameter(torch.ones(2))}, {"w": nn.Parameter(torch.ones(3))}),
        ({"w": torch.ones(2)}, {"w": torch.ones(3)}),
    ],
)
def test_what_is_set_matters(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert structure_key(_Block(**one), (_X,)) != structure_key(_Block(**other), (_X,))
    assert structure_key(_Block(**one), (_X,)) == structure_key(_Block(**one), (_X,))


def test_inputs_matter() -> None:
    block, other = _Block(), torch.ones(2, 4)
    keys = [(_X,), (torch.ones(3, 4),), (_X.double(),), (_X, _X), (_X, other)]
    assert len({structure_key(block, inputs) for inputs in keys}) == len(keys)


_SOURCE = """
from torch import nn
def half(x): return x / 2
class Block(nn.Module):
    def forward(self, x): return half(x)
"""


def test_the_source_matters_and_its_helpers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for number, source in enumerate([_SOURCE, _SOURCE, _SOURCE.replace("x / 2", "x * 0.5")]):
        path = tmp_path / f"{number}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location("blocks", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "blocks", module)
        spec.loader.exec_module(module)
        keys.append(structure_key(module.Block(), (_X,)))
    assert keys[0] == keys[1] != keys[2]


def test_a_class_from_a_prompt_has_a_key_of_its_code() -> None:
    def define(body: str) -> nn.Module:
        scope: dict[str, Any] = {"nn": nn, "__name__": "nowhere"}
        exec(f"class P(nn.Module):\n    def forward(self, x): return {body}", scope)
        module: nn.Module = scope["P"]()
        return module

    assert structure_key(define("x + 1"), (_X,)) == structure_key(define("x + 1"), (_X,))
    assert structure_key(define("x + 1"), (_X,)) != structure_key(define("x + 2"), (_X,))
    assert structure_key(define("x.sin()"), (_X,)) != structure_key(define("x.cos()"), (_X,))


def test_the_key_is_the_same_in_another_process() -> None:
    code = (
        "import torch; from torch import nn; from hw_cost_models.structure import structure_key;"
        "print(structure_key(nn.Sequential(nn.Linear(4, 4), nn.GELU()), (torch.ones(2, 4),)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == structure_key(nn.Sequential(nn.Linear(4, 4), nn.GELU()), (_X,))
