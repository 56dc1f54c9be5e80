"""Makes a measuring kit: ONNX files, their inputs, a manifest and the script that measures them, in one zip.

The kit carries the source of that script as it is: what runs there is what is tested here.
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hw_cost_models.anchors import write_anchors
from hw_cost_models.export import feeds
from hw_cost_models.files import digest, write_atomic
from hw_cost_models.kit.archive import files_in, zip_folder
from hw_cost_models.kit.board.manifest import Manifest, Network
from hw_cost_models.kit.sources import PACKAGE, SCRIPT, sources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hw_cost_models.cost import Item, Kind, Workload
    from hw_cost_models.latency_table import Export
    from hw_cost_models.runtimes.runtime import Feed

_README = """\
Measuring kit for {space} ({workloads}).

Copy this folder to the device, with Python 3.9 or newer, onnxruntime and numpy installed, and run

    python measure.py --threads 4

with as many threads as the network will have. It times {networks} networks against each other, prints how far
it is, and writes latency.json; stopped, killed or unplugged, it goes on when it is run again. Let nothing
else run meanwhile. Then, where the kit was made, search with `nas search --device latency.json`, copy the
run's winner.onnx here (where the search limits decoding, the file that `nas kit pack RUN` writes), run
`python measure.py --verify winner.onnx`, and close the run there with `nas kit verify RUN verification.json`.
"""


def make_kit(
    items: Mapping[str, Item],
    reference: Mapping[Kind, Mapping[str, str]],
    path: Path,
    *,
    export: Export,
    space: str,
    workloads: Sequence[Workload],
) -> Manifest:
    """Write a kit of these networks, given by structure key, as the zip file `path`.

    `reference` names those that ride in every verification of a workload, and gives their keys; `export`
    writes the ONNX files; `space` is what the networks are parts of. Raises HardwareCostError when a network
    cannot be exported, OSError when the file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="dnas-kit-") as name:
        folder = Path(name)
        for part in ("models", "inputs", "anchors"):
            (folder / part).mkdir()
        files = export(items, folder / "models")
        networks = {key: _network(folder, file, feeds(file, items[key][1])) for key, file in files.items()}
        anchors = {
            anchor: _network(folder, file, feed)
            for anchor, (file, feed) in write_anchors(folder / "anchors").items()
        }
        _write_sources(folder)
        manifest = Manifest(
            space=space,
            workloads={workload.kind: asdict(workload) for workload in workloads},
            versions={"torch": torch.__version__},
            networks=networks,
            anchors=anchors,
            reference={kind: dict(keys) for kind, keys in reference.items()},
            files={file: digest((folder / file).read_bytes()) for file in files_in(folder)},
        )
        manifest.write(folder)
        _write_readme(manifest, workloads, folder)
        zip_folder(folder, path, f"{path.stem}/")
    return manifest


def _network(folder: Path, model: Path, feed: Feed) -> Network:
    """The network's entry; equal inputs are one file."""
    buffer = io.BytesIO()
    np.savez(buffer, **feed)  # type: ignore[arg-type]  # numpy's own flag stands among these keywords
    inputs = folder / "inputs" / f"{digest(buffer.getvalue())[:16]}.npz"
    write_atomic(inputs, buffer.getvalue())
    return Network(model.relative_to(folder).as_posix(), inputs.relative_to(folder).as_posix())


def _write_readme(manifest: Manifest, workloads: Sequence[Workload], folder: Path) -> None:
    count = len(manifest.networks) + len(manifest.anchors)
    told = "; ".join(map(str, workloads))
    readme = _README.format(space=manifest.space, workloads=told, networks=count)
    (folder / "README.txt").write_text(readme, encoding="utf-8")


def _write_sources(folder: Path) -> None:
    for name in sources():
        copy = folder / PACKAGE.name / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((PACKAGE / name).read_bytes())
        for package in (copy.parent, *copy.parent.parents):
            if package == folder:
                break
            (package / "__init__.py").touch()
    (folder / Path(SCRIPT).name).write_bytes((PACKAGE / SCRIPT).read_bytes())
