"""Measures this kit on this machine: run it, and bring latency.json back.

    python measure.py                        measures; goes on where it was stopped, whenever that was
    python measure.py --verify winner.onnx   measures the network that the search found

It needs Python 3.9 or newer, onnxruntime and numpy, and nothing else.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
_THREADS = 1
_ROUNDS = 40
_PROVIDER = "CPUExecutionProvider"


def main() -> int:
    """The exit code: 0 when the file is written, 2 for what cannot be used, 1 for what went wrong."""
    if sys.version_info < (3, 9):  # noqa: UP036  # who runs it there reads no requirements
        return _error(f"this is Python {sys.version.split()[0]}; the kit needs 3.9 or newer")
    arguments = _arguments()
    try:
        import numpy  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        return _error(
            f"onnxruntime and numpy are needed ({error}): {sys.executable} -m pip install onnxruntime numpy"
        )
    from hw_cost_models.errors import HardwareCostError

    try:
        written = _run(arguments)
    except HardwareCostError as error:
        return _error(str(error))
    except OSError as error:
        return _error(f"{error.filename or 'a file'}: {error.strerror or error}", code=1)
    except KeyboardInterrupt:
        return _error("stopped; run it again to go on", code=130)
    print(f"{written} is written: take it to where you search")
    return 0


def _run(arguments: argparse.Namespace) -> Path:
    from hw_cost_models.kit.board.measuring import measure_kit
    from hw_cost_models.kit.board.progress import Progress
    from hw_cost_models.kit.board.verifying import verify

    progress = Progress()
    if arguments.verify is not None:
        return verify(_ROOT, arguments.verify.resolve(), progress)
    progress.say(f"{arguments.provider}, {arguments.threads} thread{'s' * (arguments.threads > 1)}")
    return measure_kit(_ROOT, arguments.provider, arguments.threads, arguments.rounds, progress)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measures the networks of this kit; stopped or killed, it goes on when run again.",
    )
    parser.add_argument("--threads", type=_positive, help=f"of the runtime (default {_THREADS})")
    parser.add_argument("--rounds", type=_positive, help=f"visits of every network (default {_ROUNDS})")
    parser.add_argument("--provider", help=f"execution provider of ONNX Runtime (default {_PROVIDER})")
    parser.add_argument(
        "--verify",
        type=Path,
        metavar="FILE",
        help="measure this ONNX file or packed winner as latency.json was measured; writes verification.json",
    )
    arguments = parser.parse_args()
    if arguments.verify is not None:
        for name in ("threads", "rounds", "provider"):
            if getattr(arguments, name) is not None:
                parser.error(
                    f"--{name} cannot stand beside --verify: it measures as latency.json was measured"
                )
    arguments.threads = arguments.threads or _THREADS
    arguments.rounds = arguments.rounds or _ROUNDS
    arguments.provider = arguments.provider or _PROVIDER
    return arguments


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _error(message: str, code: int = 2) -> int:
    print(f"error  {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
