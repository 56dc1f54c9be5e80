"""Lets ONNX Runtime tell, on the standard error, what memory one ONNX file takes.

    python -m hw_cost_models.runtimes.onnxruntime_memory MODEL.onnx INPUTS.npz THREADS

The arena grows by exactly what is asked for, in steps of 256 bytes (`kSameAsRequested`, no memory pattern,
one arena in a fresh process). By default it grows by powers of two from 1 MiB, which says little of a small
network. The runtime honours that strategy only for an allocator that is registered with its environment. Its
log has one line for each extension; the process ends by printing its peak resident size in bytes, the heap
giving back what is freed.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime as ort

from hw_cost_models.runtimes.heap import give_back_large_blocks
from hw_cost_models.runtimes.resident import forget_peak, peak_resident_bytes

_VERBOSE = 0
_SAME_AS_REQUESTED = 1


def main(model: str, inputs: str, threads: int) -> None:
    give_back_large_blocks()
    forget_peak()  # that of importing
    ort.set_default_logger_severity(_VERBOSE)
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    # A chunk is always split to size: no byte of it may lie idle beside the tensor that it holds.
    arena = ort.OrtArenaCfg({"arena_extend_strategy": _SAME_AS_REQUESTED, "max_dead_bytes_per_chunk": 1})
    ort.create_and_register_allocator_v2("CPUExecutionProvider", memory, {}, arena)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.use_env_allocators", "1")
    with np.load(inputs, allow_pickle=False) as arrays:
        feed = dict(arrays)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for _ in range(2):  # the second run must find room for everything, or the arena leaks
        session.run(None, feed)
    print(peak_resident_bytes())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
