"""OpenVINO, on any of its devices, with its own reader of ONNX files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from hw_cost_models.errors import MeasurementError
from hw_cost_models.runtimes.clocks import clock_for
from hw_cost_models.runtimes.runtime import Bound, in_short

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

from hw_cost_models.runtimes.runtime import Feed


class OpenVino:
    """Runs ONNX files: one stream, the latency hint, single precision.

    By its default it computes in bfloat16 where the processor can, which would be another network.
    """

    takes_modules: ClassVar[bool] = False

    def __init__(self, provider: str, threads: int) -> None:
        ov = _openvino()
        self._core: Any = ov.Core()
        available = self._core.available_devices
        if provider not in available:
            raise MeasurementError(
                f"this OpenVINO ({OpenVino.version()}) has no device {provider}; "
                f"it has {', '.join(available)}"
            )
        self.provider = provider
        self.threads = threads
        self.clock = clock_for(threads, on_cpu=provider == "CPU")

    @staticmethod
    def version() -> str:
        return str(_openvino().__version__).split("-")[0]

    def bind(self, network: Path, inputs: Feed) -> Bound:
        if not network.is_file():
            raise MeasurementError("there is no such file")
        try:
            compiled = self._core.compile_model(str(network), self.provider, self._configuration())
            _check(compiled, inputs)
            request = compiled.create_infer_request()

            def run() -> list[Any]:
                return list(request.infer(inputs, share_inputs=True, share_outputs=True).values())

            run()
        except RuntimeError as error:
            raise MeasurementError(_cause(error)) from None
        return Bound(run)

    def _configuration(self) -> dict[str, Any]:
        """What of our wishes this device knows: a GPU has no threads to choose."""
        wishes = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,  # two measurements on one machine must not share a core
        }
        known = self._core.get_property(self.provider, "SUPPORTED_PROPERTIES")
        return {name: value for name, value in wishes.items() if name in known}


def _openvino() -> ModuleType:
    try:
        import openvino
    except ImportError:
        raise MeasurementError(
            "OpenVINO is not installed; install the extra: pip install 'dnas[openvino]'"
        ) from None
    module: ModuleType = openvino
    return module


def _check(compiled: Any, inputs: Feed) -> None:
    """OpenVINO itself runs on nothing where an input is missing, and converts or dies at another type."""
    expected = {port.get_any_name(): port.get_element_type().to_dtype() for port in compiled.inputs}
    aliases = {alias: port.get_any_name() for port in compiled.inputs for alias in port.get_names()}
    given = {aliases.get(name, name): array.dtype for name, array in inputs.items()}
    if given.keys() != expected.keys():
        raise MeasurementError(f"its inputs are {', '.join(expected)}, not {', '.join(given) or 'none'}")
    for name, dtype in expected.items():
        if given[name] != dtype:
            raise MeasurementError(f"its input {name} is {dtype}, not {given[name]}")


def _cause(error: RuntimeError) -> str:
    """The last line says what is wrong; those before it name places in the source of OpenVINO."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return in_short(lines[-1]) if lines else "it gives no reason"
