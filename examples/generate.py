"""Text from an exported language model, with onnxruntime and numpy alone.

    nas export runs/demo --out model.onnx      # writes model-prefill.onnx and model-decode.onnx beside it
    python examples/generate.py model "def main("

The prompt is read in one go by the prefill file; its state, `present.*`, goes into the decode file as
`past_key_values.*`, which takes one token after another.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterator


def logits_of(model: str, prompt: list[int], tokens: int, pick: Pick) -> Iterator[tuple[int, np.ndarray]]:
    """Each new token, and the logits (vocabulary,) it was picked from."""
    prefill = onnxruntime.InferenceSession(f"{model}-prefill.onnx")
    decode = onnxruntime.InferenceSession(f"{model}-decode.onnx")
    names = [value.name for value in decode.get_inputs()]
    logits, *state = prefill.run(None, {"input_ids": np.array([prompt], np.int64)})
    for _ in range(tokens):
        token = pick(logits[0, -1])
        yield token, logits[0, -1]
        fed = [np.array([[token]], np.int64), *state]
        logits, *state = decode.run(None, dict(zip(names, fed, strict=True)))


class Pick:
    """A token from logits: the likeliest at temperature 0, else drawn."""

    def __init__(self, temperature: float, seed: int = 0) -> None:
        self.temperature = temperature
        self.random = np.random.default_rng(seed)

    def __call__(self, logits: np.ndarray) -> int:
        if self.temperature == 0:
            return int(logits.argmax())
        scaled = np.exp((logits - logits.max()).astype(np.float64) / self.temperature)
        return int(self.random.choice(len(logits), p=scaled / scaled.sum()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="the path that both files begin with")
    parser.add_argument("prompt")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.8)
    chosen = parser.parse_args()
    print(chosen.prompt, end="")
    prompt = list(chosen.prompt.encode())
    for token, _ in logits_of(chosen.model, prompt, chosen.tokens, Pick(chosen.temperature)):
        print(bytes([token]).decode(errors="replace"), end="", flush=True)
    print()
