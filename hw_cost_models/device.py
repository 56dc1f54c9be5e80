"""Device: what a network runs on. A profile is one TOML file in which every figure names its source."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hw_cost_models.errors import DeviceError
from hw_cost_models.graph import Kind  # noqa: TC001  # pydantic reads the annotations

if TYPE_CHECKING:
    from collections.abc import Mapping

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

DType = Literal["float32", "float16", "bfloat16", "int8"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Figure(_Frozen):
    """A positive number and where it comes from."""

    value: Annotated[float, Field(gt=0)]
    source: _Text


class Share(Figure):
    """A fraction, with where it comes from."""

    value: Annotated[float, Field(gt=0, le=1)]


def _by_dtype(figures: dict[DType, Figure]) -> dict[DType, Figure]:
    if "float32" not in figures:
        raise PydanticCustomError("no_float32", "float32 is what the other types fall back on")
    return figures


ByDType = Annotated[dict[DType, Figure], AfterValidator(_by_dtype)]
"""A figure for each type of arithmetic, float32 at least."""


def _figure(figures: Mapping[Any, Figure], dtype: str) -> float:
    return figures.get("int8" if dtype == "uint8" else dtype, figures["float32"]).value


class Roofline(_Frozen):
    """What a device can do at best, all of its declared threads together.

    Williams, Waterman, Patterson: Roofline: an insightful visual performance model for multicore
    architectures, CACM 52(4), 2009.
    """

    peak_gflops: ByDType
    """10⁹ operations a second by the type of the arithmetic; a multiply-add is two, dense."""
    bandwidth_gb_s: Figure
    """Main memory, 10⁹ bytes a second."""
    overhead_us: Figure
    """What the runtime spends on each operator beside its arithmetic, in microseconds."""
    cache_mb: Figure | None = None
    """The largest memory on the chip, in 10⁶ bytes; without it, everything comes from main memory."""
    cache_gb_s: Figure | None = None
    """That memory, 10⁹ bytes a second; without it, what is on the chip moves at main memory's rate."""
    share_of_peak: dict[Kind, Share] = {}
    """What fraction of the peak the kernels of a kind reach; of the bandwidth for "movement", which does not
    calculate. Convolutions and attention without a share of their own have that of matrix products, which is
    what they are computed as; other kinds reach the peak."""

    def flops_per_ms(self, dtype: str, kind: Kind) -> float:
        """The rate that kernels of this kind reach. A type without a peak of its own runs at float32's."""
        return _figure(self.peak_gflops, dtype) * 1e6 * self._share(kind)

    def bytes_per_ms(self, on_chip: bool, kind: Kind) -> float:
        """The rate at which an operator of this kind moves what lies on the chip, or in main memory."""
        figure = self.cache_gb_s if on_chip and self.cache_gb_s is not None else self.bandwidth_gb_s
        return figure.value * 1e6 * (self._share(kind) if kind == "movement" else 1.0)

    def _share(self, kind: Kind) -> float:
        stands_for = kind if kind in self.share_of_peak or kind not in _PRODUCTS else "matmul"
        share = self.share_of_peak.get(stands_for)
        return 1.0 if share is None else share.value


_PRODUCTS = ("convolution", "attention")


class Energy(_Frozen):
    """What a device spends, beside what it draws whatever it does.

    Horowitz: Computing's energy problem (and what we can do about it), ISSCC 2014; Jouppi et al.: Ten lessons
    from three generations shaped Google's TPUv4i, ISCA 2021, table 2.
    """

    idle_w: Figure
    """Watts drawn whether or not anything is computed."""
    pj_per_op: ByDType
    """Picojoules of one operation with everything on the chip that it takes: instruction, registers, first
    caches. By the type of the arithmetic; a type without a figure takes float32's."""
    pj_per_byte_memory: Figure
    """Picojoules of one byte from or to main memory."""
    pj_per_byte_cache: Figure | None = None
    """Picojoules of one byte from or to the largest memory on the chip; without it, as main memory."""

    def op_pj(self, dtype: str) -> float:
        """Of one operation in that type."""
        return _figure(self.pj_per_op, dtype)

    def byte_pj(self, on_chip: bool) -> float:
        """Of one byte that moves, on the chip or to and from main memory."""
        figure = self.pj_per_byte_cache if on_chip else None
        return (figure or self.pj_per_byte_memory).value


class MeasuredBy(_Frozen):
    """The latency file that a measuring kit wrote on a device."""

    path: _Text
    sha256: _Text


class Device(_Frozen):
    """A named profile: of this machine, on which costs are measured, or of another, known by its figures or
    by what a kit measured there."""

    name: _Text
    description: _Text
    runtime: Runtime
    provider: _Text
    """What the runtime runs on, by its own name: an execution provider of ONNX Runtime, a device of OpenVINO
    or of PyTorch."""
    threads: Annotated[int, Field(ge=1)]
    here: bool = False
    """Whether it is this machine. A profile that says neither this nor a roofline is."""
    memory_mb: Figure | None = None
    """MiB that a network may use at most."""
    roofline: Roofline | None = None
    energy: Energy | None = None
    latency_file: MeasuredBy | None = None

    @model_validator(mode="before")
    @classmethod
    def _here_unless_elsewhere(cls, data: Any) -> Any:
        if isinstance(data, dict) and "roofline" not in data:
            return {"here": True, **data}
        return data

    @model_validator(mode="after")
    def _known_somehow(self) -> Device:
        if not self.here and self.roofline is None and self.latency_file is None:
            raise PydanticCustomError("nowhere", "a device that is not here needs a roofline")
        return self

    def with_threads(self, threads: int) -> Device:
        """The same machine with another number of threads, to be measured anew.

        Raises DeviceError for fewer than one, and for a device whose figures hold for its own threads only.
        """
        if threads < 1:
            raise DeviceError(f"device {self.name!r}: threads must be at least 1, got {threads}")
        if threads == self.threads:
            return self
        if not self.here:
            raise DeviceError(
                f"device {self.name!r}: its figures are for {self.threads} threads, not {threads}; "
                "give a profile of its own, a TOML file, for another number"
            )
        return self.model_copy(update={"threads": threads, "roofline": None})

    def with_runtime(self, runtime: str, provider: str | None = None) -> Device:
        """The same machine measured in another runtime, on its CPU unless a provider is named.

        Raises DeviceError for an unknown runtime, and for a device whose figures hold for its own only.
        """
        if runtime not in _CPU:
            raise DeviceError(
                f"device {self.name!r}: no runtime {runtime!r}; the runtimes are {', '.join(_CPU)}"
            )
        provider = provider or _CPU[runtime]
        if (runtime, provider) == (self.runtime, self.provider):
            return self
        if not self.here:
            raise DeviceError(
                f"device {self.name!r}: its figures are for {self.runtime} on {self.provider}, not {runtime} "
                f"on {provider}; give a profile of its own, a TOML file, for another runtime"
            )
        return self.model_copy(update={"runtime": runtime, "provider": provider, "roofline": None})


def device_names() -> tuple[str, ...]:
    """The profiles that come with the package."""
    return tuple(sorted(path.stem for path in _PROFILES.glob("*.toml")))


def load_device(
    name_or_path: str | Path,
    *,
    threads: int | None = None,
    runtime: str | None = None,
    provider: str | None = None,
) -> Device:
    """A profile by its name, or from a file of one's own, recognised by its suffix.

    A `.toml` file is a profile; a `.json` file is what a kit measured, and stands for the device it was on.
    The rest asks for another number of threads, runtime or provider than the profile's. Raises DeviceError,
    in one line, for an unknown name, a file that is absent, damaged or incomplete, and what it cannot be.
    """
    found = _loaded(Path(name_or_path))
    if threads is not None:
        found = found.with_threads(threads)
    return found.with_runtime(runtime or found.runtime, provider) if runtime or provider else found


def _loaded(path: Path) -> Device:
    if path.suffix == ".json":
        from hw_cost_models.kit.latency_file import read_latency

        return read_latency(path).device
    if path.suffix != ".toml":
        path = _PROFILES / f"{_known(str(path))}.toml"
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
        f"no device {name!r}{meant}; the devices are {', '.join(names)}, or give the path of a .toml profile "
        "or of a kit's latency.json"
    )


def _explain(path: Path, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
    match first["type"]:
        case "no_float32":
            return f"{path}: {field}.float32 is missing: {first['msg']}"
        case "nowhere":
            return f"{path}: roofline is missing: {first['msg']}; add it, or here = true for this machine"
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
