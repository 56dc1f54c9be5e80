"""Device: what a network runs on. A profile is one TOML file in which every figure names its source."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from hw_cost_models.errors import DeviceError

_PROFILES = Path(__file__).parent / "devices"

_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]

Runtime = Literal["onnxruntime", "openvino", "pytorch", "torch.compile"]
_CPU: dict[str, str] = {
    "onnxruntime": "CPUExecutionProvider",
    "openvino": "CPU",
    "pytorch": "cpu",
    "torch.compile": "cpu",
}
"""The provider that is the CPU, by runtime."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Figure(_Frozen):
    """A positive number and where it comes from."""

    value: Annotated[float, Field(gt=0)]
    source: _Text


class Roofline(_Frozen):
    """What a device can do at best, all of its declared threads together.

    Williams, Waterman, Patterson: Roofline: an insightful visual performance model for multicore
    architectures, CACM 52(4), 2009.
    """

    peak_gflops: Figure
    """fp32, 10⁹ operations a second; a multiply-add is two."""
    bandwidth_gb_s: Figure
    """Main memory, 10⁹ bytes a second."""
    overhead_us: Figure
    """What the runtime spends on each operator beside its arithmetic, in microseconds."""


class Device(_Frozen):
    """A named profile. Without a roofline it is the machine at hand, and costs on it are measured."""

    name: _Text
    description: _Text
    runtime: Runtime
    provider: _Text
    """What the runtime runs on, by its own name: an execution provider of ONNX Runtime, a device of OpenVINO
    or of PyTorch."""
    threads: Annotated[int, Field(ge=1)]
    memory_mb: Figure | None = None
    """MiB that a network may use at most."""
    roofline: Roofline | None = None

    def with_threads(self, threads: int) -> Device:
        """The same machine with another number of threads.

        Raises DeviceError for fewer than one, and for a device whose figures hold for its own threads only.
        """
        if threads < 1:
            raise DeviceError(f"device {self.name!r}: threads must be at least 1, got {threads}")
        if self.roofline is not None and threads != self.threads:
            raise DeviceError(
                f"device {self.name!r}: its figures are for {self.threads} threads, not {threads}; "
                "give a profile of its own, a TOML file, for another number"
            )
        return self.model_copy(update={"threads": threads})

    def with_runtime(self, runtime: str, provider: str | None = None) -> Device:
        """The same machine measured in another runtime, on its CPU unless a provider is named.

        Raises DeviceError for an unknown runtime, and for a device whose figures hold for its own only.
        """
        if runtime not in _CPU:
            raise DeviceError(
                f"device {self.name!r}: no runtime {runtime!r}; the runtimes are {', '.join(_CPU)}"
            )
        if self.roofline is not None:
            raise DeviceError(
                f"device {self.name!r}: its figures are for {self.runtime}, not {runtime}; "
                "give a profile of its own, a TOML file, for another runtime"
            )
        return self.model_copy(update={"runtime": runtime, "provider": provider or _CPU[runtime]})


def device_names() -> tuple[str, ...]:
    """The profiles that come with the package."""
    return tuple(sorted(path.stem for path in _PROFILES.glob("*.toml")))


def load_device(name_or_path: str | Path) -> Device:
    """A profile by its name, or from a TOML file of one's own (recognised by its suffix `.toml`).

    Raises DeviceError, in one line, for an unknown name and for a file that is absent, no TOML or incomplete.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = _PROFILES / f"{_known(str(name_or_path))}.toml"
    try:
        return Device.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DeviceError(f"{path}: cannot read this device profile ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeviceError(f"{path}: a device profile must be TOML ({error})") from None
    except ValidationError as error:
        raise DeviceError(_explain(path, error)) from None


def _known(name: str) -> str:
    names = device_names()
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    raise DeviceError(
        f"no device {name!r}{meant}; the devices are {', '.join(names)}, or give the path of a .toml profile"
    )


def _explain(path: Path, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the file"
    match first["type"]:
        case "missing" if first["loc"][-1] == "source":
            return f"{path}: {field} is missing: every figure must say where it comes from"
        case "missing":
            return f"{path}: {field} is missing; add it, as in {_PROFILES / 'raspberry-pi-5.toml'}"
        case "extra_forbidden":
            return f"{path}: {field} is no field of a device profile; remove it"
        case "model_type" | "model_attributes_type":
            return f"{path}: {field} = {first['input']!r} must be a table with a value and its source"
        case _:
            return f"{path}: {field} = {first['input']!r} is not allowed: {first['msg'].lower()}"
