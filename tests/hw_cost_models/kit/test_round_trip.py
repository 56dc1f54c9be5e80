"""A kit where there is no PyTorch: killed, resumed, damaged, and its answers."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from hw_cost_models.files import digest, read_json
from hw_cost_models.kit.latency_file import KitModel, read_latency
from tests.hw_cost_models.kit.conftest import ITEMS, KEYS, REFERENCE, WORKLOAD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hw_cost_models.kit.conftest import Script


def test_killed_resumed_read_and_verified(kit: Path, script: Script) -> None:
    first = script("--rounds", "5000")
    assert first.stdout is not None
    while not re.match(r"rounds +4 of 5000", first.stdout.readline()):
        assert first.poll() is None, first.communicate()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = {path.name: path.read_bytes() for path in (kit / "measured").glob("round-*.json")}
    assert 4 <= len(kept) < 5000
    assert not (kit / "latency.json").exists()

    rounds = len(kept) + 3
    again = script("--rounds", str(rounds))
    out, err = again.communicate()
    assert (again.returncode, err) == (0, "")
    assert f"{len(kept)} rounds are measured already" in out
    assert len(re.findall(r"^rounds ", out, re.MULTILINE)) == 3, "only what was left"
    assert {name: (kit / "measured" / name).read_bytes() for name in kept} == kept

    measured = read_latency(kit / "latency.json")
    assert (measured.space, measured.workloads, measured.rounds) == ("toy", {"forward": WORKLOAD}, rounds)
    assert measured.runtime["provider"] == "CPUExecutionProvider"
    assert all(measured.timings[key].rounds == rounds for key in KEYS)
    prices = KitModel(measured).price(ITEMS)
    assert all(price.latency_ms > 0 for price in prices.values())

    model = kit / read_json(kit / "manifest.json")["networks"][KEYS[1]]["model"]
    verify = script("--verify", str(model))
    out, err = verify.communicate()
    assert (verify.returncode, err) == (0, "")
    answer = read_json(kit / "verification.json")
    assert answer["latency_sha256"] == measured.sha256
    assert answer["answers"].keys() == {"forward"}
    forward = answer["answers"]["forward"]
    assert forward["onnx_sha256"] == digest(model.read_bytes())
    assert 3 <= len(forward["processes"]) <= 6
    assert all(process["reference"].keys() == REFERENCE["forward"].keys() for process in forward["processes"])


@pytest.mark.parametrize(
    ("arguments", "without", "told"),
    [
        ((), ("onnxruntime",), "there is no onnxruntime here): "),
        ((), ("numpy",), "-m pip install onnxruntime numpy"),
        (("--provider", "NoSuchProvider"), (), "has no NoSuchProvider; it has "),
        (("--threads", "0"), (), "0 is less than 1"),
        (("--threads", "2", "--verify", "winner.onnx"), (), "--threads cannot stand beside --verify"),
        (("--verify", "winner.onnx"), (), "latency.json is not there: run `python measure.py` first"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    script: Script, arguments: tuple[str, ...], without: tuple[str, ...], told: str
) -> None:
    process = script(*arguments, without=without)
    _, err = process.communicate()
    assert process.returncode == 2
    *usage, line = err.splitlines()
    assert told in line
    assert "Traceback" not in err
    assert not usage or usage[0].startswith("usage: "), "argparse shows how it is called"


def test_a_kit_that_is_damaged(kit: Path, script: Script) -> None:
    model = next((kit / "models").iterdir())
    model.write_bytes(model.read_bytes()[:-1])
    process = script()
    _, err = process.communicate()
    assert process.returncode == 2
    assert err == f"error  {model} is missing or damaged: unpack the kit again\n"
