"""What every runtime has to do, for each that is installed here."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.device import Runtime as RuntimeName
from hw_cost_models.device import load_device
from hw_cost_models.errors import MeasurementError
from hw_cost_models.export import export_onnx
from hw_cost_models.measure import measure
from hw_cost_models.runtimes import RUNTIMES

if TYPE_CHECKING:
    from hw_cost_models.device import Device
    from hw_cost_models.runtimes.runtime import Bound

# What torch.compile imports uses what torch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")

_THREADS = Path("/proc/self/task")


class Tagger(nn.Module):
    """Whole numbers and fractions in, two outputs: tokens and x to (scores, one sum a token)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32, 16)
        self.linear = nn.Linear(16, 8)

    def forward(self, tokens: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.tanh(self.linear(self.embedding(tokens) + x))
        return scores, scores.sum(-1)


def _installed() -> list[str]:
    names = []
    for name in RUNTIMES:
        try:
            RUNTIMES[name].version()
        except MeasurementError:
            continue
        names.append(name)
    return names


def _device(runtime: str) -> Device:
    return load_device("local").with_runtime(runtime)


def _inputs(batch: int, length: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(batch)
    tokens = torch.randint(0, 32, (batch, length), generator=generator)
    return tokens, torch.randn(batch, length, 16, generator=generator)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return Tagger().eval()


@pytest.fixture(scope="module")
def file(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tagger") / "tagger.onnx"
    free = {0: "batch", 1: "length"}
    export_onnx(
        module, _inputs(1, 6), path, dynamic=free, input_names=["tokens", "x"], output_names=["y", "z"]
    )
    return path


@pytest.fixture(params=_installed(), scope="module")
def name(request: pytest.FixtureRequest) -> str:
    runtime: str = request.param
    return runtime


def _bind(name: str, module: nn.Module, file: Path, inputs: tuple[Tensor, ...], threads: int = 1) -> Bound:
    runtime = RUNTIMES[name](_device(name).provider, threads)
    if runtime.takes_modules:
        return runtime.bind(copy.deepcopy(module), inputs)
    return runtime.bind(file, _feed(inputs))


def _feed(inputs: tuple[Tensor, ...]) -> dict[str, Any]:
    return {name: x.numpy() for name, x in zip(("tokens", "x"), inputs, strict=False)}


def test_a_device_can_name_each_of_them() -> None:
    assert get_args(RuntimeName) == tuple(RUNTIMES)


def test_outputs_are_those_of_the_module_at_any_length(name: str, module: nn.Module, file: Path) -> None:
    for batch, length in ((1, 6), (3, 9)):
        inputs = _inputs(batch, length)
        bound = _bind(name, module, file, inputs)
        with torch.inference_mode():
            expected = module(*inputs)
        for _ in range(2):
            outputs = bound.run()
            assert len(outputs) == 2
            for output, right in zip(outputs, expected, strict=True):
                np.testing.assert_allclose(np.asarray(output), right.numpy(), rtol=1e-4, atol=1e-5)
        assert bound.elsewhere == 0


class Wide(nn.Module):
    """Enough work that every thread of a runtime gets a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(512, 512, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    module, path = Wide().eval(), tmp_path_factory.mktemp("wide") / "wide.onnx"
    export_onnx(module, (torch.ones(512, 512),), path, dynamic={}, input_names=["tokens"], output_names=["y"])
    return module, path


@pytest.mark.alone
@pytest.mark.skipif(not _THREADS.exists(), reason="what each thread has done is told by Linux")
def test_it_computes_on_as_many_threads_as_it_is_told(name: str, wide: tuple[nn.Module, Path]) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            bound = _bind(name, *wide, (torch.ones(512, 512),), threads)
            seen = 0
            for _ in range(20):  # on a busy machine one thread may do it all for a while
                seen = max(seen, _busy_threads(bound))
                if seen >= 2:
                    break
            assert seen == threads
    finally:
        torch.set_num_threads(before)


def _busy_threads(bound: Bound) -> int:
    """The threads of this process that did a good part of ten runs."""
    start = _nanoseconds()
    for _ in range(10):
        bound.run()
    spent = {thread: time - start.get(thread, 0) for thread, time in _nanoseconds().items()}
    return sum(time > 0.1 * sum(spent.values()) for time in spent.values())


def _nanoseconds() -> dict[str, int]:
    """On a processor, by thread: the first number of its schedstat, see proc(5)."""
    return {path.name: int((path / "schedstat").read_text().split()[0]) for path in _THREADS.iterdir()}


@pytest.mark.parametrize(
    "change",
    [
        lambda tokens, x: (tokens, x[..., :7]),
        lambda tokens, x: (tokens.float(), x),
        lambda tokens, x: (tokens,),
    ],
    ids=["shape", "type", "one missing"],
)
def test_wrong_inputs_are_one_line(name: str, module: nn.Module, file: Path, change: Any) -> None:
    inputs = change(*_inputs(1, 6))
    runtime = RUNTIMES[name](_device(name).provider, 1)
    network, given = (copy.deepcopy(module), inputs) if runtime.takes_modules else (file, _feed(inputs))
    with pytest.raises(MeasurementError) as caught:
        runtime.bind(network, given)
    assert len(str(caught.value)) > 20
    assert "\n" not in str(caught.value)


def test_a_provider_that_is_not_there(name: str) -> None:
    with pytest.raises(MeasurementError, match=r"this [A-Z].*Frob.*; it has .*(CPU|cpu)") as caught:
        RUNTIMES[name]("Frob", 1)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path, name: str) -> None:
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"\x80\x05no model")
    for path in (garbage, tmp_path / "absent.onnx"):
        with pytest.raises(MeasurementError, match=path.name) as caught:
            measure({"a": path}, {"a": {}}, _device(name), rounds=1, seed=0)
        assert "\n" not in str(caught.value)


def test_a_measurement_says_in_what(name: str, module: nn.Module, file: Path) -> None:
    if name == "torch.compile":
        pytest.skip("compiling the anchors takes minutes")
    inputs = _inputs(1, 6)
    models: dict[str, Any] = {"net": (module, inputs) if RUNTIMES[name].takes_modules else file}
    found = measure(models, {"net": _feed(inputs)}, _device(name), rounds=2, seed=0, memory=["net"])
    assert found.runtime == {
        "name": name,
        "version": RUNTIMES[name].version(),
        "provider": _device(name).provider,
        "threads": 1,
    }
    assert found.timings["net"].p10_ms > 0
    weights = (32 * 16 + 16 * 8 + 8) * 4
    assert found.weight_bytes["net"] in (weights, weights + 8), "the exporter may keep the axis of a sum"
    assert found.resident_bytes["net"] > found.arena_bytes["net"] >= 0


def test_it_dies_with_the_measurement(name: str) -> None:
    if name == "torch.compile":
        pytest.skip("compiling the anchors takes minutes")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure({}, {}, _device(name), rounds=10_000, seed=0, progress=stop)
    assert not _workers()


def _workers() -> list[str]:
    """Measuring processes that this one has started, by their command."""
    commands = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
        if parent == os.getpid() and "hw_cost_models.runtimes" in command:
            commands.append(command)
    return commands
