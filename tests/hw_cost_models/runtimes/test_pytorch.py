"""How modules reach the measuring process, and what PyTorch would do without a word."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.device import load_device
from hw_cost_models.errors import MeasurementError
from hw_cost_models.measure import measure
from hw_cost_models.runtimes.pytorch import PyTorch, read_items, write_items

_ROOT = Path(__file__).parents[3]
_EAGER = load_device("local").with_runtime("pytorch")

_SCRIPT = """
import torch
from torch import nn
from hw_cost_models import load_device
from hw_cost_models.measure import measure

class OfAScript(nn.Module):
    def __init__(self):
        super().__init__()
        self.double = lambda x: 2 * x

    def forward(self, x):
        return self.double(x)

device = load_device("local").with_runtime("pytorch")
found = measure({"net": (OfAScript(), (torch.ones(3),))}, {}, device, rounds=1, seed=0)
print(found.timings["net"].p50_ms > 0)
"""


class Dropping(nn.Module):
    """Half of its input is lost, in training; it returns a nesting of what it got."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, list[Tensor]]]:
        return self.drop(x), {"state": [x + 1, x + 2]}


class Killed(nn.Module):
    """Its process is killed when it runs."""

    def forward(self, x: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return x


class Locked(nn.Module):
    """It cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def test_it_runs_in_evaluation_and_gives_nested_outputs() -> None:
    x = torch.ones(100)
    outputs = PyTorch("cpu", 1).bind(Dropping().train(), (x,)).run()
    assert [float(y.mean()) for y in outputs] == [1, 2, 3]
    assert not any(y.requires_grad for y in outputs)


def test_items_survive_the_pipe() -> None:
    pipe = io.BytesIO()
    items = {"a": (nn.Linear(3, 2), (torch.ones(1, 3),)), "b": (nn.ReLU(), (torch.zeros(2),))}
    write_items(pipe, items)
    pipe.seek(0)
    (linear, (ones,)), (relu, _) = read_items(pipe, list(items))
    assert torch.equal(linear(ones), items["a"][0](torch.ones(1, 3)))
    assert isinstance(relu, nn.ReLU)


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises(MeasurementError, match=r"net: Locked cannot be handed to .*lock") as caught:
        measure({"net": (Locked(), (torch.ones(3),))}, {}, _EAGER, rounds=1, seed=0)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_made_again_is_named() -> None:
    with pytest.raises(MeasurementError, match=r"net cannot be made again .*; its class must be importable"):
        read_items(io.BytesIO(b"cno_such_module\nNet\n."), ["net"])


def test_without_cloudpickle_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(MeasurementError, match=r"install the extra: pip install 'dnas\[pytorch\]'"):
        write_items(io.BytesIO(), {})
    assert measure({}, {}, load_device("local"), rounds=1, seed=0).anchors, "files need no such extra"


def test_a_script_may_define_what_it_measures(tmp_path: Path) -> None:
    """Without a guard around its code, and with a function that has no name."""
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_a_process_that_is_killed() -> None:
    with pytest.raises(MeasurementError, match=r"measuring process died: no word, exit code -9"):
        measure({"net": (Killed(), (torch.ones(3),))}, {}, _EAGER, rounds=1, seed=0)


def test_each_runtime_takes_its_own_kind_of_network(tmp_path: Path) -> None:
    """A pickle, of all files, is refused before anything reads it."""
    ran = tmp_path / "ran"
    evil = tmp_path / "evil.pt"
    evil.write_bytes(b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR.")
    with pytest.raises(MeasurementError, match=r"evil\.pt is a file, and pytorch runs modules"):
        measure({"net": evil}, {"net": {}}, _EAGER, rounds=1, seed=0)
    assert not ran.exists()
    with pytest.raises(MeasurementError, match="net is a module, and onnxruntime runs ONNX files"):
        measure({"net": (nn.ReLU(), (torch.ones(1),))}, {}, load_device("local"), rounds=1, seed=0)
