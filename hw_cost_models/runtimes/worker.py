"""Times networks against each other in a fresh process, in one runtime.

    python -m hw_cost_models.runtimes.worker SPEC.json

SPEC is a sealed JSON object: `runtime`, `provider`, `threads`, `rounds`, `seed`, `names` (one a network),
`networks` (pairs of an ONNX file and an .npz of its inputs by name, or null where the runtime takes modules:
these come pickled on the standard input), and `result`, the file to write. Each finished round is a line on
the standard output.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_cost_models.errors import MeasurementError
from hw_cost_models.files import read_json, write_json
from hw_cost_models.runtimes import RUNTIMES
from hw_cost_models.runtimes.clocks import NANOSECONDS, waiting_ns
from hw_cost_models.runtimes.interleaved import interleaved, summary
from hw_cost_models.runtimes.pytorch import read_items

if TYPE_CHECKING:
    from hw_cost_models.runtimes.runtime import Bound, Feed, Runtime


def main(spec_path: str) -> None:
    spec = read_json(Path(spec_path))
    try:
        kind = RUNTIMES[spec["runtime"]]
        runtime = kind(spec["provider"], spec["threads"])
        bound = bind_all(runtime, spec["names"], spec["networks"])
    except MeasurementError as error:
        raise SystemExit(str(error)) from None
    gc.disable()
    before, start = waiting_ns(), time.perf_counter_ns()
    samples = interleaved(
        [network.run for network in bound],
        spec["rounds"],
        spec["seed"],
        lambda number: print(number, flush=True),
        NANOSECONDS[runtime.clock],
    )
    after, end = waiting_ns(), time.perf_counter_ns()
    answer = {
        "clock": runtime.clock,
        "waited": None if before is None or after is None else max(0, after - before) / (end - start),
        "timings": [summary(visits) for visits in samples],
        "elsewhere": [network.elsewhere for network in bound],
        "version": kind.version(),
    }
    write_json(Path(spec["result"]), answer)


def bind_all(runtime: Runtime, names: list[str], files: list[tuple[str, str]] | None) -> list[Bound]:
    """The networks of an order, ready to run; raises MeasurementError with the name of one that does not."""
    networks: list[tuple[Any, Any]]
    if files is None:
        networks = list(read_items(sys.stdin.buffer, names))
    else:
        networks = [(Path(file), _arrays(inputs)) for file, inputs in files]
    return [_bound(runtime, name, *network) for name, network in zip(names, networks, strict=True)]


def _arrays(path: str) -> Feed:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _bound(runtime: Runtime, name: str, network: Any, inputs: Any) -> Bound:
    try:
        return runtime.bind(network, inputs)
    except MeasurementError as error:
        raise MeasurementError(f"{name} does not run: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1])
