"""Fresh processes on the board: one that times a few networks, one that tells the memory of one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_cost_models.errors import MeasurementError
from hw_cost_models.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ROOT = Path(__file__).resolve().parents[3]
_EXTENDED = re.compile(r"Extended allocation by (\d+) bytes")


def time_networks(
    networks: Mapping[str, tuple[Path, Path]],
    provider: str,
    threads: int,
    rounds: int,
    seed: int,
    finished: Callable[[int], None],
) -> dict[str, Any]:
    """What one fresh process measures of ONNX files with their .npz.

    `timings` are the fields of `hw_cost_models.Timing` by name, `waited` is the share of the time that others
    kept the process from a core, null if not told. `finished` is told the number of rounds done. Raises
    MeasurementError when the process dies.
    """
    with tempfile.TemporaryDirectory(prefix="kit-") as name:
        spec, result, errors = (Path(name) / part for part in ("spec.json", "result.json", "errors"))
        files = {network: [str(model), str(inputs)] for network, (model, inputs) in networks.items()}
        order = {"networks": files, "provider": provider, "threads": threads, "rounds": rounds, "seed": seed}
        write_json(spec, {**order, "result": str(result)})
        with errors.open("w+b") as log, _start("kit.board.timing", [str(spec)], log) as process:
            assert process.stdout is not None
            for line in process.stdout:
                finished(int(line))
            if process.wait() != 0:
                log.seek(0)
                raise MeasurementError(f"a measuring process died: {_last(log.read(), process.returncode)}")
            return read_json(result)


def memory_of(model: Path, inputs: Path, threads: int) -> dict[str, int]:
    """Arena and peak resident bytes of one file on the CPU, as `hw_cost_models.Measurement` defines them."""
    arguments = [str(model), str(inputs), str(threads)]
    with _start("runtimes.onnxruntime_memory", arguments, subprocess.PIPE) as process:
        output, log = process.communicate()
    if process.returncode != 0:
        raise MeasurementError(f"{model}: its memory cannot be read: {_last(log, process.returncode)}")
    arena = sum(int(size) for size in _EXTENDED.findall(log.decode(errors="replace")))
    return {"arena_bytes": arena, "resident_bytes": int(output)}


def _start(module: str, arguments: list[str], errors: Any) -> subprocess.Popen[bytes]:
    """A fresh Python that finds the kit's modules. One whose parent was killed ends at its next word."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", f"hw_cost_models.{module}", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": path},
    )


def _last(log: bytes, code: int) -> str:
    lines = log.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"no word, exit code {code}"
