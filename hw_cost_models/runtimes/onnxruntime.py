"""ONNX Runtime, on any execution provider that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from hw_cost_models.errors import MeasurementError
from hw_cost_models.runtimes.clocks import clock_for
from hw_cost_models.runtimes.runtime import Bound, in_short

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime as ort

from hw_cost_models.runtimes.runtime import Feed

_CPU = "CPUExecutionProvider"
_OWN_THREADS = {
    "OpenVINOExecutionProvider": "num_of_threads",
    "XnnpackExecutionProvider": "intra_op_num_threads",
}
"""Providers with threads of their own, as many as there are cores, and the option that says how many."""
_ERROR = 3
"""The severity from which on it writes to the log."""


class OnnxRuntime:
    """Runs ONNX files: operators one after the other, on that many threads.

    ONNX Runtime gives to the CPU, without a word, what a provider does not know, and whole sessions where the
    provider does not start. Here the latter is an error, and the former is counted.
    """

    takes_modules: ClassVar[bool] = False

    def __init__(self, provider: str, threads: int) -> None:
        import onnxruntime as ort

        available = ort.get_available_providers()
        if provider not in available:
            raise MeasurementError(
                f"this ONNX Runtime ({ort.__version__}) has no {provider}; it has {', '.join(available)}"
            )
        self.provider = provider
        self.threads = threads
        self.clock = clock_for(threads, on_cpu=provider == _CPU)

    @staticmethod
    def version() -> str:
        import onnxruntime as ort

        return str(ort.__version__)

    def bind(self, network: Path, inputs: Feed) -> Bound:
        try:
            session = self._session(network)
            session.run(None, inputs)
        except Exception as error:  # it has an exception for each of its status codes, without a root
            raise MeasurementError(in_short(str(error))) from None
        if self.provider not in session.get_providers():
            raise MeasurementError(
                f"{self.provider} is part of this ONNX Runtime but does not start here: it would run on "
                f"{', '.join(session.get_providers())}; install what the provider needs"
            )
        return Bound(lambda: session.run(None, inputs), self._elsewhere(session))

    def _session(self, network: Path) -> ort.InferenceSession:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ERROR
        if self.threads > 1:  # many sessions wait side by side: those at rest must not spin on the cores
            options.add_session_config_entry("session.force_spinning_stop", "1")
        if self.provider != _CPU:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        own: dict[str, str] = {}
        if self.provider in _OWN_THREADS:
            own[_OWN_THREADS[self.provider]] = str(self.threads)
            # The session's threads, for what is left to the CPU, must not spin beside them.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return ort.InferenceSession(str(network), options, providers=[(self.provider, own)])

    def _elsewhere(self, session: Any) -> float:
        """0 where it cannot be told: versions before 1.24 do not say what runs where."""
        if self.provider == _CPU or not hasattr(session, "get_provider_graph_assignment_info"):
            return 0.0
        mine = others = 0
        for part in session.get_provider_graph_assignment_info():
            if part.ep_name == self.provider:
                mine += len(part.get_nodes())
            else:
                others += len(part.get_nodes())
        return others / (mine + others) if others else 0.0
