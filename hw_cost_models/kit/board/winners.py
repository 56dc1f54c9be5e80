"""The networks that come back to the board to be verified, one for each workload, with their inputs."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_cost_models.errors import DamagedFileError, MeasurementError
from hw_cost_models.files import digest, read_json
from hw_cost_models.kit.board.measuring import paths

if TYPE_CHECKING:
    from pathlib import Path

    from hw_cost_models.kit.board.manifest import Manifest

LISTING = "winner.json"
FORMAT = "winner 1"


def winners(root: Path, manifest: Manifest, path: Path, folder: Path) -> dict[str, tuple[Path, Path]]:
    """ONNX file and inputs by kind of workload, unpacked or made in `folder`.

    `path` is a packed winner, which has its inputs with it, or one ONNX file. That runs on the inputs of the
    kit's whole networks, in order, under every workload whose networks take as many. Raises MeasurementError
    for a file that cannot be used, DamagedFileError for a packed one that is not whole.
    """
    if not path.is_file():
        raise MeasurementError(f"{path} cannot be read: there is no such file")
    if zipfile.is_zipfile(path):
        return _unpacked(path, folder)
    names = _input_names(path)
    found, takes = {}, {}
    for kind in manifest.reference:
        arrays = _inputs_of_whole_networks(root, manifest, kind)
        takes[kind] = len(arrays)
        if len(arrays) == len(names):
            found[kind] = path, folder / f"{kind}.npz"
            feed: dict[str, Any] = dict(zip(names, arrays))
            np.savez(found[kind][1], **feed)
    if not found:
        told = ", ".join(f"{count} ({kind})" for kind, count in takes.items())
        raise MeasurementError(
            f"{path} takes {len(names)} inputs, the whole networks of this kit {told}: it is the winner of "
            "another search space, or needs to be packed with its inputs by `nas kit pack RUN`"
        )
    return found


def _unpacked(path: Path, folder: Path) -> dict[str, tuple[Path, Path]]:
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        listing = read_json(folder / LISTING)
    except (zipfile.BadZipFile, OSError, DamagedFileError):
        raise DamagedFileError(f"{path} is damaged or no packed winner: copy it again") from None
    if listing.get("format") != FORMAT:
        raise DamagedFileError(f"{path} is no packed winner: `nas kit pack RUN` writes one")
    for name, sha256 in listing["files"].items():
        if not (folder / name).is_file() or digest((folder / name).read_bytes()) != sha256:
            raise DamagedFileError(f"{path} is damaged: copy it again")
    return {kind: (folder / model, folder / inputs) for kind, (model, inputs) in listing["networks"].items()}


def _input_names(path: Path) -> list[str]:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # it has an exception for each of its status codes, without a root
        raise MeasurementError(f"{path} cannot be opened: {' '.join(str(error).split())}") from None
    return [value.name for value in session.get_inputs()]


def _inputs_of_whole_networks(root: Path, manifest: Manifest, kind: str) -> list[np.ndarray]:
    first = manifest.networks[next(iter(manifest.reference[kind].values()))]
    with np.load(paths(root, first)[1], allow_pickle=False) as arrays:
        return list(arrays.values())
