"""A packed winner: what goes in comes out on the board, and what is not whole is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hw_cost_models.errors import DamagedFileError, HardwareCostError
from hw_cost_models.files import write_json
from hw_cost_models.kit.archive import zip_folder
from hw_cost_models.kit.board.manifest import read_manifest
from hw_cost_models.kit.board.winners import LISTING, winners
from hw_cost_models.kit.packing import pack
from tests.hw_cost_models.kit.conftest import write_product

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "winner.zip"
    networks = {}
    for kind, inputs in (("forward", ("tokens",)), ("decode", ("token", "state"))):
        model = tmp_path / f"{kind}.onnx"
        write_product(model, np.ones((4, 9), np.float32), 2, inputs=inputs)
        networks[kind] = model, tuple(torch.full((2, 4), float(i)) for i in range(len(inputs)))
    pack(networks, path)  # type: ignore[arg-type]  # a dict of literals
    return path


def test_what_goes_in_comes_out(kit: Path, packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    found = winners(kit, read_manifest(kit), packed, folder)
    assert found.keys() == {"forward", "decode"}
    model, inputs = found["decode"]
    assert model.read_bytes() == (tmp_path / "decode.onnx").read_bytes()
    with np.load(inputs) as arrays:
        assert {name: array.max() for name, array in arrays.items()} == {"token": 0.0, "state": 1.0}


@pytest.mark.parametrize("cut", [1, 100, 2000])
def test_a_packed_winner_that_is_cut(kit: Path, packed: Path, tmp_path: Path, cut: int) -> None:
    packed.write_bytes(packed.read_bytes()[:-cut])
    with pytest.raises(HardwareCostError) as error:
        winners(kit, read_manifest(kit), packed, tmp_path / "unpacked")
    assert "winner.zip" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_it_that_was_changed(kit: Path, packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    model, _ = winners(kit, read_manifest(kit), packed, folder)["forward"]
    model.write_bytes(model.read_bytes() + b"\0")
    zip_folder(folder, packed)
    with pytest.raises(DamagedFileError, match=r"winner\.zip is damaged: copy it again"):
        winners(kit, read_manifest(kit), packed, tmp_path / "again")


def test_another_zip_file(kit: Path, tmp_path: Path) -> None:
    folder, path = tmp_path / "other", tmp_path / "other.zip"
    folder.mkdir()
    zip_folder(folder, path)
    with pytest.raises(DamagedFileError, match=re.escape("other.zip is damaged or no packed winner")):
        winners(kit, read_manifest(kit), path, tmp_path / "unpacked")
    write_json(folder / LISTING, {"format": "another"})
    zip_folder(folder, path)
    with pytest.raises(DamagedFileError, match=r"other\.zip is no packed winner: `nas kit pack RUN` writes"):
        winners(kit, read_manifest(kit), path, tmp_path / "unpacked")
