from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from bson import ObjectId
from PIL import Image, ImageOps

from agar_pipeline.artifacts import Snapshot
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import SnapshotConfig
from agar_pipeline.detection.loading.dataset import DetectionDataset
from agar_pipeline.errors import DatabaseError, DatasetError, ImageFileError
from agar_pipeline.fiftyone_io.database import connection as database_module
from agar_pipeline.fiftyone_io.reading import mongo_columns as columns_module
from agar_pipeline.fiftyone_io.reading import observe, query, read
from agar_pipeline.fiftyone_io.reading.observe import observe_at
from agar_pipeline.snapshot_files import parquet_tables
from tests.fiftyone_io.conftest import COLONIES, collection_of, import_agar, resolver, server


@pytest.fixture
def name(new_dataset: Callable[[], str], plates: Path, uri: str, home: Path) -> str:
    dataset = new_dataset()
    import_agar(plates, dataset, home)
    return dataset


@pytest.fixture
def snapshot(uri: str, home: Path, database: Any, tmp_path: Path) -> Callable[..., Snapshot]:
    """Reads a dataset into a new folder."""

    def take(dataset: str, log: Callable[[str], None] = print, **more: Any) -> Snapshot:
        out_dir = tmp_path / f"snapshot-{len(list(tmp_path.glob('snapshot-*')))}"
        out_dir.mkdir()
        read.read_at(uri, SnapshotConfig(dataset=dataset, **more), home, out_dir, log, resolver(database))
        return Snapshot(out_dir)

    return take


def test_images_and_boxes_are_as_annotated(name: str, snapshot: Callable[..., Snapshot], plates: Path) -> None:
    taken = snapshot(name)
    images, boxes = taken.images(), taken.boxes()
    assert images.columns.tolist() == [
        "image_id",
        "sample_id",
        "path",
        "width",
        "height",
        "size_bytes",
        "sha256",
        "labelled",
    ]
    assert images.labelled.all(), "the empty plate as well"
    assert boxes.columns.tolist() == [
        "box_id",
        "image_id",
        "label",
        "x",
        "y",
        "width",
        "height",
        "iscrowd",
        "attributes",
    ]
    assert images.image_id.tolist() == [1, 2, 3, 4, 5, 6]
    assert images.sample_id.is_monotonic_increasing
    assert set(images.path) == {f"{n}.jpg" for n in range(6)}
    assert (images.width == 100).all()
    assert (images.height == 80).all()
    assert boxes.box_id.tolist() == list(range(1, 11))
    of_plate_3 = boxes[boxes.image_id == images.set_index("path").image_id["3.jpg"]]
    assert of_plate_3[["label", "x", "y", "width", "height"]].values.tolist() == [
        ["E.coli", 30.0, 10.0, 20.0, 10.0],
        ["B.subtilis", 5.0, 20.0, 20.0, 10.0],
    ]
    assert not boxes.iscrowd.any()
    assert boxes.attributes.isna().all()
    assert taken.dataset() == {
        "dataset": name,
        "images_dir": str(plates),
        "images": 6,
        "boxes": 10,
        "unlabelled": 0,
        "labels": {"B.subtilis": 5, "E.coli": 5},
    }


def test_without_labels_is_another_thing_than_without_boxes(
    name: str, snapshot: Callable[..., Snapshot], uri: str, home: Path, database: Any
) -> None:
    def version() -> str:
        return observe_at(uri, SnapshotConfig(dataset=name), home, resolver(database)).version

    samples, versions = database[collection_of(database, name)], [version()]
    empty = {"_cls": "Detections", "detections": []}
    for number, labels in enumerate([None, {"_cls": "Detections", "detections": None}, {"_cls": "Detections"}, empty]):
        samples.update_one({"filepath": {"$regex": f"/{number}.jpg$"}}, {"$set": {"ground_truth": labels}})
        versions.append(version())
    samples.update_one({"filepath": {"$regex": "/4.jpg$"}}, {"$unset": {"ground_truth": ""}})
    taken = snapshot(name, image_columns=("labelled",))
    images = taken.images().set_index("path")
    assert images.labelled.to_dict() == {f"{n}.jpg": n in (3, 5) for n in range(6)}
    assert taken.image_ids()["labelled"].sum() == 2
    assert (taken.dataset()["unlabelled"], taken.dataset()["boxes"]) == (4, 0)
    samples.update_one({"filepath": {"$regex": "/0.jpg$"}}, {"$set": {"ground_truth": empty}})
    assert len({*versions, version()}) == 6, "each of these edits is another version"


def test_the_version_read_is_the_version_observed(
    name: str, uri: str, home: Path, database: Any, tmp_path: Path
) -> None:
    config = SnapshotConfig(dataset=name)
    version = read.read_at(uri, config, home, tmp_path, print, resolver(database))
    assert version == observe_at(uri, config, home, resolver(database)).version


def test_the_same_samples_in_another_order_give_the_same_bytes(
    name: str, snapshot: Callable[..., Snapshot], database: Any
) -> None:
    first = snapshot(name)
    samples = database[collection_of(database, name)]
    documents = list(samples.find())[::-1]
    samples.delete_many({})
    samples.insert_many(documents)
    second = snapshot(name)
    for file in ("images.parquet", "boxes.parquet", "dataset.json"):
        assert (first.root / file).read_bytes() == (second.root / file).read_bytes()


def test_boxes_are_not_judged(name: str, snapshot: Callable[..., Snapshot], database: Any) -> None:
    samples = database[collection_of(database, name)]
    stored = [[math.nan, 0.1, 0.2, math.inf], None, [0.1, 0.2, 0.3], ["a", -1, 0, 2.5], [0.1, 0.2, 0.3, 0.4, 0.5], 7]
    labels = [{"label": f"{row}", "bounding_box": box} for row, box in enumerate(stored)]
    first = samples.find_one({}, sort=[("_id", 1)])
    samples.update_one({"_id": first["_id"]}, {"$set": {"ground_truth.detections": [*labels, {}]}})
    boxes = snapshot(name).boxes()
    found = boxes[boxes.image_id == 1][["x", "y", "width", "height"]].to_numpy()
    nan = math.nan
    expected = [[nan, 8, 20, math.inf], [nan] * 4, [10, 16, 30, nan], [nan, -80, 0, 200], [10, 16, 30, 32], [nan] * 4]
    for row, values in zip(found, [*expected, [nan] * 4], strict=True):
        assert row.tolist() == pytest.approx(values, nan_ok=True)


def test_samples_without_the_field_have_no_boxes(name: str, snapshot: Callable[..., Snapshot], database: Any) -> None:
    samples = database[collection_of(database, name)]
    samples.update_one({"filepath": {"$regex": "0.jpg$"}}, {"$unset": {"ground_truth": 1}})
    samples.update_one({"filepath": {"$regex": "1.jpg$"}}, {"$set": {"ground_truth": None}})
    taken = snapshot(name)
    assert (len(taken.images()), len(taken.boxes())) == (6, 6)


def test_a_dataset_without_any_box_is_read(name: str, snapshot: Callable[..., Snapshot], database: Any) -> None:
    database[collection_of(database, name)].update_many({}, {"$unset": {"ground_truth": 1}})
    taken = snapshot(name)
    assert (len(taken.images()), len(taken.boxes())) == (6, 0)


def test_crowds_and_attributes_are_kept(name: str, snapshot: Callable[..., Snapshot], database: Any) -> None:
    samples = database[collection_of(database, name)]
    first = samples.find_one({}, sort=[("_id", 1)])
    more = [
        {"label": "a", "bounding_box": [0, 0, 1, 1], "iscrowd": 1, "confidence": 0.5, "tags": ["b"], "mask": b"12"},
        {"label": None, "bounding_box": [0, 0, 1, 1], "attributes": {"iscrowd": {"_cls": "Attribute", "value": True}}},
        {"label": "a", "bounding_box": [0, 0, 1, 1], "iscrowd": False, "z": {"b": 1, "a": ObjectId("0" * 24)}},
    ]
    samples.update_one({"_id": first["_id"]}, {"$set": {"ground_truth.detections": more}})
    boxes = snapshot(name).boxes().head(3)
    assert boxes.iscrowd.tolist() == [True, True, False]
    assert boxes.label.isna().tolist() == [False, True, False]
    assert json.loads(boxes.attributes[0]) == {"confidence": 0.5, "tags": ["b"]}
    assert boxes.attributes[2] == '{"z":{"a":"000000000000000000000000","b":1}}'


def test_the_size_in_the_file_counts_and_metadata_stands_in_for_it(
    name: str, snapshot: Callable[..., Snapshot], database: Any, plates: Path
) -> None:
    samples = database[collection_of(database, name)]
    samples.update_one({"filepath": str(plates / "0.jpg")}, {"$unset": {"metadata": 1}})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(plates / "1.jpg", exif=exif)  # a photo on its side, its metadata not computed again
    (plates / "2.jpg").write_bytes(b"of a format that only FiftyOne knows")
    lines: list[str] = []
    images = snapshot(name, log=lines.append).images().set_index("path")
    assert images.loc[["0.jpg", "1.jpg", "2.jpg"], ["width", "height"]].values.tolist() == [
        [100, 80],
        [40, 60],
        [100, 80],
    ]
    assert any("1 image is of another size" in line for line in lines)


def test_missing_and_unreadable_images_are_null_and_named_not_a_crash(
    name: str, snapshot: Callable[..., Snapshot], database: Any, plates: Path
) -> None:
    database[collection_of(database, name)].update_one({"filepath": str(plates / "1.jpg")}, {"$unset": {"metadata": 1}})
    database[collection_of(database, name)].update_one({"filepath": str(plates / "2.jpg")}, {"$unset": {"metadata": 1}})
    (plates / "0.jpg").unlink()
    (plates / "1.jpg").unlink()
    (plates / "2.jpg").write_bytes(b"no image")
    lines: list[str] = []
    taken = snapshot(name, log=lines.append)
    rows = taken.images().set_index("path")
    sides: Any = rows.loc["0.jpg", ["width", "height"]]
    assert sides.tolist() == [100, 80], "FiftyOne's metadata knows"
    assert rows.loc[["1.jpg", "2.jpg"], ["width", "height"]].isna().all(axis=None)
    assert rows.loc[["0.jpg", "1.jpg"], ["size_bytes", "sha256"]].isna().all(axis=None)
    boxes = taken.boxes().set_index("image_id")[["x", "width"]]
    assert boxes.loc[rows.image_id["1.jpg"]].isna().all(axis=None)
    assert boxes.loc[rows.image_id["0.jpg"]].notna().all(axis=None)
    assert any(line.startswith("2 image files are missing") and "1.jpg" in line for line in lines)
    assert any(line.startswith("no image can be read from 1 file: ") and "2.jpg" in line for line in lines)


def test_no_image_file_at_all_is_an_error(name: str, snapshot: Callable[..., Snapshot], plates: Path) -> None:
    plates.rename(plates.with_name("unmounted"))
    with pytest.raises(DatasetError, match="has none of 6 image files, or none can be read"):
        snapshot(name)


def test_equal_names_in_two_folders_and_equal_paths_stay_separate_images(
    name: str, snapshot: Callable[..., Snapshot], database: Any, plates: Path
) -> None:
    (plates / "deep").mkdir()
    (plates / "deep" / "1.jpg").write_bytes((plates / "1.jpg").read_bytes())
    samples = database[collection_of(database, name)]
    one = samples.find_one({"filepath": str(plates / "1.jpg")})
    samples.insert_one({**one, "_id": ObjectId(), "filepath": str(plates / "deep" / "1.jpg")})
    samples.insert_one({**one, "_id": ObjectId()})
    paths = snapshot(name).images().path
    assert len(paths) == 8
    assert paths.value_counts()["1.jpg"] == 2
    assert paths.value_counts()["deep/1.jpg"] == 1


def test_an_edit_during_the_read_is_seen_and_the_read_repeated(
    name: str, snapshot: Callable[..., Snapshot], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = database[collection_of(database, name)]
    edits = iter(["first", None])
    really = observe.look_again

    def edit_then_look(*args: Any) -> Any:
        label = next(edits)
        if label:
            samples.update_many({}, {"$set": {"ground_truth.detections.0.label": label}})
        return really(*args)

    monkeypatch.setattr(read, "look_again", edit_then_look)
    lines: list[str] = []
    labels = snapshot(name, log=lines.append).boxes().label
    assert (labels == "first").sum() >= 5
    assert any("changed while it was read" in line for line in lines)


def test_a_dataset_that_never_rests_is_an_error(
    name: str, snapshot: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "look_again", lambda *args: None)
    with pytest.raises(DatasetError, match="changed each of the 3 times that it was read"):
        snapshot(name)


def test_a_database_that_freezes_in_the_middle_ends_in_time(
    name: str, snapshot: Callable[..., Snapshot], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "ANSWER_S", 1.0)
    pid = server(home)["pid"]
    really = columns_module.decode

    def freeze_then_decode(*args: Any) -> Any:
        os.kill(pid, signal.SIGSTOP)
        return really(*args)

    monkeypatch.setattr(observe, "decode", freeze_then_decode)
    try:
        with pytest.raises(DatabaseError, match=r"stopped answering|does not answer"):
            snapshot(name)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_tables_are_written_in_pieces_of_a_fixed_size(
    name: str, snapshot: Callable[..., Snapshot], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_tables, "ROW_GROUP", 700)
    samples = database[collection_of(database, name)]
    one = samples.find_one()
    samples.insert_many([{**one, "_id": ObjectId()} for _ in range(1200)])
    taken = snapshot(name)
    groups = pq.ParquetFile(taken.root / "images.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [700, 506]
    assert taken.images().image_id.tolist() == list(range(1, 1207))


@pytest.mark.skipif(not COLONIES.is_dir(), reason="../shared/data/colonies is not on this machine")
def test_the_colonies_are_all_there(
    new_dataset: Callable[[], str], uri: str, home: Path, snapshot: Callable[..., Snapshot]
) -> None:
    dataset = new_dataset()
    import_agar(COLONIES, dataset, home)
    taken = snapshot(dataset)
    boxes: pd.DataFrame = taken.boxes()
    assert (len(taken.images()), len(boxes), boxes.label.nunique()) == (684, 12_641, 9)
    assert boxes.image_id.nunique() == 680  # 4 images have no box
    one = json.loads((COLONIES / "10.json").read_text())["labels"]
    image_id = taken.images().set_index("path").image_id["10.jpg"]
    read_boxes = boxes[boxes.image_id == image_id][["x", "y", "width", "height"]].to_numpy()
    assert read_boxes == pytest.approx(pd.DataFrame(one)[["x", "y", "width", "height"]].to_numpy(dtype=float))


BLOB = (50, 20, 62, 30)
"""Corners of a white blob on a black photo of 120×80 pixels as stored."""


def _photo_with_blob(path: Path, orientation: int) -> tuple[int, int, int, int]:
    """Writes it; returns the corners of the blob as displayed, found by looking."""
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[BLOB[1] : BLOB[3], BLOB[0] : BLOB[2]] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    with Image.open(path) as photo:
        corners = ImageOps.exif_transpose(photo).convert("L").point(lambda v: 255 * (v > 128)).getbbox()
    assert corners is not None
    return corners


def _one_box(samples: Any, path: Path, corners: tuple[int, ...], size_wh: tuple[int, int], **more: Any) -> None:
    (x1, y1, x2, y2), (width, height) = corners, size_wh
    box = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
    label = {"label": "E.coli", "bounding_box": box}
    samples.update_one({"filepath": str(path)}, {"$set": {"ground_truth.detections": [label], **more}})


@pytest.mark.parametrize("drawn_on", ["displayed", "stored"])
@pytest.mark.parametrize("orientation", [2, 3, 5, 6, 7, 8])
def test_the_box_of_a_turned_photo_is_round_its_blob_in_the_target(
    orientation: int, drawn_on: str, name: str, snapshot: Callable[..., Snapshot], database: Any, plates: Path
) -> None:
    samples = database[collection_of(database, name)]
    shown = _photo_with_blob(plates / "0.jpg", orientation)
    shown_wh = (80, 120) if orientation >= 5 else (120, 80)
    stored = drawn_on == "stored"
    _one_box(samples, plates / "0.jpg", BLOB if stored else shown, (120, 80) if stored else shown_wh)
    taken = snapshot(name, exif=drawn_on)
    columns = _as_coco(taken, "0.jpg")
    assert columns.sizes_wh.tolist() == [list(shown_wh)]
    image, target = DetectionDataset(columns, plates, input_size=120)[0]
    x1, y1, x2, y2 = target["boxes"][0].round().int().tolist()
    assert image[:, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() > 200, "white within the box"
    image[:, max(0, y1 - 3) : y2 + 3, max(0, x1 - 3) : x2 + 3] = 0
    assert image.max() < 60, "black outside of it"


def _as_coco(taken: Snapshot, path: str) -> CocoColumns:
    images = taken.images()
    one = images[images.path == path]
    boxes = taken.boxes()
    boxes = boxes[boxes.image_id == one.image_id.iloc[0]]
    return CocoColumns(
        image_ids=one.image_id.to_numpy(),
        file_names=one.path.to_numpy(dtype=object),
        sizes_wh=one[["width", "height"]].to_numpy(np.int64),
        annotation_ids=boxes.box_id.to_numpy(),
        annotation_image_ids=boxes.image_id.to_numpy(),
        annotation_category_ids=np.ones(len(boxes), np.int64),
        boxes_xywh=boxes[["x", "y", "width", "height"]].to_numpy(),
        iscrowd=boxes.iscrowd.to_numpy(),
        category_ids=np.array([1]),
        class_names=("E.coli",),
    )


def test_turned_photos_are_refused_where_asked_or_where_the_metadata_contradicts(
    name: str, snapshot: Callable[..., Snapshot], database: Any, plates: Path
) -> None:
    samples = database[collection_of(database, name)]
    shown = _photo_with_blob(plates / "0.jpg", 6)
    _one_box(samples, plates / "0.jpg", shown, (80, 120), metadata={"width": 80, "height": 120})
    lines: list[str] = []
    snapshot(name, log=lines.append)
    assert any("1 photo is turned by EXIF data" in line and "as displayed" in line for line in lines)
    with pytest.raises(ImageFileError, match=r"turned by EXIF data: '0\.jpg'"):
        snapshot(name, exif="refuse")
    _one_box(samples, plates / "0.jpg", BLOB, (120, 80), metadata={"width": 120, "height": 80})
    with pytest.raises(ImageFileError, match=r"metadata has the size as stored, so that .*: '0\.jpg'"):
        snapshot(name)


def test_however_batches_are_cut_and_labels_are_stored_the_bytes_are_the_same(
    name: str, snapshot: Callable[..., Snapshot], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = database[collection_of(database, name)]
    one = samples.find_one({"ground_truth.detections.0": {"$exists": True}})
    plain = one["ground_truth"]["detections"][0]
    odd = [{**plain, "score": 1.5}, dict(reversed(plain.items())), {**plain, "label": None}, plain, "no document"]
    samples.insert_many([{**one, "_id": ObjectId(), "ground_truth": {"detections": odd[:n]}} for n in range(6)])
    whole = snapshot(name)
    monkeypatch.setattr(query, "_BATCH", 1)
    monkeypatch.setattr(columns_module, "_MOST_LAYOUTS", 0)  # every detection is read by itself
    cut = snapshot(name)
    assert whole.boxes().attributes.notna().sum() == 5
    for file in ("images.parquet", "boxes.parquet", "dataset.json"):
        assert (whole.root / file).read_bytes() == (cut.root / file).read_bytes()
