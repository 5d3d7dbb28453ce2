"""The leakage gate on 4,431 photos of 2048 px: the first look, and the second, with hashes remembered.

The alternative is a minute, the most that it may take. The photos are the hardest that a lab has: ten plates, each
photographed over and over with a few colonies more, so that nearly all of them hash alike and must be compared place
by place; every fiftieth is a coarser copy of the one before. LEAKAGE_PHOTOS in the environment makes them fewer, and
the minute shorter in proportion. About 2 GB in a temporary folder.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from agar_pipeline.config import SplitConfig
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.splitting.duplicates import Duplicates, find_duplicates
from benchmarks._timing import report_ratio

PHOTOS = int(os.environ.get("LEAKAGE_PHOTOS", "4431"))
SCENES, SIZE_PX, COLONIES = 10, 2048, 6
COPY_EVERY = 50
LIMIT_S = 60.0 * PHOTOS / 4431


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        paths, digests = _write_photos(folder)
        copies = [(row - 1, row) for row in _copies()]
        print(f"{len(paths)} photos written in {time.perf_counter() - started:.0f} s, {os.cpu_count()} cores")
        first_s, found = _look(paths, digests, folder / "home")
        second_s, again = _look(paths, digests, folder / "home")
    assert len(found.exact) == 0
    assert np.array_equal(found.near, again.near)
    seen = len(set(copies) & set(map(tuple, found.near.tolist())))
    print(f"{seen} of {len(copies)} coarser copies found, {len(found.near) - seen} other pairs; {found.cut} photos cut")
    print(f"leakage: first look {first_s:.1f} s, second {second_s:.1f} s, of {LIMIT_S:.1f} s allowed")
    report_ratio("leakage", LIMIT_S / first_s, aim=1)


def _look(paths: list[Path], digests: list[str], home: Path) -> tuple[float, Duplicates]:
    started, cpu_started = time.perf_counter(), time.process_time()
    found = find_duplicates(SplitConfig(), paths, digests, home, lambda done, total: None)
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    print(f"{seconds:.1f} s, of which all cores worked {cpu_s:.1f} s: a busy machine lengthens the first alone")
    return seconds, found


def _copies() -> Iterable[int]:
    return range(COPY_EVERY, PHOTOS, COPY_EVERY)


def _write_photos(folder: Path) -> tuple[list[Path], list[str]]:
    """Paths of the photos, and the sha256 of each."""
    import simplejpeg

    generate_plates(folder / "scenes", SCENES, size_px=SIZE_PX, seed=1)
    scenes = [simplejpeg.decode_jpeg(path.read_bytes()) for path in sorted((folder / "scenes").glob("*.jpg"))]
    copies = set(_copies())

    def write(row: int) -> tuple[Path, str]:
        of = row - 1 if row in copies else row
        photo = _with_colonies(scenes[of % SCENES], seed=of)
        data = simplejpeg.encode_jpeg(photo, quality=60 if row in copies else 90, colorsubsampling="420")
        path = folder / f"{row}.jpg"
        path.write_bytes(data)
        return path, hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        written = list(pool.map(write, range(PHOTOS)))
    return [path for path, _ in written], [digest for _, digest in written]


def _with_colonies(scene: np.ndarray, seed: int) -> np.ndarray:
    """The scene with a few bright discs more, 27 to 60 px wide."""
    random, photo = np.random.default_rng(seed), scene.copy()
    for _ in range(COLONIES):
        radius = int(random.integers(14, 30))
        x, y = random.integers(SIZE_PX // 4, 3 * SIZE_PX // 4, 2).tolist()
        rows, columns = np.ogrid[-radius:radius, -radius:radius]
        photo[y - radius : y + radius, x - radius : x + radius][rows**2 + columns**2 < radius**2] = (235, 225, 190)
    return photo


if __name__ == "__main__":
    main()
