"""Packs finished networks with their inputs into one file, for the board to verify."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hw_cost_models.export import feeds
from hw_cost_models.files import digest, write_json
from hw_cost_models.kit.archive import zip_folder
from hw_cost_models.kit.board.winners import FORMAT, LISTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from hw_cost_models.cost import Kind


def pack(networks: Mapping[Kind, tuple[Path, tuple[Tensor, ...]]], path: Path) -> None:
    """Write ONNX files, one for each kind of workload, with what they run on, as the zip file `path`.

    Raises OSError when a file cannot be read or written.
    """
    with tempfile.TemporaryDirectory(prefix="dnas-pack-") as name:
        folder, files = Path(name), {}
        for kind, (model, inputs) in networks.items():
            files[kind] = (f"{kind}.onnx", f"{kind}.npz")
            (folder / files[kind][0]).write_bytes(model.read_bytes())
            np.savez(folder / files[kind][1], **feeds(model, inputs))  # type: ignore[arg-type]  # numpy's flag
        digests = {file.name: digest(file.read_bytes()) for file in folder.iterdir()}
        write_json(folder / LISTING, {"format": FORMAT, "networks": files, "files": digests})
        zip_folder(folder, path)
