"""Times a few networks against each other in a fresh process.

    python -m hw_cost_models.kit.board.timing SPEC.json

SPEC is a sealed JSON object: `networks` (name to an ONNX file and an .npz of its inputs), `provider`,
`threads`, `rounds`, `seed`, and `result`, the file to write. Each finished round is a line on the standard
output.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hw_cost_models.errors import MeasurementError
from hw_cost_models.files import read_json, write_json
from hw_cost_models.runtimes.clocks import NANOSECONDS, waiting_ns
from hw_cost_models.runtimes.interleaved import interleaved, summary
from hw_cost_models.runtimes.onnxruntime import OnnxRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hw_cost_models.runtimes.runtime import Bound


class Waiting:
    """How much of the time from now on this process's threads stand ready and have no core."""

    def __init__(self) -> None:
        self._began, self._before = time.perf_counter_ns(), waiting_ns()

    def share(self) -> float | None:
        """Seconds in each second; None where the system does not tell."""
        after = waiting_ns()
        if self._before is None or after is None:
            return None
        return max(0, after - self._before) / (time.perf_counter_ns() - self._began)


def bind_all(runtime: OnnxRuntime, networks: Mapping[str, tuple[Path, Path]]) -> dict[str, Bound]:
    """The networks ready to run; raises MeasurementError with the file of one that does not."""
    return {name: _bind(runtime, model, inputs) for name, (model, inputs) in networks.items()}


def _bind(runtime: OnnxRuntime, model: Path, inputs: Path) -> Bound:
    with np.load(inputs, allow_pickle=False) as arrays:
        feed = dict(arrays)
    try:
        return runtime.bind(model, feed)
    except MeasurementError as error:
        raise MeasurementError(f"{model} does not run: {error}") from None


def main(spec_path: str) -> None:
    spec = read_json(Path(spec_path))
    networks = {name: (Path(model), Path(inputs)) for name, (model, inputs) in spec["networks"].items()}
    try:
        runtime = OnnxRuntime(spec["provider"], spec["threads"])
        bound = bind_all(runtime, networks)
    except MeasurementError as error:
        raise SystemExit(str(error)) from None
    gc.disable()
    waiting = Waiting()
    runs: list[Callable[[], object]] = [network.run for network in bound.values()]
    samples = interleaved(
        runs,
        spec["rounds"],
        spec["seed"],
        lambda number: print(number, flush=True),
        NANOSECONDS[runtime.clock],
    )
    timings = {name: summary(visits) for name, visits in zip(bound, samples)}
    write_json(Path(spec["result"]), {"timings": timings, "waited": waiting.share()})


if __name__ == "__main__":
    main(sys.argv[1])
