"""The photos that a COCO cache holds itself, through the artifact on disk: linked, copied, smaller, reused, moved."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agar_pipeline.artifacts import CocoCache, Snapshot, Split
from agar_pipeline.chain.build import build_node
from agar_pipeline.chain.nodes import AssetNode
from agar_pipeline.coco.columns import read_coco
from agar_pipeline.config import BOX_POLICY_DEFAULTS, BboxReportConfig, CocoCacheConfig
from agar_pipeline.errors import DatasetError, ImageFileError, StorageError
from agar_pipeline.media import copy_photos
from agar_pipeline.photos.image_paths import safe_image_path
from agar_pipeline.photos.load_and_resize import load_image
from agar_pipeline.reports import offenders
from agar_pipeline.steps import bbox_report
from agar_pipeline.store import Built, Key, Store, find_faults

UPRIGHT, TURNED = 1, 6
PHOTOS = {
    "a/1.jpg": ((400, 300), UPRIGHT),
    "b/1.jpg": ((300, 400), UPRIGHT),
    "small.png": ((60, 40), UPRIGHT),
    "turned.jpg": ((400, 200), TURNED),
    "Größe 100% \n.jpg": ((320, 320), UPRIGHT),
    "x" * 251 + ".jpg": ((100, 50), UPRIGHT),
    "/".join(["培养皿" * 20] * 8) + "/deep.jpg": ((222, 111), UPRIGHT),
    "c/same as a.jpg": ((400, 300), UPRIGHT),
}
BOX_REL = (0.25, 0.5, 0.1, 0.2)


def make_photos(folder: Path) -> None:
    for seed, (name, (stored_wh, orientation)) in enumerate(PHOTOS.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0 if name.startswith("c/") else seed)
        photo = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(stored_wh)
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo.save(path, quality=92, exif=exif) if path.suffix == ".jpg" else photo.save(path)


class Lab:
    """A store with a snapshot and a split of photos, and COCO caches of them."""

    def __init__(self, home: Path, photos: Path) -> None:
        self.store, self.photos, self.log = Store(home), photos, list[str]()
        self.box_x = BOX_REL[0]

    def build(self, media: str, max_side: int | None = None, class_name: str = "colony") -> Built:
        config = CocoCacheConfig(class_map={class_name: 1}, media=media, max_side=max_side)  # type: ignore[arg-type]
        made = {Key("snapshot"): self._snapshot(class_name), Key("split"): self._split()}
        self.log.clear()
        return build_node(self.store, AssetNode(Key("coco_cache"), config, tuple(made)), made, self.log.append)

    def _snapshot(self, label: str) -> Snapshot:
        def write(out_dir: Path) -> None:
            rows = []
            for i, (name, (stored_wh, orientation)) in enumerate(PHOTOS.items(), 1):
                width, height = stored_wh[::-1] if orientation == TURNED else stored_wh
                data = (self.photos / name).read_bytes()
                rows.append((i, name, width, height, len(data), hashlib.sha256(data).hexdigest()))
            images = pd.DataFrame(rows, columns=["image_id", "path", "width", "height", "size_bytes", "sha256"])
            images.to_parquet(out_dir / "images.parquet")
            boxes = images[["image_id"]].assign(box_id=images["image_id"], label=label, iscrowd=False)
            rel = (self.box_x, *BOX_REL[1:])
            for side, share in zip(("x", "y", "width", "height"), rel, strict=True):
                boxes[side] = images["width" if side in ("x", "width") else "height"] * share
            boxes.to_parquet(out_dir / "boxes.parquet")
            images[["image_id"]].to_parquet(out_dir / "image_ids.parquet")
            (out_dir / "dataset.json").write_text(json.dumps({"images_dir": str(self.photos)}))

        config = {"photos": str(self.photos), "label": label, "box_x": self.box_x}
        return self.store.build(Key("snapshot"), config, {}, write, self.log.append).artifact

    def _split(self) -> Split:
        def write(out_dir: Path) -> None:
            parts = ["train", "val"] * (len(PHOTOS) // 2)
            table = pd.DataFrame({"image_id": np.arange(1, len(PHOTOS) + 1), "part": parts})
            table.to_parquet(out_dir / "split.parquet")
            for name in {*Split.files} - {"split.parquet"}:
                (out_dir / name).write_text('{"leakage": {"ok": true}}')

        return self.store.build(Key("split"), {}, {}, write, self.log.append).artifact


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    make_photos(tmp_path / "photos")
    return Lab(tmp_path / "home", tmp_path / "photos")


def images_of(cache: CocoCache) -> dict[str, dict[str, Any]]:
    parts = [json.loads(cache.json_path(part).read_text()) for part in cache.parts()]
    return {image["file_name"]: image for part in parts for image in part["images"]}


def every_photo_loads(cache: CocoCache) -> bool:
    for part in cache.parts():
        columns = read_coco(cache.json_path(part))
        for name, (width, height) in zip(columns.file_names, columns.sizes_wh.tolist(), strict=True):
            load_image(safe_image_path(cache.images_dir, name), 64, (width, height))
    return True


@pytest.mark.parametrize(("media", "max_side"), [("reference", None), ("link", None), ("copy", None), ("resize", 100)])
def test_every_photo_keeps_its_name_and_loads(lab: Lab, media: str, max_side: int | None) -> None:
    before = {name: (lab.photos / name).read_bytes() for name in PHOTOS}
    cache = lab.build(media, max_side).artifact
    assert set(images_of(cache)) == set(PHOTOS), "the same base name in two folders is two images"
    assert every_photo_loads(cache)
    assert find_faults(cache.root, thorough=True) == []
    assert {name: (lab.photos / name).read_bytes() for name in PHOTOS} == before, "sources are never written"
    if media in ("link", "copy"):
        assert {name: (cache.images_dir / name).read_bytes() for name in PHOTOS} == before
        linked = (cache.images_dir / "a/1.jpg").samefile(lab.photos / "a/1.jpg")
        assert linked == (media == "link")


def test_resize_scales_boxes_with_the_photos_and_enlarges_none(lab: Lab) -> None:
    cache = lab.build("resize", 100).artifact
    images = images_of(cache)
    sizes = {name: (image["width"], image["height"]) for name, image in images.items()}
    originals = {name: (image["original_width"], image["original_height"]) for name, image in images.items()}
    assert (sizes["a/1.jpg"], originals["a/1.jpg"]) == ((100, 75), (400, 300))
    assert (sizes["turned.jpg"], originals["turned.jpg"]) == ((50, 100), (200, 400)), "as displayed"
    assert (sizes["small.png"], originals["small.png"]) == ((60, 40), (60, 40))
    assert (cache.images_dir / "small.png").read_bytes() == (lab.photos / "small.png").read_bytes()
    for part in cache.parts():
        columns = read_coco(cache.json_path(part))
        factors = np.tile(columns.sizes_wh, 2)
        assert np.allclose(columns.boxes_xywh, np.array(BOX_REL) * factors, atol=1e-9)
        assert np.allclose(
            columns.in_photo_pixels().boxes_xywh, np.array(BOX_REL) * np.tile(columns.original_sizes_wh, 2)
        )
    for name in ("a/1.jpg", "turned.jpg"):
        with Image.open(cache.images_dir / name) as copy:
            assert (copy.size, copy.getexif().get(0x0112, 1)) == (sizes[name], 1)
        ours = load_image(cache.images_dir / name, 100)[0].astype(float)
        theirs = load_image(lab.photos / name, 100)[0].astype(float)
        assert ((ours - theirs) ** 2).mean() < 255**2 / 10**3.5, "35 dB from what the loader makes of the photo"


def test_a_changed_box_makes_no_photo_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lab.build("resize", 100)
    assert "7 photos resized, 1 reused" in lab.log[0], "two photos have the same content"
    lab.box_x = 0.3
    with monkeypatch.context() as patch:
        patch.setattr(copy_photos, "shrink", lambda *args: pytest.fail("a photo was made again"))
        second = lab.build("resize", 100)
    assert "0 photos resized, 8 reused" in lab.log[0]
    assert second.artifact.data_version != first.artifact.data_version
    names = [file["path"] for file in second.artifact.manifest.files if file["path"].startswith("images/")]
    assert all((first.artifact.root / name).samefile(second.artifact.root / name) for name in names)
    shutil.rmtree(first.artifact.root)
    assert find_faults(second.artifact.root, thorough=True) == [], "dropping the first takes nothing from the second"


def test_the_same_photos_give_the_same_bytes_wherever_they_were_made(lab: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path / "other home", lab.photos)
    assert lab.build("resize", 100).artifact.data_version == other.build("resize", 100).artifact.data_version


def test_a_damaged_copy_is_found_and_never_reused(lab: Lab) -> None:
    damaged = lab.build("resize", 100).artifact
    copy = damaged.images_dir / "a/1.jpg"
    good = copy.read_bytes()
    copy.chmod(0o600)
    copy.write_bytes(good[:-2] + b"xx")
    assert f"{damaged.root.name}/images/a/1.jpg was altered on disk" in find_faults(damaged.root)
    lab.box_x = 0.3
    again = lab.build("resize", 100).artifact
    assert (again.images_dir / "a/1.jpg").read_bytes() == good
    assert find_faults(again.root, thorough=True) == []


def test_a_touched_copy_is_hashed_and_found_whole(lab: Lab) -> None:
    cache = lab.build("copy").artifact
    os.utime(cache.images_dir / "a/1.jpg")
    assert find_faults(cache.root) == []


@pytest.mark.parametrize("media", ["link", "copy", "resize"])
def test_a_photo_that_changed_since_the_snapshot_is_refused(lab: Lab, media: str) -> None:
    real = lab._snapshot

    def edited_after(label: str) -> Snapshot:
        snapshot = real(label)
        (lab.photos / "a/1.jpg").write_bytes((lab.photos / "b/1.jpg").read_bytes())
        return snapshot

    lab._snapshot = edited_after  # type: ignore[method-assign]
    with pytest.raises(
        DatasetError, match=r"a/1\.jpg changed since the snapshot was taken\ntake a new snapshot: agar run$"
    ):
        lab.build(media, 100 if media == "resize" else None)
    assert lab.store.latest(Key("coco_cache")) is None


def test_unreadable_photos_are_counted_and_named(lab: Lab) -> None:
    for name in ("a/1.jpg", "b/1.jpg"):
        (lab.photos / name).write_bytes((lab.photos / name).read_bytes()[:50])
    with pytest.raises(ImageFileError, match="2 of 8 photos cannot be put into the cache") as caught:
        lab.build("resize", 100)
    assert "a/1.jpg" in str(caught.value)
    assert list(lab.store.folder(Key("coco_cache")).glob(".draft-*")) == []


@pytest.mark.parametrize(("media", "max_side"), [("copy", None), ("resize", 100)])
def test_a_disk_that_is_too_small_is_told_before_it_is_full(
    lab: Lab, media: str, max_side: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(lab.photos)
    monkeypatch.setattr(copy_photos, "_PROBES", 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(
        StorageError, match=rf" has 1.0 kB free, and media: {media} needs about [\d.]+ kB for \d more photos"
    ):
        lab.build(media, max_side)
    assert list(lab.store.folder(Key("coco_cache")).glob(".draft-*")) == []


def test_photos_on_another_file_system_are_copied_and_it_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link", str(source))

    monkeypatch.setattr(os, "link", refuse)
    cache = lab.build("link").artifact
    assert "7 photos were copied, because no hard links" in lab.log[0]
    assert every_photo_loads(cache)
    assert not (cache.images_dir / "a/1.jpg").samefile(lab.photos / "a/1.jpg")


def test_a_path_too_long_for_the_cache_is_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "p"
    room = 4000 - len(str(photos))
    name = "/".join(["z" * 99] * (room // 100)) + "/1.jpg"
    monkeypatch.setitem(PHOTOS, name, ((50, 50), UPRIGHT))
    monkeypatch.setitem(PHOTOS, "another.jpg", ((50, 50), UPRIGHT))
    make_photos(photos)
    lab = Lab(tmp_path / ("h" * 200), photos)
    assert every_photo_loads(lab.build("reference").artifact)
    with pytest.raises(
        ImageFileError, match=r"bytes in the cache, more than the file system allows\nshorten the names"
    ):
        lab.build("resize", 100)


def _move(lab: Lab, cache: CocoCache, to: Path) -> CocoCache:
    """The whole folder of the lab to another place, its old one gone."""
    whole = lab.photos.parent
    shutil.copytree(whole, to)
    shutil.rmtree(whole)
    return CocoCache.open(to / cache.root.relative_to(whole))


def _cache_alone(lab: Lab, cache: CocoCache, to: Path) -> CocoCache:
    """The cache without photos, and the photos elsewhere."""
    shutil.copytree(cache.root, to / "cache")
    shutil.copytree(lab.photos, to / "new photos")
    shutil.rmtree(lab.photos.parent)
    return CocoCache.open(to / "cache")


@pytest.mark.parametrize("move", [_move, _cache_alone], ids=["with its photos", "away from its photos"])
@pytest.mark.parametrize(("media", "max_side"), [("reference", None), ("resize", 100)])
def test_a_moved_cache_finds_its_photos(
    tmp_path: Path,
    media: str,
    max_side: int | None,
    move: Callable[[Lab, CocoCache, Path], CocoCache],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_photos(tmp_path / "lab" / "photos")
    lab = Lab(tmp_path / "lab" / "home", tmp_path / "lab" / "photos")
    moved = move(lab, lab.build(media, max_side).artifact, tmp_path / "elsewhere")
    if move is _cache_alone and media == "reference":
        assert not moved.images_dir.exists(), "nobody can know"
        monkeypatch.setenv("AGAR_IMAGES_DIR", str(tmp_path / "elsewhere" / "new photos"))
    assert moved.images_dir.is_relative_to(tmp_path / "elsewhere")
    assert every_photo_loads(moved)


def test_the_report_speaks_of_the_photos_pixels_and_draws_on_the_copies(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.box_x = 0.95  # 20 px beyond the right side of a/1.jpg, 5 px beyond that of its copy
    cache = lab.build("resize", 100).artifact
    bbox_report.build(BboxReportConfig(box_policy={**BOX_POLICY_DEFAULTS, "small_box": "keep"}), tmp_path, print, cache)
    findings = pd.read_parquet(tmp_path / "findings.parquet").set_index(["rule", "file_name"])
    beyond: Any = findings.loc[("out_of_bounds_box", "a/1.jpg")]
    assert (beyond["x"], beyond["width"]) == pytest.approx((380, 40))
    finding = {**beyond, "rule": "out_of_bounds_box", "file_name": "a/1.jpg"}
    parts = {part: read_coco(cache.json_path(part)) for part in cache.parts()}
    drawn: list[Any] = []

    def picture(source: Any, layers: Any, **sizes: Any) -> str:
        drawn.append(layers)
        return "uri"

    monkeypatch.setattr(offenders, "picture_with_boxes", picture)
    assert "x 380" in offenders.picture_of_finding(finding, parts, cache.images_dir)["place"]
    assert drawn[0][1].boxes_xywh[0, [0, 2]] == pytest.approx([95, 10]), "a quarter, as the copy is"
