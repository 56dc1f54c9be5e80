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
bandwidth_gb_s = { value = 2, source = "data sheet" }
overhead_us = { value = 1, source = "data sheet" }
[roofline.peak_gflops]
float32 = { value = 10.5, source = "data sheet" }
float16 = { value = 21, source = "data sheet" }
[roofline.share_of_peak]
matmul = { value = 0.5, source = "measured" }
[energy]
idle_w = { value = 3, source = "wall meter" }
pj_per_op.float32 = { value = 100, source = "wall meter" }
pj_per_byte_memory = { value = 50, source = "data sheet" }
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return tmp_path / "board.toml"


def test_every_profile_loads_and_is_called_as_its_file() -> None:
    assert {"local", "nvidia-h100", "pixel-6", "raspberry-pi-4", "raspberry-pi-5"} <= {*device_names()}
    for name in device_names():
        device = load_device(name)
        assert device.name == name
        assert device.here == (name == "local") == (device.roofline is None)


@pytest.mark.parametrize(
    ("name", "cores", "ghz", "flop_per_cycle", "gb_s"),
    [
        ("raspberry-pi-4", 4, 1.8, 4 * 2, 3.2 * 4),
        ("raspberry-pi-5", 4, 2.4, 2 * 4 * 2, 4.267 * 4),
        ("pixel-6", 2, 2.8, 4 * 4 * 2, 4 * 2 * 6.4),
        ("ampere-altra-q32", 32, 1.7, 2 * 4 * 2, 8 * 8 * 3.2),
    ],
)
def test_peaks_follow_from_cores_and_lanes(
    name: str, cores: int, ghz: float, flop_per_cycle: int, gb_s: float
) -> None:
    device = load_device(name)
    assert device.roofline is not None
    peak = device.roofline.peak_gflops
    assert peak["float32"].value == pytest.approx(cores * ghz * flop_per_cycle)
    assert device.roofline.bandwidth_gb_s.value == pytest.approx(gb_s, rel=0.01)
    if "int8" in peak:  # with dot products of bytes, and arithmetic in half precision
        assert peak["float16"].value == pytest.approx(2 * peak["float32"].value)
        assert peak["int8"].value == pytest.approx(4 * peak["float32"].value)


@pytest.mark.parametrize("name", ["nvidia-l4", "nvidia-a100", "nvidia-h100", "jetson-orin-nano"])
def test_tensor_cores_take_bytes_twice_as_fast(name: str) -> None:
    roofline = load_device(name).roofline
    assert roofline is not None
    peak = roofline.peak_gflops
    assert peak["float16"].value == peak["bfloat16"].value
    assert peak["int8"].value == pytest.approx(2 * peak["float16"].value, rel=0.01)


def test_a_profile_of_ones_own(profile: Path) -> None:
    profile.write_text(_GOOD)
    assert load_device(profile) == load_device(str(profile))
    device = load_device(profile)
    assert device.threads == 2
    assert device.energy is not None
    assert device.energy.byte_pj(on_chip=True) == device.energy.byte_pj(on_chip=False) == 50


def test_rates_by_type_and_kind(profile: Path) -> None:
    profile.write_text(_GOOD)
    roofline = load_device(profile).roofline
    assert roofline is not None
    assert roofline.flops_per_ms("float16", "elementwise") == 21e6
    assert roofline.flops_per_ms("float16", "matmul") == 21e6 / 2
    assert roofline.flops_per_ms("float16", "convolution") == 21e6 / 2  # computed as a matrix product
    for other in ("int8", "uint8", "bfloat16", "float64", "int64"):  # float32's, for want of their own
        assert roofline.flops_per_ms(other, "reduction") == 10.5e6
    assert roofline.bytes_per_ms(True, "matmul") == roofline.bytes_per_ms(False, "matmul") == 2e6


def test_bytes_signed_or_not() -> None:
    roofline = load_device("raspberry-pi-5").roofline
    assert roofline is not None
    assert roofline.flops_per_ms("uint8", "scan") == roofline.flops_per_ms("int8", "scan") == 614.4e6


_CACHE = """[roofline.cache_gb_s]
value = 20
source = "measured"
"""


def test_moving_has_a_share_of_the_bandwidth(profile: Path) -> None:
    profile.write_text(_GOOD.replace("matmul", "movement").replace("[energy]", _CACHE + "[energy]"))
    roofline = load_device(profile).roofline
    assert roofline is not None
    assert roofline.bytes_per_ms(False, "movement") == 1e6
    assert roofline.bytes_per_ms(True, "movement") == 10e6
    assert roofline.bytes_per_ms(True, "matmul") == 20e6


def test_a_profile_of_this_machine(profile: Path) -> None:
    text = _GOOD[: _GOOD.index("[roofline]")]
    profile.write_text(text)
    assert load_device(profile).here
    profile.write_text(text + "here = false")
    with pytest.raises(DeviceError, match=r"board\.toml: roofline is missing: a device that is not here"):
        load_device(profile)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "value = 10.5, source",
            "value = 10.5, sauce",
            r"peak_gflops\.float32\.source is missing.*where it comes",
        ),
        (
            'source = "data sheet" }\n[roof',
            'source = " " }\n[roof',
            r"memory_mb\.source = ' ' is not",
        ),
        ("value = 10.5", "value = -10.5", r"peak_gflops\.float32\.value = -10\.5 .*greater than 0"),
        ("value = 10.5", "value = nan", r"peak_gflops\.float32\.value = nan .*finite"),
        ("value = 10.5", "value = true", r"peak_gflops\.float32\.value = True .*valid number"),
        ("\nfloat32 = ", "\nbfloat16 = ", r"roofline\.peak_gflops\.float32 is missing: .*fall back"),
        ("\nfloat16 = ", "\nfp16 = ", r"roofline\.peak_gflops\.fp16 = 'fp16' .*'bfloat16' or 'int8'"),
        ("matmul = ", "gemm = ", r"roofline\.share_of_peak\.gemm = 'gemm' .*'matmul', 'convolution'"),
        ("value = 0.5", "value = 1.5", r"share_of_peak\.matmul\.value = 1\.5 .*less than or equal to 1"),
        ("idle_w = ", "idle = ", r"energy\.idle_w is missing; add it"),
        ("value = 100", "value = 0", r"energy\.pj_per_op\.float32\.value = 0 .*greater than 0"),
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
    with pytest.raises(DeviceError, match=r"no device 'tpu'; the devices are ampere"):
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
    assert load_device("raspberry-pi-5").with_threads(4) == load_device("raspberry-pi-5")


def test_what_was_measured_holds_as_it_was_measured() -> None:
    local = load_device("local")
    measured = local.model_copy(update={"roofline": load_device("raspberry-pi-5").roofline})
    assert measured.here
    assert measured.with_threads(1) == measured
    assert measured.with_threads(2).roofline is None
    assert measured.with_runtime("openvino").roofline is None


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
    with pytest.raises(DeviceError, match="for onnxruntime on CPUExecutionProvider, not openvino"):
        load_device("raspberry-pi-5").with_runtime("openvino")


def test_a_device_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_device("local").threads = 4  # type: ignore[misc]  # that it is refused is the test
