"""Work on many photos in partitions on Ray comes to what threads of this machine come to, bit for bit."""

from __future__ import annotations

import hashlib
import os
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.cluster.partitions import launched_by, open_pool
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import SplitConfig
from agar_pipeline.labels.file_checks import check_files
from agar_pipeline.media.copy_photos import place_photos
from agar_pipeline.media.photo import Photo
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.snapshot_files.file_hashes import hash_files
from agar_pipeline.splitting.duplicates import find_duplicates
from agar_pipeline.splitting.picture_hashes import see_pictures

PHOTOS = 70
"""More than two partitions."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Plates, one cut off, one that is no image, one twice."""
    folder = tmp_path_factory.mktemp("photos")
    generate_plates(folder, PHOTOS, 160, 0, None, (3, 8))
    paths = [folder / f"{number}.jpg" for number in range(1, PHOTOS + 1)]
    paths[3].write_bytes(paths[3].read_bytes()[:-600])
    paths[40].write_text("no image")
    paths[69].write_bytes(paths[0].read_bytes())
    return paths


@pytest.fixture(autouse=True)
def on_the_cluster(ray_cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ray_cluster.items():
        monkeypatch.setenv(name, value)


def process_id(item: int) -> tuple[int, int]:
    return item, os.getpid()


def test_partitions_are_done_by_others_and_come_in_order() -> None:
    with launched_by("ray", print), open_pool() as pool:
        found = list(pool.map(process_id, iter(range(1000))))
    assert [item for item, _ in found] == list(range(1000))
    assert os.getpid() not in {process for _, process in found}


def test_what_a_function_raises_is_raised_here() -> None:
    with launched_by("ray", print), open_pool() as pool, pytest.raises(FileNotFoundError) as caught:
        list(pool.map(os.stat, ["/nowhere"]))
    assert caught.value.filename == "/nowhere"


def test_hashes_checks_looks_and_copies_are_the_same(photos: list[Path], tmp_path: Path) -> None:
    names = [str(path) for path in photos]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in photos]
    seen: list[tuple[int, int]] = []

    def hash_all(where: str) -> Any:
        files = hash_files(names, tmp_path / where)
        assert files.sha256 == digests
        return files.size_bytes.tolist(), files.sizes_wh.tolist(), files.orientations.tolist(), files.stamps

    def check(where: str) -> Any:
        none, count = np.zeros(0, np.int64), len(photos)
        file_names = np.array([path.name for path in photos], object)
        sizes_wh = np.full((count, 2), 160)
        columns = CocoColumns(
            np.arange(count), file_names, sizes_wh, none, none, none, np.zeros((0, 4)), none > 0, none, ()
        )
        seen.clear()
        table = check_files(columns, "train", photos[0].parent, "decode", progress=lambda *far: seen.append(far))
        assert set(table["rule"]) == {"unreadable_image"}
        assert seen[-1] == (PHOTOS, PHOTOS), "a progress bar has something to show"
        return table.to_csv()

    def look(where: str) -> Any:
        pictures = see_pictures(photos, digests, tmp_path / where, lambda done, total: None)
        return [astuple(picture) for picture in pictures]

    def pair(where: str) -> Any:
        found = find_duplicates(SplitConfig(), photos, digests, tmp_path / f"{where}-2", lambda done, total: None)
        assert [0, 69] in found.exact.tolist()
        return found.exact.tolist(), found.near.tolist(), found.distances.tolist(), found.cut

    def shrink(where: str) -> Any:
        wanted = [
            Photo(path.name, digest, path.stat().st_size, Image.open(path).size, (96, 96))
            for path, digest in zip(photos, digests, strict=True)
            if path not in (photos[3], photos[40])
        ]
        placed = place_photos(wanted, photos[0].parent, tmp_path / f"{where}-photos", "resize", {}, lambda *far: None)
        assert placed.made == len(wanted) - 1
        copies = sorted((tmp_path / f"{where}-photos").iterdir())
        assert Image.open(copies[0]).size == (96, 96)
        return [(path.name, path.read_bytes()) for path in copies], {
            name: (file.size_bytes, file.sha256) for name, file in placed.files.items()
        }

    works = (hash_all, check, look, pair, shrink)
    here = [work("here") for work in works]
    with launched_by("ray", print):
        for work, expected in zip(works, here, strict=True):
            assert work("there") == expected, work.__name__
