"""The verdict of a run for a board, from what the board measured of its winner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import onnx
from onnx import numpy_helper

from hw_cost_models.device import Device
from hw_cost_models.errors import DamagedFileError
from hw_cost_models.files import read_json, write_json
from hw_cost_models.kit.board.verifying import FORMAT
from hw_cost_models.kit.packing import pack
from hw_cost_models.measure import Measurement, Timing
from hw_cost_models.runtimes.clocks import WALL
from nas.bench import Bench, Benches
from nas.budget import Budget
from nas.errors import BadInputError
from nas.export import file_of
from nas.outcome import write_report
from nas.pricing import assembly_of
from nas.run import Run, read_tensors
from nas.settings import Settings
from nas.verify import Verification, verify_all
from search_spaces import Architecture, finalised, select

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from hw_cost_models.cost import Kind
    from search_spaces import SearchSpace


@dataclass(frozen=True)
class _Answers(Bench):
    """A bench whose measurements were made on the board: it gives them out in their order."""

    clock_there: str = WALL
    answers: list[Mapping[str, Any]] = field(default_factory=list)

    def measure(
        self, networks: Mapping[str, tuple[Path, tuple[Tensor, ...]]], seed: int, memory: bool = True
    ) -> Measurement:
        ((name, (path, _)),) = networks.items()
        answer = self.answers.pop(0)
        weights = (numpy_helper.to_array(w).nbytes for w in onnx.load(str(path)).graph.initializer)
        checked = memory and self.kind == "forward"
        return Measurement(
            timings={name: Timing(**answer["timing"])},
            anchors=_timings(answer["reference"]),
            runtime={},
            clock=self.clock_there,
            waited=answer["waited"],
            weight_bytes={name: sum(weights)},
            arena_bytes={name: answer["arena_bytes"]} if checked else {},
            resident_bytes={name: answer["resident_bytes"]} if checked else {},
        )


def pack_winner(run: Run, space: SearchSpace, path: Path) -> None:
    """Write the run's exported files with what they run on, under every workload of its budget, as a zip.

    Raises BadInputError when the run is not finished, OSError when a file cannot be read or written.
    """
    network = _winner(run, space, run.read("result.json"))
    assemblies = [assembly_of(space, workload) for workload in Settings.from_dict(run.config).workloads]
    pack(
        {a.workload.kind: (run.path / file_of(a.workload.kind), a.running(network)[1]) for a in assemblies},
        path,
    )


def close(run: Run, space: SearchSpace, answer: Path) -> dict[str, Any]:
    """Judge the winner by the board's verification.json; the run's result and report then say so.

    Returns the content of result.json. Raises BadInputError for a run that is not finished or not for a
    board, and for an answer that is not whole, of other files, or measured beside another latency file.
    """
    result, settings = run.read("result.json"), Settings.from_dict(run.config)
    measured = _read(answer)
    _check_latency_file(run, result, measured, answer)
    benches = []
    for workload in settings.workloads:
        told = _answer(run, result, measured, workload.kind, answer)
        benches.append(
            _Answers(
                assembly_of(space, workload),
                Device.model_validate(result["device"]),
                settings.statistic,
                _timings(told["reference"]),
                measured["rounds"],
                clock_there=measured["clock"],
                answers=list(told["processes"]),
            )
        )
    network, budget = _winner(run, space, result), Budget(**result["budget"])
    verification = verify_all(network, run.path, budget, Benches(tuple(benches)))
    closed = {
        **result,
        "verdict": verification.verdict,
        "measured": verification.measured,
        "verification": verification.to_dict(),
        "use": _use(result, verification),
    }
    write_json(run.path / "result.json", closed)
    write_report(run, run.path / "report.html")
    return run.read("result.json")


def _winner(run: Run, space: SearchSpace, result: Mapping[str, Any]) -> nn.Module:
    network = select(space.network, Architecture(result["architecture"]))
    network.load_state_dict(read_tensors(run.path / "winner.safetensors", result["winner_sha256"]))
    return finalised(network)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}") from None
    except DamagedFileError:
        raise BadInputError(f"{path} is cut or changed: copy it from the board again") from None
    if value.get("format") != FORMAT:
        raise BadInputError(f"{path} is no answer of a kit: give what `python measure.py --verify` wrote")
    return value


def _check_latency_file(
    run: Run, result: Mapping[str, Any], measured: Mapping[str, Any], answer: Path
) -> None:
    latency_file = result["device"].get("latency_file")
    if latency_file is None:
        raise BadInputError(
            f"{run.path} is for {result['device']['name']}, which no kit measured; only a search with "
            "`--device latency.json` is closed by a board's answer"
        )
    if measured["latency_sha256"] != latency_file["sha256"]:
        raise BadInputError(
            f"{answer} was measured beside another latency.json than {run.path} was searched with: verify in "
            "the kit's folder which that file is from"
        )


def _answer(
    run: Run, result: Mapping[str, Any], measured: Mapping[str, Any], kind: Kind, answer: Path
) -> Mapping[str, Any]:
    """What the board says of one workload; raises BadInputError where that is nothing, or of another file."""
    told: Mapping[str, Any] | None = measured["answers"].get(kind)
    if told is None:
        raise BadInputError(
            f"{answer} tells nothing of {kind}, which {run.path} limits: verify what `nas kit pack` writes"
        )
    parity = result["parity"] if file_of(kind) == file_of("forward") else result["parity"][kind]
    if told["onnx_sha256"] != parity["onnx_sha256"]:
        raise BadInputError(
            f"{answer} is of another network than {run.path / file_of(kind)}: copy that file to the board, "
            "and verify it there"
        )
    return told


def _timings(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Timing]:
    return {name: Timing(**value) for name, value in values.items()}


def _use(result: Mapping[str, Any], verification: Verification) -> dict[str, Any]:
    """How much of its fullest limit the winner uses, now that it is measured."""
    use = {name: verification.measured[name] / limit for name, limit in result["budget"].items()}
    fullest = max(use, key=use.__getitem__)
    filling = result["use"]["filling"] if fullest == result["use"]["limit"] else None
    return {"limit": fullest, "fraction": use[fullest], "filling": filling}
