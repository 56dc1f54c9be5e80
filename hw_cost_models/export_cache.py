"""Exported modules, kept across runs: the exporter's seconds are spent once for each structure.

What is kept is for measuring: the structure is the module's, the weights are those it had when it was first
exported. A file's name ends in the digest of its content, so that a damaged one is never used.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hw_cost_models.export import export_many
from hw_cost_models.files import digest, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from hw_cost_models.cost import Item


class ExportCache:
    """Files in `folder`, by structure key. Works without it, only slower, when it cannot be written."""

    def __init__(self, folder: Path, dynamic: Mapping[int, str]) -> None:
        free = digest(repr(sorted(dynamic.items())).encode())[:8]
        self.folder = folder / f"onnx-{free}"
        self.dynamic = dict(dynamic)

    def models(self, items: Mapping[str, Item]) -> dict[str, onnx.ModelProto]:
        """The module of each structure key as an ONNX model; those not kept are exported in one pass.

        Raises ExportError, naming the key, when a module cannot be exported.
        """
        import onnx

        found = {key: data for key in items if (data := self._kept(key)) is not None}
        missing = {key: item for key, item in items.items() if key not in found}
        if missing:
            with tempfile.TemporaryDirectory(prefix="dnas-export-") as folder:
                files = export_many(missing, Path(folder), self.dynamic)
                found |= {key: path.read_bytes() for key, path in files.items()}
            self._keep({key: found[key] for key in missing})
        return {key: onnx.load_model_from_string(found[key]) for key in items}

    def _kept(self, key: str) -> bytes | None:
        for path in self.folder.glob(f"{key}-*.onnx"):
            data = path.read_bytes()
            if path.stem == f"{key}-{digest(data)[:16]}":
                return data
            path.unlink(missing_ok=True)
        return None

    def _keep(self, files: Mapping[str, bytes]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for key, data in files.items():
                write_atomic(self.folder / f"{key}-{digest(data)[:16]}.onnx", data)
        except OSError:
            return
