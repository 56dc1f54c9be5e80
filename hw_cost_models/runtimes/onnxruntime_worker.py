"""Times ONNX files against each other in a fresh process.

    python -m hw_cost_models.runtimes.onnxruntime_worker SPEC.json

SPEC is a sealed JSON object: `networks` (pairs of an ONNX file and an .npz of its inputs by name), `rounds`,
`threads`, `seed`, `provider`, and `result`, the file to write. Each finished round is a line on the standard
output.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from hw_cost_models.files import read_json, write_json
from hw_cost_models.runtimes.interleaved import interleaved, summary

if TYPE_CHECKING:
    from collections.abc import Callable


def open_session(path: str, provider: str, threads: int) -> ort.InferenceSession:
    """A session as it is always measured: that many threads, operators one after the other."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=[provider])


def _bound(path: str, inputs: str, spec: dict[str, Any]) -> Callable[[], object]:
    with np.load(inputs, allow_pickle=False) as arrays:
        feed = dict(arrays)
    try:
        session = open_session(path, spec["provider"], spec["threads"])
        session.run(None, feed)
    except Exception as error:  # the runtime has an exception for each of its status codes, without a root
        raise SystemExit(f"{path} does not run: {' '.join(str(error).split())}") from None
    return lambda: session.run(None, feed)


def main(spec_path: str) -> None:
    spec = read_json(Path(spec_path))
    if spec["provider"] not in ort.get_available_providers():
        available = ", ".join(ort.get_available_providers())
        raise SystemExit(f"this ONNX Runtime has no {spec['provider']}; it has {available}")
    runs = [_bound(path, inputs, spec) for path, inputs in spec["networks"]]
    gc.disable()
    samples = interleaved(runs, spec["rounds"], spec["seed"], lambda number: print(number, flush=True))
    runtime = {"name": "onnxruntime", "version": ort.__version__}
    write_json(Path(spec["result"]), {"timings": [summary(s) for s in samples], "runtime": runtime})


if __name__ == "__main__":
    main(sys.argv[1])
