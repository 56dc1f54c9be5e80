"""The manifest of a kit: the networks in it, and the digest of every file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hw_cost_models.errors import DamagedFileError
from hw_cost_models.files import digest, read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "manifest.json"
_FORMAT = "measuring kit 1"


@dataclass(frozen=True)
class Network:
    """One ONNX file and its inputs, an .npz by input name; both are paths inside the kit."""

    model: str
    inputs: str


@dataclass(frozen=True)
class Manifest:
    """What a kit holds."""

    space: str
    """The name of what the networks are parts of."""
    workloads: dict[str, dict[str, Any]]
    """The fields of `hw_cost_models.Workload`, by kind."""
    versions: dict[str, str]
    """Of what made the files: the keys hold for this version of torch only."""
    networks: dict[str, Network]
    """By structure key."""
    anchors: dict[str, Network]
    """The fixed networks of `hw_cost_models.anchors`, by name."""
    reference: dict[str, dict[str, str]]
    """By kind of workload: the names of networks that ride in every verification to tell the drift, and their
    structure keys."""
    files: dict[str, str]
    """The SHA-256 of every file of the kit, by path."""

    def write(self, folder: Path) -> None:
        """Write it into the folder of the kit."""
        write_json(folder / MANIFEST, {"format": _FORMAT, **asdict(self)})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the kit in `folder`, every file of which is then as it was made.

    Raises DamagedFileError when a file is missing or changed.
    """
    try:
        value = read_json(folder / MANIFEST)
    except (DamagedFileError, OSError):
        raise DamagedFileError(f"{folder / MANIFEST} is missing or damaged: unpack the kit again") from None
    if value.pop("format", None) != _FORMAT:
        raise DamagedFileError(f"{folder / MANIFEST} is no manifest of this kit: unpack the kit again")
    networks, anchors = (
        {name: Network(**network) for name, network in value[group].items()}
        for group in ("networks", "anchors")
    )
    manifest = Manifest(**{**value, "networks": networks, "anchors": anchors})
    for name, sha256 in manifest.files.items():
        path = folder / name
        if not path.is_file() or digest(path.read_bytes()) != sha256:
            raise DamagedFileError(f"{path} is missing or damaged: unpack the kit again")
    return manifest
