from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from bson import ObjectId
from PIL import Image

from agar_pipeline.artifacts import Snapshot
from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatabaseError, DatasetError, ImageFileError
from agar_pipeline.fiftyone_io import database as database_module
from agar_pipeline.fiftyone_io import read
from agar_pipeline.fiftyone_io.import_agar import import_agar
from agar_pipeline.fiftyone_io.observe import observe_at
from tests.fiftyone_io.conftest import COLONIES, collection_of, resolver, server


@pytest.fixture
def name(new_dataset: Callable[[], str], plates: Path, uri: str, home: Path) -> str:
    dataset = new_dataset()
    import_agar(plates, dataset, "embedded", home, print, lambda done, total: None)
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
        "tags",
    ]
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
        "labels": {"B.subtilis": 5, "E.coli": 5},
    }


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
    boxes = boxes[boxes.image_id == 1][["x", "y", "width", "height"]].to_numpy()
    nan = math.nan
    expected = [[nan, 8, 20, math.inf], [nan] * 4, [10, 16, 30, nan], [nan, -80, 0, 200], [10, 16, 30, 32], [nan] * 4]
    for row, values in zip(boxes, [*expected, [nan] * 4], strict=True):
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
    assert any("1 images are of another size" in line for line in lines)


def test_an_image_of_unknown_size_is_named(
    name: str, snapshot: Callable[..., Snapshot], database: Any, plates: Path
) -> None:
    database[collection_of(database, name)].update_many({}, {"$unset": {"metadata": 1}})
    (plates / "2.jpg").write_bytes(b"")
    with pytest.raises(ImageFileError, match=r"1 images cannot be read, not even their size: '2\.jpg'"):
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
    really = read.observe_again

    def edit_then_observe(*args: Any) -> str | None:
        label = next(edits)
        if label:
            samples.update_many({}, {"$set": {"ground_truth.detections.0.label": label}})
        return really(*args)

    monkeypatch.setattr(read, "observe_again", edit_then_observe)
    lines: list[str] = []
    labels = snapshot(name, log=lines.append).boxes().label
    assert (labels == "first").sum() >= 5
    assert any("changed while it was read" in line for line in lines)


def test_a_dataset_that_never_rests_is_an_error(
    name: str, snapshot: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "observe_again", lambda *args: None)
    with pytest.raises(DatasetError, match="kept changing while it was read, 3 times"):
        snapshot(name)


def test_a_database_that_freezes_in_the_middle_ends_in_time(
    name: str, snapshot: Callable[..., Snapshot], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "ANSWER_S", 1.0)
    pid = server(home)["pid"]
    really = read.decode

    def freeze_then_decode(batch: bytes) -> Any:
        os.kill(pid, signal.SIGSTOP)
        return really(batch)

    monkeypatch.setattr(read, "decode", freeze_then_decode)
    try:
        with pytest.raises(DatabaseError, match=r"stopped answering|no database answers"):
            snapshot(name)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_tables_are_written_in_pieces_of_a_fixed_size(
    name: str, snapshot: Callable[..., Snapshot], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "ROW_GROUP", 700)
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
    import_agar(COLONIES, dataset, "embedded", home, print, lambda done, total: None)
    taken = snapshot(dataset)
    boxes: pd.DataFrame = taken.boxes()
    assert (len(taken.images()), len(boxes), boxes.label.nunique()) == (684, 12_641, 9)
    assert boxes.image_id.nunique() == 680  # 4 images have no box
    one = json.loads((COLONIES / "10.json").read_text())["labels"]
    image_id = taken.images().set_index("path").image_id["10.jpg"]
    read_boxes = boxes[boxes.image_id == image_id][["x", "y", "width", "height"]].to_numpy()
    assert read_boxes == pytest.approx(pd.DataFrame(one)[["x", "y", "width", "height"]].to_numpy(dtype=float))
