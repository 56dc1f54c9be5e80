"""Files that are whole or absent: atomic writes, and JSON that carries the digest of its own content."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from typing import TYPE_CHECKING, Any, NoReturn

from hw_cost_models.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SEAL = "sha256"


def digest(data: bytes) -> str:
    """The SHA-256 of the bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the file by `data`, or leave it exactly as it was.

    The folder must exist. Raises OSError as the system gave it (a full disk, say), with nothing left behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        _write_through(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_through(path: Path, data: bytes) -> None:
    """Write a new file and wait for the disk: a rename may reach it before the content does."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        rest = memoryview(data)
        while rest:  # a write may be short without being an error
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object atomically and sealed: with a member "sha256" over everything else in it.

    Raises ValueError for NaN and infinity, which are not JSON, and for an object that has such a member.
    """
    if _SEAL in value:
        raise ValueError(f"{path}: the member {_SEAL!r} is the file's own seal; give that value another name")
    plain = json.loads(json.dumps(value, allow_nan=False))  # in the order given
    sealed = {**plain, _SEAL: digest(_canonical(plain))}
    # No newline at the end: cut anywhere, what is left must not be a valid file.
    write_atomic(path, json.dumps(sealed, indent=1, allow_nan=False).encode())


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote, without the seal.

    Raises DamagedFileError when the file is cut, changed or no sealed JSON, FileNotFoundError when absent.
    """
    data = path.read_bytes()
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise _damaged(path, "it does not hold a JSON object")
    seal = value.pop(_SEAL, None)
    if seal is None:
        raise _damaged(path, f"it has no seal, the member {_SEAL!r}")
    if seal != digest(_canonical(value)):
        raise _damaged(path, "its content does not match its seal")
    return value


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _damaged(path: Path, what: str) -> DamagedFileError:
    return DamagedFileError(
        f"{path} is damaged: {what}; restore it from a copy, or delete it so that it is made again"
    )
