"""What ONNX Runtime's packed weights cost in memory, and what a file or a process can do about it.

    python benchmarks/memory_prepacking.py

Fresh processes with a session as everybody makes it, but for one thread: as it is, without packing
(`session.disable_prepacking`), with a heap that gives back what is freed, and with the weights in a file
beside the model, from which they are mapped into memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import save
from memory_networks import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = ("mlp 1024 x 8, batch 64", "mlp 2048 x 6, batch 512", "transformer 768 x 6, 1 x 256")
_WAYS = {
    "as it is": {},
    "not packed": {"packed": False},
    "heap gives back": {"heap": True},
    "weights beside": {"beside": True},
    "weights beside, not packed": {"beside": True, "packed": False},
}


def measured(model: Path, inputs: Path, packed: bool = True, heap: bool = False) -> dict[str, float]:
    """In a process of its own; see `child`."""
    order = [str(model), str(inputs), *(["packed"] if packed else []), *(["heap"] if heap else [])]
    answer = subprocess.run([sys.executable, __file__, *order], check=True, stdout=subprocess.PIPE).stdout
    return dict(json.loads(answer))


def child(model: str, inputs: str, flags: list[str]) -> None:
    """Print by how many MB this process grows at most, what part of it is mapped files, and the latency."""
    from time import perf_counter

    import onnxruntime as ort

    from hw_cost_models.runtimes.heap import give_back_large_blocks
    from hw_cost_models.runtimes.resident import forget_peak, peak_resident_bytes, resident_bytes

    if "heap" in flags:
        give_back_large_blocks()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "0" if "packed" in flags else "1")
    with np.load(inputs) as arrays:
        feed = dict(arrays)
    before, files = resident_bytes(), _mapped_bytes()
    forget_peak()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, feed)
    times = []
    for _ in range(15):
        start = perf_counter()
        session.run(None, feed)
        times.append(perf_counter() - start)
    grown = {"peak": peak_resident_bytes() - before, "mapped": _mapped_bytes() - files}
    figures = {**{f"{key}_mb": size / 1e6 for key, size in grown.items()}, "fastest_ms": min(times) * 1e3}
    print(json.dumps(figures))


def _mapped_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))


def compare(name: str, folder: Path) -> dict[str, Mapping[str, float]]:
    import onnx

    from hw_cost_models.eager_peak import weight_bytes
    from hw_cost_models.export import export_onnx, feeds

    module, inputs = NETWORKS[name]()
    whole, beside, arrays = (folder / file for file in ("whole.onnx", "beside.onnx", "inputs.npz"))
    names = {"input_names": ["input"], "output_names": ["output"]}
    export_onnx(module, inputs, whole, dynamic={0: "batch"}, **names)
    onnx.save(onnx.load(whole), beside, save_as_external_data=True, location="beside.weights")
    np.savez(arrays, **feeds(whole, inputs))
    print(f"\n{name}: weights of {weight_bytes(module) / 1e6:.1f} MB", flush=True)
    figures = {}
    for way, options in _WAYS.items():
        model = beside if options.get("beside") else whole
        flags = {key: value for key, value in options.items() if key != "beside"}
        figures[way] = found = measured(model, arrays, **flags)
        print(
            f"  {way:28} peak {found['peak_mb']:7.1f} MB, of it mapped files {found['mapped_mb']:6.1f}"
            f"   {found['fastest_ms']:6.1f} ms",
            flush=True,
        )
    return figures


def main() -> None:
    results = {}
    for name in _NAMES:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = compare(name, Path(folder))
    save("memory_prepacking", results)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(sys.argv[1], sys.argv[2], sys.argv[3:])
    else:
        main()
