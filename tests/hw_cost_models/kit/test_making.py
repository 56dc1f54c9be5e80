"""What is in a kit: checked against its parts, and against what a board can run."""

from __future__ import annotations

import ast
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch

from hw_cost_models.files import digest, read_json
from hw_cost_models.kit.making import make_kit
from hw_cost_models.kit.sources import PACKAGE, sources
from tests.hw_cost_models.kit.conftest import ITEMS, KEYS, REFERENCE, WORKLOAD, export

if TYPE_CHECKING:
    from pathlib import Path

THERE = {*sys.stdlib_module_names, "numpy", "onnxruntime"}
"""What a board has; `hw_cost_models` there is the kit's own."""


def test_every_file_is_in_the_manifest_with_its_digest(kit: Path) -> None:
    files = {p.relative_to(kit).as_posix(): digest(p.read_bytes()) for p in kit.rglob("*") if p.is_file()}
    del files["README.txt"], files["manifest.json"]
    assert read_json(kit / "manifest.json")["files"] == files


def test_the_networks_say_what_the_modules_say(kit: Path) -> None:
    manifest = read_json(kit / "manifest.json")
    assert list(manifest["networks"]) == KEYS
    assert manifest["reference"] == REFERENCE
    for key, (module, (x,)) in ITEMS.items():
        network = manifest["networks"][key]
        session = onnxruntime.InferenceSession(str(kit / network["model"]))
        with np.load(kit / network["inputs"]) as arrays:
            (found,) = session.run(None, dict(arrays))
        expected = torch.nn.functional.linear(x, module.weight).detach().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_equal_inputs_are_kept_once(kit: Path) -> None:
    """Three networks of the same input, and three anchors."""
    assert len(list((kit / "inputs").iterdir())) == 1 + 3


def test_sources_are_those_of_the_package(kit: Path) -> None:
    carried = {
        p.relative_to(kit / "hw_cost_models").as_posix() for p in (kit / "hw_cost_models").rglob("*.py")
    }
    assert {name for name in carried if not name.endswith("__init__.py")} == set(sources())
    for name in sources():
        assert (kit / "hw_cost_models" / name).read_bytes() == (PACKAGE / name).read_bytes()
    assert (kit / "measure.py").read_bytes() == (PACKAGE / "kit/board/measure.py").read_bytes()


@pytest.mark.parametrize("name", [*sources(), "kit/board/measure.py"])
def test_a_board_can_run_a_source(name: str) -> None:
    """Its grammar is Python 3.9's, and what it imports is there; type checkers' imports aside."""
    tree = ast.parse((PACKAGE / name).read_text(), feature_version=(3, 9))
    for_checkers = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in set(ast.walk(tree)) - for_checkers:
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [str(node.module)]
        else:
            continue
        for module in imported:
            if module.startswith("hw_cost_models."):
                assert module.split(".", 1)[1].replace(".", "/") + ".py" in sources()
            else:
                assert module.split(".")[0] in THERE


def test_a_kit_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "kit.zip").mkdir()
    with pytest.raises(OSError, match=r"kit\.zip"):
        make_kit(ITEMS, REFERENCE, tmp_path / "kit.zip", export=export, space="toy", workloads=[WORKLOAD])
    assert [path.name for path in tmp_path.iterdir()] == ["kit.zip"]


def test_the_readme_names_the_space_and_the_workload(zipped: Path) -> None:
    with zipfile.ZipFile(zipped) as archive:
        readme = archive.read("kit/README.txt").decode()
    assert readme.startswith("Measuring kit for toy (forward, batch 2, length 1).")
    assert "It times 6 networks" in readme
