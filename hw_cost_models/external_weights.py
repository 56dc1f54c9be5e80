"""Weights in a file of their own beside the ONNX file, from which a runtime maps them into memory.

ONNX Runtime packs weights for its matrix kernels and then drops what it read from the file, but the heap of
a process keeps the pages: weights inside the file count twice at the peak, weights beside it once, at the
same speed. `session.disable_prepacking`, the runtime's own way out, saves no more, is slower by up to a third
and no file can carry it. Measured by `benchmarks/memory_prepacking.py`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

WORTH_IT = 16_000_000
"""Bytes of weights below which the runtime itself is larger than what is saved."""


def move_weights_beside(path: Path) -> Path | None:
    """Rewrites the ONNX file without its weights, and writes them to `<path>.data`, which is returned.

    None, and nothing is written, where no weight is of a kilobyte or more. The weights are in place before
    the file that names them is.
    """
    import onnx

    model, beside = onnx.load(path), path.with_name(f"{path.name}.data")
    with tempfile.TemporaryDirectory(prefix=".dnas-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        onnx.save(model, draft, save_as_external_data=True, location=beside.name)
        weights = draft.with_name(beside.name)
        if not weights.exists():
            return None
        os.replace(weights, beside)
        os.replace(draft, path)
    return beside


def weight_bytes_inside(path: Path) -> int:
    """Bytes of the weights that an ONNX file holds itself."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return sum(tensor.ByteSize() for tensor in graph.initializer if not tensor.external_data)
