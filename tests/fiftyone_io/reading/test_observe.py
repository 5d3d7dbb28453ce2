from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from agar_pipeline.config import SnapshotConfig, load_pipeline
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.reading import source
from agar_pipeline.fiftyone_io.reading.observe import observe_at, observe_dataset
from agar_pipeline.snapshot_files.content_hash import ObservedData
from tests.conftest import CHECKOUT
from tests.fiftyone_io.conftest import collection_of, import_agar, resolver

Edit = Callable[[Any, Path], object]


@pytest.fixture
def name(new_dataset: Callable[[], str], plates: Path, uri: str, home: Path) -> str:
    dataset = new_dataset()
    import_agar(plates, dataset, home)
    return dataset


def observe(uri: str, home: Path, database: Any, dataset: str, **more: Any) -> ObservedData:
    return observe_at(uri, SnapshotConfig(dataset=dataset, **more), home, resolver(database))


def test_images_and_boxes_are_counted(uri: str, home: Path, database: Any, name: str) -> None:
    observation = observe(uri, home, database, name)
    assert (observation.samples, observation.boxes) == (6, 10)
    assert observation == observe(uri, home, database, name)


def test_the_notice_can_be_hidden(uri: str, home: Path, database: Any, name: str) -> None:
    assert "the pipeline works nevertheless" in (observe(uri, home, database, name).notice or "")
    assert observe(uri, home, database, name, database_notice=False).notice is None


def _set(path: str, value: Any) -> Edit:
    return lambda samples, plates: samples.update_one({"filepath": str(plates / "1.jpg")}, {"$set": {path: value}})


def _replace_file(samples: Any, plates: Path) -> None:
    before = (plates / "1.jpg").stat()
    content = bytearray((plates / "1.jpg").read_bytes())
    content[-3] ^= 1
    (plates / "1.jpg").write_bytes(content)
    os.utime(plates / "1.jpg", ns=(before.st_atime_ns, before.st_mtime_ns))


def _add_sample(samples: Any, plates: Path) -> None:
    samples.insert_one({**samples.find_one(), "_id": ObjectId()})


def _swap_boxes(samples: Any, plates: Path) -> None:
    sample = samples.find_one({"filepath": str(plates / "1.jpg")})
    labels = sample["ground_truth"]["detections"][::-1]
    samples.update_one({"_id": sample["_id"]}, {"$set": {"ground_truth.detections": labels}})


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(_set("ground_truth.detections.0.bounding_box.0", 0.11), id="a box moved"),
        pytest.param(_set("ground_truth.detections.0.label", "other"), id="a label was edited"),
        pytest.param(_set("ground_truth.detections.0.iscrowd", 1), id="a box became a crowd"),
        pytest.param(_set("ground_truth.detections.0.note", "odd"), id="a box got an attribute"),
        pytest.param(_set("ground_truth.detections", []), id="all boxes went"),
        pytest.param(_swap_boxes, id="two boxes changed places"),
        pytest.param(_set("tags", ["new"]), id="a tag was added"),
        pytest.param(_add_sample, id="a sample was added"),
        pytest.param(lambda samples, plates: samples.delete_one({}), id="a sample was removed"),
        pytest.param(_replace_file, id="a file was replaced in place, size and mtime kept"),
    ],
)
def test_the_version_changes_when(edit: Edit, uri: str, home: Path, database: Any, name: str, plates: Path) -> None:
    before = observe(uri, home, database, name)
    edit(database[collection_of(database, name)], plates)
    assert observe(uri, home, database, name).version != before.version


def _new_label_ids(samples: Any, plates: Path) -> None:
    for sample in samples.find():
        labels = [{**label, "_id": ObjectId()} for label in sample["ground_truth"]["detections"]]
        samples.update_one({"_id": sample["_id"]}, {"$set": {"ground_truth.detections": labels}})


def _insert_in_another_order(samples: Any, plates: Path) -> None:
    documents = list(samples.find())[::-1]
    samples.delete_many({})
    samples.insert_many(documents)


def _move(samples: Any, plates: Path) -> None:
    plates.rename(plates.with_name("moved"))
    for sample in samples.find():
        path = str(plates.with_name("moved") / Path(sample["filepath"]).name)
        samples.update_one({"_id": sample["_id"]}, {"$set": {"filepath": path}})


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda samples, plates: os.utime(plates / "1.jpg", (0, 0)), id="a file is touched"),
        pytest.param(_set("last_modified_at", datetime(2030, 1, 1)), id="a sample is saved again"),
        pytest.param(_set("another_field", 3), id="a field is set that nobody reads"),
        pytest.param(_new_label_ids, id="labels get new ids"),
        pytest.param(_insert_in_another_order, id="samples are stored in another order"),
        pytest.param(_move, id="the folder of the images moves"),
    ],
)
def test_the_version_stays_when(edit: Edit, uri: str, home: Path, database: Any, name: str, plates: Path) -> None:
    before = observe(uri, home, database, name)
    edit(database[collection_of(database, name)], plates)
    assert observe(uri, home, database, name) == before


def test_observing_writes_nothing_into_the_database(uri: str, home: Path, database: Any, name: str) -> None:
    before = [list(database.datasets.find()), list(database[collection_of(database, name)].find())]
    observe(uri, home, database, name)
    assert [list(database.datasets.find()), list(database[collection_of(database, name)].find())] == before


def test_a_dataset_without_samples_says_so(uri: str, home: Path, database: Any, new_dataset: Callable[[], str]) -> None:
    with pytest.raises(DatasetError, match="has no samples\nimport"):
        observe(uri, home, database, new_dataset())


def test_a_missing_dataset_lists_those_that_are_there(uri: str, home: Path) -> None:
    with pytest.raises(DatasetError, match=r"'nope' is not in 'fiftyone'[\s\S]*template.*views"):
        observe_dataset(SnapshotConfig(dataset="nope"), home)


def test_a_forgotten_pipeline_is_named_with_the_one_that_was_meant(
    uri: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGAR_PIPELINE", raising=False)
    monkeypatch.setenv("AGAR_CONFIGS", str(tmp_path / "configs"))
    shutil.copytree(CHECKOUT / "configs", tmp_path / "configs")
    (tmp_path / "configs" / "pipeline" / "mine.yaml").write_text("snapshot: {dataset: views}\nclass_map: {a: 1}\n")
    with pytest.raises(DatasetError) as caught:
        observe_dataset(load_pipeline().fiftyone_snapshot, home)
    told = str(caught.value)
    assert "'demo' is not in 'fiftyone' of `database: embedded`, which has: " in told
    assert "that of pipeline 'demo' (AGAR_PIPELINE is not set), others are agar_lower, " in told
    assert "\n`export AGAR_PIPELINE=mine`, or `agar demo`; " in told
    assert "mine (reads 'views')" in told
    monkeypatch.setenv("AGAR_PIPELINE", "mine")
    (tmp_path / "configs" / "pipeline" / "mine.yaml").write_text("snapshot: {dataset: nope}\nclass_map: {a: 1}\n")
    with pytest.raises(DatasetError, match=r"\nimport it, or correct snapshot.*pipeline 'mine' \(AGAR_PIPELINE\)"):
        observe_dataset(load_pipeline().fiftyone_snapshot, home)


def test_a_file_that_goes_changes_the_version_and_all_that_go_are_an_error(
    uri: str, home: Path, database: Any, name: str, plates: Path
) -> None:
    before = observe(uri, home, database, name)
    (plates / "2.jpg").unlink()
    assert observe(uri, home, database, name).version != before.version
    plates.rename(plates.with_name("unmounted"))
    with pytest.raises(DatasetError, match="has none of 6 image files, or none can be read"):
        observe(uri, home, database, name)


def test_images_outside_of_images_dir_are_refused(uri: str, home: Path, database: Any, name: str, plates: Path) -> None:
    assert observe(uri, home, database, name, images_dir=str(plates)) == observe(uri, home, database, name)
    refused = "snapshot.images_dir=/elsewhere does not contain 6 of 6 images"
    with pytest.raises(DatasetError, match=refused):
        observe(uri, home, database, name, images_dir="/elsewhere")


@pytest.mark.parametrize("path", ["relative.jpg", "/a/../b.jpg", None], ids=["relative", "climbs", "missing"])
def test_a_filepath_that_is_not_plain_is_refused(path: Any, uri: str, home: Path, database: Any, name: str) -> None:
    database[collection_of(database, name)].update_one({}, {"$set": {"filepath": path}})
    with pytest.raises(DatasetError, match="has the filepath"):
        observe(uri, home, database, name)


def test_fiftyone_is_asked_once_per_schema(
    uri: str, home: Path, database: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def resolve(config: SnapshotConfig) -> source.ResolvedSource:
        asked.append(config.dataset)
        return resolver(database)(config)

    observe_at(uri, SnapshotConfig(dataset=name), home, resolve)
    assert asked == [], "all samples of a dataset need no FiftyOne"
    config = SnapshotConfig(dataset=name, view="field:agar_sample_id=7")
    observe_at(uri, config, home, resolve)
    database.datasets.update_one({"name": name}, {"$set": {"last_loaded_at": datetime(2030, 1, 1)}})
    observe_at(uri, config, home, resolve)
    assert len(asked) == 1
    database.datasets.update_one({"name": name}, {"$push": {"sample_fields": {"name": "more"}}})
    observe_at(uri, config, home, resolve)
    assert len(asked) == 2
