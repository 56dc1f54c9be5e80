"""Fresh processes that measure: what they are told, how they are fed, and what they answer."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from hw_cost_models.errors import MeasurementError
from hw_cost_models.files import read_json, write_json
from hw_cost_models.runtimes import RUNTIMES
from hw_cost_models.runtimes.pytorch import write_items

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hw_cost_models.device import Device

_PACKAGES = Path(__file__).parent.parent.parent
_EXTENDED = re.compile(r"Extended allocation by (\d+) bytes")


@dataclass(frozen=True)
class Network:
    """What a process is to run."""

    name: str
    """What messages call it."""
    model: Any
    """The path of an ONNX file, or a module."""
    inputs: Any
    """A Feed, or a tuple of tensors."""


def time_networks(
    networks: Sequence[Network], device: Device, rounds: int, seed: int, finished: Callable[[int], None]
) -> dict[str, Any]:
    """What the worker answers: `timings` and `elsewhere` in the order of the networks, and `version`.

    `finished` is told the rounds done. Raises MeasurementError when the process dies.
    """
    with tempfile.TemporaryDirectory(prefix="dnas-process-") as folder:
        result = Path(folder) / "result.json"
        order = {"rounds": rounds, "seed": seed, "result": str(result)}
        _converse("worker", networks, device, order, Path(folder), lambda line: finished(int(line)))
        return read_json(result)


def growth_and_resident(network: Network, anchors: Sequence[Network], device: Device) -> tuple[int, int]:
    """By how many bytes a process grows for the network, and its largest resident size; see `growth`."""
    heard: list[str] = []
    with tempfile.TemporaryDirectory(prefix="dnas-process-") as folder:
        _converse("growth", [*anchors, network], device, {}, Path(folder), heard.append)
    growth, resident = heard[-1].split()
    return int(growth), int(resident)


def arena_and_resident(network: Network, threads: int) -> tuple[int, int]:
    """Bytes that ONNX Runtime's arena grows to on the CPU, weights apart, and the largest resident size."""
    with tempfile.TemporaryDirectory(prefix="dnas-process-") as folder:
        inputs = _save(network.inputs, Path(folder) / "inputs.npz")
        arguments = [str(network.model), inputs, str(threads)]
        with _start("onnxruntime_memory", arguments, subprocess.PIPE) as worker:
            output, log = worker.communicate()
    if worker.returncode != 0:
        reason = _last_line(log, worker.returncode)
        raise MeasurementError(f"{network.name}: its memory cannot be read: {reason}")
    return sum(int(size) for size in _EXTENDED.findall(log.decode(errors="replace"))), int(output)


def _converse(
    module: str,
    networks: Sequence[Network],
    device: Device,
    order: dict[str, Any],
    folder: Path,
    hear: Callable[[str], None],
) -> None:
    """Run the module to its end, telling each line of its standard output."""
    modules = RUNTIMES[device.runtime].takes_modules
    spec = {
        **order,
        **{"runtime": device.runtime, "provider": device.provider, "threads": device.threads},
        "names": [network.name for network in networks],
        "networks": None if modules else _files(networks, folder),
    }
    write_json(folder / "spec.json", spec)
    with (
        (folder / "stderr").open("w+b") as errors,
        _start(module, [str(folder / "spec.json")], errors) as worker,
    ):
        try:
            assert worker.stdin is not None
            assert worker.stdout is not None
            if modules:
                _hand_over(networks, worker.stdin)
            for line in worker.stdout:
                hear(line.decode())
        except BaseException:
            worker.kill()
            raise
        if worker.wait() != 0:
            errors.seek(0)
            reason = _last_line(errors.read(), worker.returncode)
            raise MeasurementError(f"the measuring process died: {reason}")


def _hand_over(networks: Sequence[Network], stream: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # it has died before it was told all, and says why elsewhere
        write_items(stream, {network.name: (network.model, network.inputs) for network in networks})
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def _files(networks: Sequence[Network], folder: Path) -> list[tuple[str, str]]:
    return [
        (str(Path(network.model).resolve()), _save(network.inputs, folder / f"{number}.npz"))
        for number, network in enumerate(networks)
    ]


def _save(inputs: Any, path: Path) -> str:
    np.savez(path, **inputs)
    return str(path)


def _start(module: str, arguments: list[str], errors: Any) -> subprocess.Popen[bytes]:
    """A fresh Python that finds packages where this process found them."""
    path = [str(_PACKAGES), *(str(Path(entry).resolve()) for entry in sys.path)]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", f"hw_cost_models.runtimes.{module}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )


def _last_line(log: bytes, code: int) -> str:
    lines = log.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"no word, exit code {code}"
