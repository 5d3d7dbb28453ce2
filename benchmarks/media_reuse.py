"""`media: resize`: the second build after one box changed, against the first, of 200 photos of 2048 px.

The whole asset each time: reading the snapshot, the photos, COCO files, hashes, publishing.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from agar_pipeline.artifacts import Snapshot
from agar_pipeline.chain.build import build_node
from agar_pipeline.chain.nodes import AssetNode
from agar_pipeline.config import CocoCacheConfig, LeakageConfig, SplitConfig
from agar_pipeline.files.disk import show_bytes
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.store import Key, Store
from benchmarks._timing import print_ratio

ROUNDS = 5
PHOTOS, SIZE_PX, MAX_SIDE = 200, 2048, 1024
BOXES_EACH = 20


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _write_photos(folder / "photos")
        firsts, seconds = [], []
        for turn in range(ROUNDS):
            store = Store(folder / f"home{turn}")
            firsts.append(_build(store, folder / "photos", rows, moved_px=0.0))
            seconds.append(_build(store, folder / "photos", rows, moved_px=1.0))
        cache = store.latest(Key("coco_cache"))
        assert cache is not None
        media = json.loads((cache / "dataset.json").read_text())["media"]
    print(f"{PHOTOS} photos: {media['made']} made, {media['reused']} reused, {show_bytes(media['size_bytes'])}")
    print_ratio("media_reuse", firsts, seconds, aim=10)


def _write_photos(folder: Path) -> list[tuple[int, str, int, int, int, str]]:
    """Four plates under many names: what follows a JPEG's end changes its hash and nothing else."""
    generate_plates(folder / "plates", 4, size_px=SIZE_PX, seed=1)
    plates = [path.read_bytes() for path in sorted((folder / "plates").glob("*.jpg"))]
    rows = []
    for i in range(1, PHOTOS + 1):
        data = plates[i % len(plates)] + str(i).encode()
        (folder / f"{i}.jpg").write_bytes(data)
        rows.append((i, f"{i}.jpg", SIZE_PX, SIZE_PX, len(data), hashlib.sha256(data).hexdigest()))
    return rows


def _build(store: Store, photos: Path, rows: list[tuple[int, str, int, int, int, str]], moved_px: float) -> float:
    """Seconds of building the COCO cache; `moved_px` is what one box differs by."""
    snapshot = _snapshot(store, photos, rows, moved_px)
    unlooked = SplitConfig(leakage=LeakageConfig(exact="off", near="off"))  # the photos are four plates many times
    split = build_node(
        store, AssetNode(Key("split"), unlooked, (Key("snapshot"),)), {Key("snapshot"): snapshot}, _quiet
    )
    inputs = {Key("snapshot"): snapshot, Key("split"): split.artifact}
    config = CocoCacheConfig(class_map={"colony": 1}, media="resize", max_side=MAX_SIDE)
    started = time.perf_counter()
    build_node(store, AssetNode(Key("coco_cache"), config, tuple(inputs)), inputs, _quiet)
    return time.perf_counter() - started


def _snapshot(store: Store, photos: Path, rows: list[tuple[int, str, int, int, int, str]], moved_px: float) -> Snapshot:
    def write(out_dir: Path) -> None:
        images = pd.DataFrame(rows, columns=["image_id", "path", "width", "height", "size_bytes", "sha256"])
        images["sample_id"] = images["path"]
        images.to_parquet(out_dir / "images.parquet")
        images[["image_id", "sample_id", "path", "sha256"]].to_parquet(out_dir / "image_ids.parquet")
        count = PHOTOS * BOXES_EACH
        boxes = pd.DataFrame({"box_id": np.arange(1, count + 1), "label": "colony", "iscrowd": False})
        boxes["image_id"] = np.repeat(images["image_id"].to_numpy(), BOXES_EACH)
        corners = np.random.default_rng(0).uniform(0, SIZE_PX - 40, (count, 2))
        corners[0, 0] += moved_px
        boxes["x"], boxes["y"], boxes["width"], boxes["height"] = *corners.T, 30.0, 30.0
        boxes.to_parquet(out_dir / "boxes.parquet")
        (out_dir / "dataset.json").write_text(json.dumps({"images_dir": str(photos)}))

    return store.build(Key("snapshot"), {"moved_px": moved_px}, {}, write, _quiet).artifact


def _quiet(text: str) -> None:
    """No log."""
