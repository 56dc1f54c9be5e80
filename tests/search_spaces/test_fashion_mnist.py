"""Fashion-MNIST: found where it is installed, else downloaded once; only the published files are taken."""

from __future__ import annotations

import gzip
import hashlib
import importlib
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from search_spaces import DataError
from search_spaces.fashion_mnist import CHECKSUMS, DEBIAN, NAMES, fashion_mnist
from tests.search_spaces.test_idx_files import idx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = importlib.import_module("search_spaces.fashion_mnist")
"""The package has a function of that name."""


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str]

    def log_message(self, format: str, *arguments: object) -> None:
        self.asked.append(self.path)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder, served at the address of the authors, that has small files of the same names."""
    folder = tmp_path / "published"
    folder.mkdir()
    checksums = {}
    for name in CHECKSUMS:
        count = 40 if name.startswith("train") else 10
        values = [number % 10 for number in range(count)]
        sizes = (count,) if "labels" in name else (count, 2, 2)
        content = idx(8, sizes, values if "labels" in name else [v for v in values for _ in range(4)])
        (folder / name).write_bytes(gzip.compress(content))
        checksums[name] = hashlib.sha256(content).hexdigest()
    Quiet.asked = []
    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(MODULE, "CHECKSUMS", checksums)
    monkeypatch.setattr(MODULE, "URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(MODULE, "DEBIAN", tmp_path / "not installed")
    monkeypatch.setenv("DNAS_CACHE_DIR", str(tmp_path / "cache"))
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


def test_files_are_downloaded_once(published: Path, tmp_path: Path) -> None:
    task = fashion_mnist()
    assert (task.name, task.labels, task.channels, task.length) == ("fashion-mnist", NAMES, 1, 2)
    described = task.describe()
    assert described["examples"] == {"train": 30, "validation": 10, "test": 10}
    assert described["augmentation"] == {"border": 1 / 14, "mirror": True}
    assert sorted(Quiet.asked) == sorted(f"/{name}" for name in CHECKSUMS)
    cache = tmp_path / "cache" / "fashion-mnist"
    assert {path.name for path in cache.iterdir()} == set(CHECKSUMS)
    assert fashion_mnist(4).length == 4
    assert len(Quiet.asked) == 4
    (cache / "t10k-labels-idx1-ubyte.gz").unlink()
    assert fashion_mnist().describe()["sha256"] == described["sha256"]
    assert len(Quiet.asked) == 5


def test_installed_files_come_first(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "DEBIAN", published)
    assert fashion_mnist().describe()["source"] == str(published)
    assert Quiet.asked == []


def test_a_download_that_is_something_else_is_not_kept(published: Path, tmp_path: Path) -> None:
    name = "train-labels-idx1-ubyte.gz"
    whole, cache = (published / name).read_bytes(), tmp_path / "cache" / "fashion-mnist"
    for content, said in (
        (gzip.compress(b"something else"), "it is not the file that was published"),
        (whole[:-12], "it is not the file that was published"),
        (b"<html>", "it is not the file that was published"),
        (whole[:12] + b"\xff" + whole[13:], "gzip cannot unpack it"),
    ):
        (published / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}.*{said}") as caught:
            fashion_mnist()
        assert "\n" not in str(caught.value)
        assert {path.name for path in cache.iterdir()} == {"train-images-idx3-ubyte.gz"}
    (published / name).write_bytes(whole)
    assert fashion_mnist().classes == 10


def test_a_kept_file_that_was_damaged_since(published: Path, tmp_path: Path) -> None:
    fashion_mnist()
    path = tmp_path / "cache" / "fashion-mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{path}: not the file that was published: remove it"):
        fashion_mnist()


def test_without_a_network_the_package_is_named(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (published / "train-images-idx3-ubyte.gz").unlink()
    said = r"train-images-idx3-ubyte.gz cannot be downloaded \(.*404.*\): install Debian's package dataset-fa"
    with pytest.raises(DataError, match=said):
        fashion_mnist()
    monkeypatch.setattr(MODULE, "URL", "http://127.0.0.1:9")
    with pytest.raises(
        DataError, match=r"cannot be downloaded \(.*refused.*\): .* a folder that has its four"
    ):
        fashion_mnist()


def test_a_cache_that_cannot_be_written(published: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: cannot be written: Not a directory"):
        fashion_mnist()


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_installed_files_are_the_published_ones() -> None:
    task = fashion_mnist()
    described = task.describe()
    assert described["examples"] == {"train": 54_000, "validation": 6_000, "test": 10_000}
    assert all(counts["test"] == 1000 for counts in described["classes"].values())
    (images,), labels = next(task.batches("test", 10_000, 1))
    assert images.shape == (10_000, 1, 28, 28)
    assert labels[:5].tolist() == [9, 2, 1, 1, 6], "ankle boot, pullover, two trousers, shirt"
