from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agar_pipeline.snapshot_files import file_hashes
from agar_pipeline.snapshot_files.file_hashes import displayed_size, hash_files


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a photo.jpg"
    Image.new("RGB", (30, 20)).save(path)
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh files count as settled, so that the tests need not wait a second."""
    monkeypatch.setattr(file_hashes, "SETTLED_NS", 0)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were really read."""
    read: list[str] = []
    really = file_hashes._hash_file

    def note_and_hash(path: str) -> Any:
        read.append(path)
        return really(path)

    monkeypatch.setattr(file_hashes, "_hash_file", note_and_hash)
    return read


def test_hashes_sizes_and_sides_come_in_the_order_asked_for(photo: Path, tmp_path: Path) -> None:
    text = tmp_path / "no photo.txt"
    text.write_text("no")
    hashes = hash_files([str(text), str(photo), str(text)], tmp_path / "home")
    assert hashes.sha256 == [hashlib.sha256(path.read_bytes()).hexdigest() for path in (text, photo, text)]
    assert hashes.size_bytes.tolist() == [2, photo.stat().st_size, 2]
    assert hashes.sizes_wh.tolist() == [[0, 0], [30, 20], [0, 0]]


def test_an_untouched_file_is_read_once(photo: Path, tmp_path: Path, hashed: list[str], settled: None) -> None:
    first = hash_files([str(photo)], tmp_path / "home")
    second = hash_files([str(photo)], tmp_path / "home")
    assert hashed == [str(photo)]
    assert first.sha256 == second.sha256
    assert second.sizes_wh.tolist() == [[30, 20]]


def test_a_file_that_has_just_changed_is_read_again(photo: Path, tmp_path: Path, hashed: list[str]) -> None:
    hash_files([str(photo)], tmp_path / "home")
    hash_files([str(photo)], tmp_path / "home")
    assert len(hashed) == 2


def test_a_file_replaced_in_place_is_seen_though_size_and_mtime_stay(
    photo: Path, tmp_path: Path, settled: None
) -> None:
    first = hash_files([str(photo)], tmp_path / "home")
    before = photo.stat()
    content = bytearray(photo.read_bytes())
    content[-3] ^= 1
    time.sleep(0.02)  # the clock of the file system must tick
    photo.write_bytes(content)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hash_files([str(photo)], tmp_path / "home").sha256 != first.sha256


def test_touching_a_file_changes_nothing(photo: Path, tmp_path: Path, settled: None) -> None:
    first = hash_files([str(photo)], tmp_path / "home")
    os.utime(photo, (0, 0))
    assert hash_files([str(photo)], tmp_path / "home").sha256 == first.sha256


def test_a_rotated_photo_has_its_displayed_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "r.jpg", exif=exif)
    assert hash_files([str(tmp_path / "r.jpg")], tmp_path / "home").sizes_wh.tolist() == [[20, 30]]


def test_missing_files_folders_and_locked_files_are_null(photo: Path, tmp_path: Path) -> None:
    hashes = hash_files([str(tmp_path / "gone.jpg"), str(tmp_path), str(photo)], tmp_path / "home")
    assert hashes.size_bytes.tolist() == [-1, -1, photo.stat().st_size]
    assert hashes.sha256[:2] == [None, None]


def test_a_png_is_not_decoded_for_its_orientation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert displayed_size(str(tmp_path / "a.png")) == (30, 20)


def test_several_processes_hash_at_once(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}.bin").write_bytes(os.urandom(1000))
    code = (
        "import sys; from pathlib import Path; from agar_pipeline.snapshot_files.file_hashes import hash_files;"
        "folder = Path(sys.argv[1]);"
        "print(hash_files(sorted(map(str, folder.glob('*.bin'))), folder / 'home').sha256)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(answers) == 1
