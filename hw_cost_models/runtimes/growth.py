"""Tells what memory one network takes in a runtime that does not tell itself, in a fresh process.

    python -m hw_cost_models.runtimes.growth SPEC.json

SPEC is that of the timing worker, the network in question last and the anchors before it: they make the
runtime load what it loads for any network. Two numbers are a line on the standard output: by how many bytes
the process is larger while the network runs than before it was loaded, and the largest it has been.

The first counts weights, activations, the code that the runtime makes for the network and the copies it keeps
of weights. It is what the system accounts for, in pages, and memory that the anchors gave back may be used
again: of small networks, within some MB, it says nothing.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from hw_cost_models.errors import MeasurementError
from hw_cost_models.files import read_json
from hw_cost_models.runtimes import RUNTIMES
from hw_cost_models.runtimes.resident import forget_peak, peak_resident_bytes, resident_bytes
from hw_cost_models.runtimes.worker import bind_all


def main(spec_path: str) -> None:
    spec = read_json(Path(spec_path))
    names, files = spec["names"], spec["networks"]
    try:
        runtime = RUNTIMES[spec["runtime"]](spec["provider"], spec["threads"])
        anchors = bind_all(runtime, names[:-1], files and files[:-1])
        del anchors
        gc.collect()
        before = resident_bytes()
        (network,) = bind_all(runtime, names[-1:], files and files[-1:])
    except MeasurementError as error:
        raise SystemExit(str(error)) from None
    loaded = peak_resident_bytes()
    forget_peak()
    for _ in range(2):
        network.run()
    peak = peak_resident_bytes()
    print(peak - before, max(loaded, peak))


if __name__ == "__main__":
    main(sys.argv[1])
