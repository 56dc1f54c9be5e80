"""Tells what memory one network takes in a runtime that does not tell itself, in a fresh process.

    python -m hw_cost_models.runtimes.growth SPEC.json

SPEC is that of the timing worker, the network in question last and the anchors before it: they make the
runtime load what it loads for any network. Two numbers are a line on the standard output: by how many bytes
the process is larger while the network runs than before the runtime had it, and the largest it has been.

The first counts activations, the code that the runtime makes for the network and the weights as it keeps
them, but neither the inputs nor, where it runs modules, the module: these are there before. It is what the
system accounts for, in pages, and some MB may be what the runtime had not needed for the anchors.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from hw_cost_models.errors import MeasurementError
from hw_cost_models.files import read_json
from hw_cost_models.runtimes import RUNTIMES
from hw_cost_models.runtimes.heap import give_back_large_blocks
from hw_cost_models.runtimes.resident import forget_peak, peak_resident_bytes, resident_bytes
from hw_cost_models.runtimes.worker import bind, read_networks


def main(spec_path: str) -> None:
    give_back_large_blocks()
    spec = read_json(Path(spec_path))
    try:
        runtime = RUNTIMES[spec["runtime"]](spec["provider"], spec["threads"])
        *anchors, network = read_networks(spec)
        for anchor in anchors:
            bind(runtime, *anchor)
        gc.collect()
        before = resident_bytes()
        bound = bind(runtime, *network)
    except MeasurementError as error:
        raise SystemExit(str(error)) from None
    loaded = peak_resident_bytes()
    forget_peak()
    for _ in range(2):
        bound.run()
    peak = peak_resident_bytes()
    print(peak - before, max(loaded, peak))


if __name__ == "__main__":
    main(sys.argv[1])
