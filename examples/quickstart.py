"""A search from Python: from a budget to an ONNX file that was measured to fit it."""

from pathlib import Path

import onnxruntime

import nas
from search_spaces import ByteText, hybrid_lm

result = nas.search(
    hybrid_lm(layers=4, width=64),
    ByteText(),  # or ByteText(Path("my_texts")), or anything with the methods of search_spaces.Task
    Path("runs/python"),
    budget=nas.Budget(latency_ms=20, memory_mb=40),
    preset="quick",
)
print(result.verdict, result.summary["measured"])
print(dict(result.architecture))

session = onnxruntime.InferenceSession(result.onnx)  # int64 tokens (batch, length) -> logits
(logits,) = session.run(None, {"input_ids": [list(b"def main(")]})
print(bytes([int(logits[0, -1].argmax())]), "comes next; the page is", result.report)
