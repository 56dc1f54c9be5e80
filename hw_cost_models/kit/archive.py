"""A folder as a zip file that is whole or absent."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def files_in(folder: Path) -> list[str]:
    """The paths of all files, from the folder on, in order."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def zip_folder(folder: Path, path: Path, inside: str = "") -> None:
    """Write the folder's files to the zip file `path`, there below the folder `inside`.

    Raises OSError as the system gave it, with nothing left behind.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in files_in(folder):
                archive.write(folder / name, f"{inside}{name}")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
