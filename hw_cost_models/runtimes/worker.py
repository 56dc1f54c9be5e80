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
    from collections.abc import Mapping

    from hw_cost_models.runtimes.runtime import Bound, Feed, Runtime


def main(spec_path: str) -> None:
    spec = read_json(Path(spec_path))
    try:
        kind = RUNTIMES[spec["runtime"]]
        runtime = kind(spec["provider"], spec["threads"])
        bound = [bind(runtime, *network) for network in read_networks(spec)]
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
        "waited": None
        if before is None or after is None
        else max(0, after - before) / (spec["threads"] * (end - start)),
        "timings": [summary(visits) for visits in samples],
        "elsewhere": [network.elsewhere for network in bound],
        "version": kind.version(),
    }
    write_json(Path(spec["result"]), answer)


def read_networks(spec: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The networks of an order: their names, files or modules, and inputs."""
    if spec["networks"] is None:
        items = read_items(sys.stdin.buffer, spec["names"])
        return [(name, *item) for name, item in zip(spec["names"], items, strict=True)]
    return [
        (name, Path(file), _arrays(inputs))
        for name, (file, inputs) in zip(spec["names"], spec["networks"], strict=True)
    ]


def _arrays(path: str) -> Feed:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def bind(runtime: Runtime, name: str, network: Any, inputs: Any) -> Bound:
    """The network ready to run; raises MeasurementError with its name when it does not."""
    try:
        return runtime.bind(network, inputs)
    except MeasurementError as error:
        raise MeasurementError(f"{name} does not run: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1])
