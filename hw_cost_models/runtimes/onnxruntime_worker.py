"""Times ONNX files against each other in a fresh process.

    python -m hw_cost_models.runtimes.onnxruntime_worker SPEC.json

SPEC is a sealed JSON object: `networks` (pairs of an ONNX file and an .npz of its inputs by name), `rounds`,
`threads`, `seed`, `provider`, and `result`, the file to write. Each finished round is a line on the standard
output.

Every round visits every network once, in random order, so that whatever disturbs the machine disturbs all
alike. A visit runs once untimed, because the networks before have taken the caches, then several times by
the clock. (On 2 shared cores, between 8 fresh processes of 25 rounds, the first runs of the visits differ by
5-7 % at their 10th percentile; with a run ahead of them, three timed runs a visit differ by 0.4 % at the 10th
percentile and 2-5 % at the median, with and without two busy neighbours.)
"""

from __future__ import annotations

import gc
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from hw_cost_models.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

_VISIT_MS = 10.0
"""How long the timed runs of a visit should take together; they are one at least and five at most."""
_NETWORK_MS = 5000.0
"""What a network may take over all rounds; a slower one sits rounds out, down to the fewest visits."""
_FEWEST_VISITS = 7


def open_session(path: str, provider: str, threads: int) -> ort.InferenceSession:
    """A session as it is always measured: that many threads, operators one after the other."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=[provider])


def interleaved(
    runs: list[Callable[[], object]],
    rounds: int,
    seed: int,
    finished: Callable[[int], None],
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> list[list[list[float]]]:
    """The times in milliseconds: one list a network, one list a visit, one figure a timed run."""
    rng = random.Random(seed)
    warm = [_warm_up(run, clock_ns) for run in runs]
    repeats = [min(5, max(1, round(_VISIT_MS / ms))) for ms in warm]
    visits = [
        min(rounds, max(_FEWEST_VISITS, int(_NETWORK_MS / (ms * (1 + count)))))
        for ms, count in zip(warm, repeats, strict=True)
    ]
    samples: list[list[list[float]]] = [[] for _ in runs]
    for number in range(rounds):
        # A network with fewer visits than rounds has them spread evenly over the whole measurement.
        due = [
            i for i in range(len(runs)) if (number + 1) * visits[i] // rounds > number * visits[i] // rounds
        ]
        rng.shuffle(due)
        for i in due:
            runs[i]()
            samples[i].append([_milliseconds(runs[i], clock_ns) for _ in range(repeats[i])])
        finished(number + 1)
    return samples


def _warm_up(run: Callable[[], object], clock_ns: Callable[[], int]) -> float:
    """Let the runtime plan its memory, then say roughly how long a run takes."""
    run()
    return max(min(_milliseconds(run, clock_ns) for _ in range(2)), 1e-6)


def _milliseconds(run: Callable[[], object], clock_ns: Callable[[], int]) -> float:
    start = clock_ns()
    run()
    return (clock_ns() - start) / 1e6


def _summary(visits: list[list[float]]) -> dict[str, float]:
    p10, p50, p95 = np.percentile([ms for visit in visits for ms in visit], [10, 50, 95])
    return {"p10_ms": float(p10), "p50_ms": float(p50), "p95_ms": float(p95), "rounds": len(visits)}


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
    write_json(Path(spec["result"]), {"timings": [_summary(s) for s in samples], "runtime": runtime})


if __name__ == "__main__":
    main(sys.argv[1])
