"""The user's cache folder: what was measured on this machine, kept from one process to the next."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from hw_cost_models.files import digest, write_json
from hw_cost_models.machine import processor
from hw_cost_models.runtimes import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hw_cost_models.device import Device


def cache_folder() -> Path:
    """$DNAS_CACHE_DIR, or the user's cache folder."""
    return Path(os.environ.get("DNAS_CACHE_DIR") or platformdirs.user_cache_dir("dnas"))


def cache_path(what: str, device: Device, folder: Path | None = None, *more: object) -> Path:
    """One file for everything that makes measurements on a device comparable.

    That is its name, runtime and version, provider and threads, this machine's processor (a cache folder may
    be shared by different machines), and what `more` holds.
    """
    version = RUNTIMES[device.runtime].version()
    identity = (
        *(device.name, device.runtime, device.provider, device.threads, version),
        *(platform.machine(), processor(), *more),
    )
    readable = re.sub(r"[^\w.-]", "_", f"{device.name}-{device.threads}-{device.runtime}-{version}")
    return (folder or cache_folder()) / f"{what}-{readable}-{digest(repr(identity).encode())[:8]}.json"


def keep(path: Path, value: Mapping[str, Any]) -> OSError | None:
    """Writes what was measured. Where that fails it holds all the same, and only the next process measures
    again: the error is given back for whoever has a place to say so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, dict(value))
    except OSError as error:
        return error
    return None
