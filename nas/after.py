"""What can be done with a finished run: export the winner again, verify the file again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hw_cost_models.external_weights import WORTH_IT, move_weights_beside, weight_bytes_inside
from hw_cost_models.files import digest, write_json
from nas.bench import Benches
from nas.budget import Budget
from nas.environment import environment
from nas.errors import BadInputError, VerificationError
from nas.export import Parity, export_decoder, export_network, export_prefill, file_of
from nas.pricing import assembly_of
from nas.run import Run, read_tensors
from nas.settings import Settings
from nas.verify import verify_all
from search_spaces import Architecture, SearchSpace, Stateful, finalised, select

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from hw_cost_models.cost import Kind


def export_again(
    run: Run, space: SearchSpace, out: Path, weights_beside: bool | None = None
) -> dict[Path, Parity]:
    """Writes the trained winner to `out`, and how well each file written agrees with PyTorch.

    A language model leaves with its state: `<out>-prefill.onnx` and `<out>-decode.onnx` stand beside it. With
    `weights_beside`, or where that is not given and the run's budget limits memory, large weights go to
    `<file>.data`, see `hw_cost_models.external_weights`. Raises BadInputError when the run is not finished.
    """
    result = run.read("result.json")
    workload = Settings.from_dict(run.config).workload
    shape = workload.batch, workload.length
    winner = _winner(run, space, result)
    written = {out: export_network(winner, space, shape, out)}
    if any(isinstance(module, Stateful) for module in winner.modules()):
        for name, export in (("prefill", export_prefill), ("decode", export_decoder)):
            path = out.with_name(f"{out.stem}-{name}.onnx")
            written[path] = export(winner, space, shape, path)
    if weights_beside is None:
        limited = "memory_mb" in Budget(**result["budget"]).limits()
        weights_beside = limited and weight_bytes_inside(out) >= WORTH_IT
    if weights_beside:
        for path in written:
            move_weights_beside(path)
    return written


def verify_again(run: Run, space: SearchSpace) -> dict[str, Any]:
    """Measures the run's ONNX file anew; returns result.json's content with that measurement in it.

    The new figures go to verify.json; what the search itself measured stays in result.json. Raises
    VerificationError when the file is not the one that was exported, BadInputError where the run's device is
    not this machine.
    """
    result, settings = run.read("result.json"), Settings.from_dict(run.config)
    device = settings.profile()
    if not device.here:
        way = "verify it there, see `nas kit`" if device.latency_file else "its figures stay predictions"
        raise BadInputError(f"this run is for {device.name}, which is not here: {way}")
    _check_files(run, result)
    here, there = environment()["processor"], run.read("environment.json")["processor"]
    if here != there:
        raise BadInputError(f"this run is for {there}, this machine is {here}: search here, or verify there")
    anchors = run.read("cost_table.json")["anchors"]
    assemblies = [assembly_of(space, workload) for workload in settings.workloads]
    benches = Benches.restore(assemblies, device, settings.statistic, settings.effort.rounds, anchors)
    network = finalised(_winner(run, space, result))
    verification = verify_all(network, run.path, Budget(**result["budget"]), benches)
    write_json(run.path / "verify.json", verification.to_dict())
    return {
        **result,
        "verdict": verification.verdict,
        "measured": verification.measured,
        "verification": verification.to_dict(),
    }


def _winner(run: Run, space: SearchSpace, result: Mapping[str, Any]) -> nn.Module:
    network = select(space.network, Architecture(result["architecture"]))
    network.load_state_dict(read_tensors(run.path / "winner.safetensors", result["winner_sha256"]))
    return network


def _check_files(run: Run, result: Mapping[str, Any]) -> None:
    """Raises VerificationError when a file is not the one that was exported."""
    told_of: dict[Kind, Any] = {"forward": result["parity"], "decode": result["parity"].get("decode")}
    for kind, told in told_of.items():
        if told is None:
            continue
        path = run.path / file_of(kind)
        if not path.exists() or digest(path.read_bytes()) != told["onnx_sha256"]:
            again = f": `nas export {run.path}` writes it again" if kind == "forward" else ""
            raise VerificationError(f"{path} is not the file that was exported{again}")
