"""Profiles: those that come with the package, and what a bad one gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from hw_cost_models.device import device_names, load_device
from hw_cost_models.errors import DeviceError

if TYPE_CHECKING:
    from pathlib import Path

_GOOD = """
name = "board"
description = "a board"
runtime = "onnxruntime"
provider = "CPUExecutionProvider"
threads = 2
memory_mb = { value = 1024, source = "data sheet" }
[roofline]
peak_gflops = { value = 10.5, source = "data sheet" }
bandwidth_gb_s = { value = 2, source = "data sheet" }
overhead_us = { value = 1, source = "data sheet" }
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return tmp_path / "board.toml"


def test_every_profile_loads_and_is_called_as_its_file() -> None:
    assert device_names() == ("local", "nvidia-l4", "raspberry-pi-5")
    for name in device_names():
        assert load_device(name).name == name


def test_the_peak_of_the_pi_follows_from_its_core() -> None:
    roofline = load_device("raspberry-pi-5").roofline
    assert roofline is not None
    assert roofline.peak_gflops.value == pytest.approx(4 * 2.4 * 2 * 4 * 2)
    assert roofline.bandwidth_gb_s.value == pytest.approx(4.267 * 4, rel=0.01)


def test_a_profile_of_ones_own(profile: Path) -> None:
    profile.write_text(_GOOD)
    assert load_device(profile) == load_device(str(profile))
    assert load_device(profile).threads == 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "value = 10.5, source",
            "value = 10.5, sauce",
            r"peak_gflops\.source is missing.*where it comes",
        ),
        (
            'source = "data sheet" }\n[roof',
            'source = " " }\n[roof',
            r"memory_mb\.source = ' ' is not",
        ),
        ("value = 10.5", "value = -10.5", r"roofline\.peak_gflops\.value = -10\.5 .*greater than 0"),
        ("value = 10.5", "value = nan", r"roofline\.peak_gflops\.value = nan .*finite"),
        ("value = 10.5", "value = true", r"roofline\.peak_gflops\.value = True .*valid number"),
        ("threads = 2", "threads = 0", r"threads = 0 .*greater than or equal to 1"),
        ("threads = 2", "", r"threads is missing; add it"),
        ("threads = 2", "threads = 2\nturbo = 1", r"turbo is no field"),
        ('runtime = "onnxruntime"', 'runtime = "tvm"', r"runtime = 'tvm' .*'onnxruntime'"),
        (
            'memory_mb = { value = 1024, source = "data sheet" }',
            "memory_mb = 8",
            r"= 8 must be a table",
        ),
        ("[roofline]", "[roofline", r"must be TOML"),
    ],
)
def test_a_bad_profile_names_file_and_field(profile: Path, old: str, new: str, says: str) -> None:
    assert old in _GOOD
    profile.write_text(_GOOD.replace(old, new, 1))
    with pytest.raises(DeviceError, match=says) as caught:
        load_device(profile)
    assert str(profile) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_gets_the_valid_ones() -> None:
    with pytest.raises(
        DeviceError, match=r"'raspbery-pi-5' \(did you mean 'raspberry-pi-5'\?\).*local, nvidia"
    ):
        load_device("raspbery-pi-5")
    with pytest.raises(DeviceError, match=r"no device 'tpu'; the devices are local"):
        load_device("tpu")


def test_an_absent_file(profile: Path) -> None:
    with pytest.raises(DeviceError, match=r"board\.toml: cannot read this device profile \(No such file"):
        load_device(profile)


def test_threads() -> None:
    local = load_device("local")
    assert local.with_threads(2).threads == 2
    assert local.threads == 1
    with pytest.raises(DeviceError, match="at least 1, got 0"):
        local.with_threads(0)
    with pytest.raises(DeviceError, match="its figures are for 4 threads, not 1"):
        load_device("raspberry-pi-5").with_threads(1)


def test_runtimes() -> None:
    local = load_device("local")
    assert local.with_runtime("onnxruntime") == local
    other = local.with_threads(2).with_runtime("openvino")
    assert (other.runtime, other.provider, other.threads) == ("openvino", "CPU", 2)
    assert local.with_runtime("onnxruntime", "CUDAExecutionProvider").provider == "CUDAExecutionProvider"
    with pytest.raises(
        DeviceError, match=r"no runtime 'tvm'; the runtimes are onnxruntime, openvino, pytorch"
    ):
        local.with_runtime("tvm")
    with pytest.raises(DeviceError, match="its figures are for onnxruntime, not openvino"):
        load_device("raspberry-pi-5").with_runtime("openvino")


def test_a_device_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_device("local").threads = 4  # type: ignore[misc]  # that it is refused is the test
