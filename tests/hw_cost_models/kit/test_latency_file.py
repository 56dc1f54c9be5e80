"""A board's file as a cost model, and what is said of one that cannot be used."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hw_cost_models.device import Device, load_device
from hw_cost_models.errors import DeviceError
from hw_cost_models.files import write_json
from hw_cost_models.kit.latency_file import KitModel, read_latency
from hw_cost_models.trace import static_cost
from tests.hw_cost_models.kit.conftest import ITEMS, KEYS, X

if TYPE_CHECKING:
    from pathlib import Path


def _timing(ms: float) -> dict[str, float]:
    return {"p10_ms": ms, "p50_ms": 2 * ms, "p95_ms": 3 * ms, "rounds": 7}


VALUE: dict[str, Any] = {
    "format": "latency file 1",
    "space": "toy",
    "workloads": {"forward": {"batch": 2, "length": 1, "kind": "forward"}},
    "versions": {"torch": torch.__version__},
    "kit": "0" * 64,
    "machine": {
        "name": "Some Board 5",
        "processor": "ARM",
        "cores": 4,
        "architecture": "aarch64",
        "system": "Linux 6",
    },
    "onnxruntime": "1.20.0",
    "provider": "XnnpackExecutionProvider",
    "threads": 4,
    "rounds": 7,
    "networks": {
        key: {"timing": _timing(1.5**i), "arena_bytes": 1000 * i, "resident_bytes": 10**7}
        for i, key in enumerate(KEYS)
    },
    "anchors": {},
    "reference": {"forward": {"middle": _timing(1.6)}},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("latency") / "latency.json"
    write_json(path, VALUE)
    return path


def test_figures_are_the_boards_and_the_rest_is_counted(path: Path) -> None:
    model = KitModel(read_latency(path))
    named = {f"layer {i}": item for i, item in enumerate(ITEMS.values())}
    assert model.latency_ms(named, "p10") == {"layer 0": 1.0, "layer 1": 1.5, "layer 2": 2.25}
    assert model.latency_ms(named, "p95") == {"layer 0": 3.0, "layer 1": 4.5, "layer 2": 6.75}
    assert model.peak_bytes(named) == {"layer 0": 0, "layer 1": 1000, "layer 2": 2000}
    price = model.price(named)["layer 1"]
    counted = static_cost(*named["layer 1"])
    assert (price.latency_ms, price.peak_activation_bytes) == (1.5, 1000)
    assert (price.flops, price.weight_bytes, price.parameters) == (
        counted.flops,
        counted.weight_bytes,
        counted.parameters,
    )


def test_other_weights_have_the_same_price(path: Path) -> None:
    torch.manual_seed(1)
    item = nn.Linear(4, 64), (torch.randn(2, 4),)
    assert KitModel(read_latency(path)).latency_ms({"new": item}, "p50") == {"new": 3.0}


def test_the_device_is_the_board(path: Path) -> None:
    device = load_device(path)
    assert (device.name, device.runtime, device.provider) == (
        "Some Board 5",
        "onnxruntime",
        VALUE["provider"],
    )
    assert (device.threads, device.here, device.roofline) == (4, False, None)
    assert device.latency_file is not None
    assert device.latency_file.path == str(path)
    assert device.latency_file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert device.with_threads(4) == device
    with pytest.raises(DeviceError, match="its figures are for 4 threads, not 2"):
        device.with_threads(2)
    assert Device.model_validate(json.loads(device.model_dump_json(exclude_none=True))) == device


@pytest.mark.parametrize(
    ("module", "x"), [(nn.Linear(4, 65), X), (nn.Linear(4, 64), torch.randn(3, 4)), (nn.Identity(), X)]
)
def test_what_the_kit_did_not_hold(path: Path, module: nn.Module, x: torch.Tensor) -> None:
    with pytest.raises(DeviceError) as error:
        KitModel(read_latency(path)).price({"new": (module, (x,))})
    told = str(error.value)
    assert "\n" not in told
    assert told.startswith(f"{path} holds no {type(module).__name__} on inputs of ({x.shape[0]}, 4)")
    assert "toy (forward, batch 2, length 1)" in told
    assert "nas kit make" in told


@given(data=st.data())
def test_a_cut_or_changed_file_is_refused(path: Path, data: st.DataObject) -> None:
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at]
    if data.draw(st.booleans(), label="changed, not cut"):
        byte = data.draw(st.integers(0, 255).filter(lambda b: b != whole[at] and chr(b) not in " \n\t\r"))
        changed += bytes([byte]) + whole[at + 1 :]
    other = path.with_name("other.json")
    other.write_bytes(changed)
    try:
        found = read_latency(other)
    except DeviceError as error:
        assert "copy it from the board again" in str(error)  # noqa: PT017  # or it says the same as before
    else:
        assert vars(found) | {"path": path, "sha256": ""} == vars(read_latency(path)) | {"sha256": ""}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "latency file 2"}, "is no latency file"),
        ({"versions": {"torch": "1.0"}}, "made by torch 1.0, this is " + torch.__version__),
    ],
)
def test_a_whole_file_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = tmp_path / "latency.json"
    write_json(path, {**VALUE, **change})
    with pytest.raises(DeviceError, match=re.escape(told)):
        read_latency(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"nowhere\.json: cannot read this latency file \(No such file"):
        read_latency(tmp_path / "nowhere.json")
