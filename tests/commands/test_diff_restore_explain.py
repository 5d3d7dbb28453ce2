"""Snapshots as versions of a dataset: what differs, one put back, one photo explained; the real CLI and database."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import ObjectId
from PIL import Image

from agar_pipeline.artifacts import Snapshot
from agar_pipeline.fiftyone_io.database.connection import open_database
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.store import Key, Store
from tests.conftest import Run, copy_configs, runner


@dataclass(frozen=True)
class Edited:
    """A home with two snapshots of dataset `small`, the second one after edits of the samples named here."""

    run: Run
    home: Path
    plates: Path
    before: Snapshot
    names: list[str]
    """Base names: boxes edited, box deleted, sample deleted, photo replaced, sample added."""
    photo: bytes
    """Of the replaced one, as it was."""


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    folder = tmp_path_factory.mktemp("edited")
    home, plates, configs = folder / "home", folder / "plates", copy_configs(folder / "configs")
    generate_plates(plates, 12, size_px=128, seed=5)
    small = configs / "pipeline" / "small.yaml"
    text, read = small.read_text(), "image_columns: ['view:tag:seen', 'field:agar_background']"
    small.write_text(text.replace("{dataset: small}", f"{{dataset: small, {read}}}"))
    back = f"{{dataset: back, label_field: truth, {read}}}"
    small.with_name("back.yaml").write_text(text.replace("{dataset: small}", back))
    run = runner({"AGAR_HOME": str(home), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "small"})
    assert run("agar", "import", "agar", "--images-dir", str(plates), "--dataset", "small").returncode == 0
    change(home, give_attributes)
    first = run("agar", "run", "snapshot", "split")
    assert first.returncode == 0, first.stderr
    before = Store(home).open_latest(Key("snapshot"))
    names = [f"{name}.jpg" for name in sorted(path.stem for path in plates.glob("*.jpg"))]
    photo = (plates / names[3]).read_bytes()
    change(home, lambda samples: edit(samples, plates, names))
    again = run("agar", "run", "snapshot")
    assert again.returncode == 0, again.stderr
    yield Edited(run, home, plates, before, [*names[:4], "added.jpg"], photo)
    stop_keeper(home)


def change(home: Path, how: Callable[[Any], None], dataset: str = "small") -> None:
    with open_database("embedded", home) as uri, pymongo.MongoClient(uri) as client:
        database = client["fiftyone"]
        document = database.datasets.find_one({"name": dataset})
        assert document is not None
        how(database[document["sample_collection_name"]])


def stop_keeper(home: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, KeyError):
        os.kill(json.loads((home / "fiftyone" / "server.json").read_text())["keeper_pid"], signal.SIGTERM)


def give_attributes(samples: Any) -> None:
    """Everything that a detection may hold beside label and box, boxes that are no round numbers, and an image that
    nobody has labelled beside one that somebody has found empty."""
    odd: list[dict[str, Any]] = [
        {"iscrowd": True, "confidence": 0.1 + 0.2},
        {"score": math.nan, "note": None, "tags": ["seen"], "index": 3},
        {"iscrowd": 0, "attributes": {"iscrowd": {"_cls": "BooleanAttribute", "value": True}}},
        {"attributes": {"iscrowd": {"_cls": "CategoricalAttribute", "value": "1"}}, "nested": {"a": [1, None, 2.5]}},
        {"bounding_box": [1 / 3, math.nextafter(1 / 128, 1), 0.1, 1.7e-9], "label": "naïve \u2028 label"},
        {"bounding_box": [None, "x", math.inf, 0.5], "label": None},
    ]
    for number, sample in enumerate(samples.find({}).sort("filepath")):
        detections = sample["ground_truth"]["detections"]
        for detection, more in zip(detections[2:] if number > 3 else [], odd, strict=False):
            detection.update(more)
        fields = {"agar_background": f"ground {number}", "tags": ["seen", "other"] if number % 3 else []}
        labels = {"_cls": "Detections", "detections": [] if number == 10 else detections}
        samples.update_one(
            {"_id": sample["_id"]}, {"$set": {"ground_truth": labels if number < 11 else None, **fields}}
        )


def edit(samples: Any, plates: Path, names: list[str]) -> None:
    def of(name: str) -> dict[str, Any]:
        return samples.find_one({"filepath": str(plates / name)})

    boxes = of(names[0])["ground_truth"]["detections"]
    boxes[0]["bounding_box"][0] += 0.25 * boxes[0]["bounding_box"][2]
    boxes[1]["label"] = "E.coli" if boxes[1]["label"] != "E.coli" else "S.aureus"
    samples.update_one({"_id": of(names[0])["_id"]}, {"$set": {"ground_truth.detections": boxes}})
    samples.update_one({"_id": of(names[1])["_id"]}, {"$pop": {"ground_truth.detections": -1}})
    empty = {"_cls": "Detections", "detections": []}
    samples.update_one({"_id": of(names[11])["_id"]}, {"$set": {"ground_truth": empty}})
    shutil.copyfile(plates / names[2], plates / "added.jpg")
    samples.insert_one({**of(names[2]), "_id": ObjectId("ff" * 12), "filepath": str(plates / "added.jpg")})
    samples.delete_one({"_id": of(names[2])["_id"]})
    with Image.open(plates / names[3]) as photo:
        photo.rotate(180).save(plates / names[3])


def test_diff_says_exactly_what_was_edited(edited: Edited) -> None:
    done = edited.run("agar", "diff", "previous", "latest", "--json")
    assert done.returncode == 0, done.stderr
    plain = json.loads(done.stdout)
    found = {
        key: [entry["path"] for entry in entries]
        for key, entries in plain.items()
        if key not in ("before", "after", "summary")
    }
    both, fewer, gone, replaced, added = edited.names
    assert found == {
        "images_added": [added],
        "images_removed": [gone],
        "files_replaced": [replaced],
        "files_missing": [],
        "files_found": [],
        "files_moved": [],
        "images_labelled": [sorted(path.name for path in edited.plates.glob("?.jpg"))[-1]],
        "images_unlabelled": [],
        "boxes_reordered": [],
        "boxes_added": [],
        "boxes_removed": [fewer],
        "boxes_moved": [both],
        "boxes_relabelled": [both],
        "boxes_edited": [],
    }
    (moved,) = plain["boxes_moved"]
    assert moved["after"]["box_xywh"][0] == pytest.approx(
        moved["before"]["box_xywh"][0] + 0.25 * moved["before"]["box_xywh"][2]
    )
    assert plain["before"] == edited.before.manifest.fingerprint
    assert f"3 boxes changed in 2 images (1 removed, 1 moved, 1 relabelled): {both}, {fewer}" in plain["summary"]


def test_diff_writes_a_page_and_backwards_is_the_opposite(edited: Edited, tmp_path: Path) -> None:
    forwards = edited.run("agar", "diff", edited.before.manifest.fingerprint[:6], "latest")
    assert forwards.returncode == 0, forwards.stderr
    page = Path(next(line for line in forwards.stdout.splitlines() if line.startswith("page: "))[6:])
    assert page.parent == edited.home / "reports"
    assert page.read_text().count("data:image/jpeg") == 7, "two photos twice, three that only one side still has"
    backwards = edited.run("agar", "diff", "latest", "previous", "--html", str(tmp_path / "page.html"))
    assert "1 added, 1 moved, 1 relabelled" in backwards.stdout
    assert (tmp_path / "page.html").exists()
    same = edited.run("agar", "diff", "latest", "latest")
    assert same.returncode == 0
    assert "the two snapshots hold the same images and boxes" in same.stdout
    assert "page:" not in same.stdout


def test_a_restored_snapshot_gives_the_same_snapshot(edited: Edited) -> None:
    fingerprint = edited.before.manifest.fingerprint
    done = edited.run("agar", "restore", "previous", "--dataset", "back", "--label-field", "deep.truth")
    assert done.returncode == 0, done.stderr
    assert f"back: 12 images and {len(edited.before.boxes())} boxes of snapshot {fingerprint}" in done.stdout
    assert "boxes in truth" in done.stdout
    assert "'deep.truth' is nested" in done.stderr
    assert "1 photo was replaced" in done.stderr
    photo = edited.plates / edited.names[3]
    replaced = photo.read_bytes()
    photo.write_bytes(edited.photo)
    try:
        ran = edited.run("agar", "run", "snapshot", AGAR_PIPELINE="back")
    finally:
        photo.write_bytes(replaced)
    assert ran.returncode == 0, ran.stderr
    restored: Snapshot = Store(edited.home).open_latest(Key("snapshot"))
    assert restored.manifest.config["dataset"] == "back"
    assert restored.data_version == edited.before.data_version, "with the tag and the field that a split reads"
    assert restored.image_ids()["view:tag:seen"].sum() == 8
    assert (restored.root / "boxes.parquet").read_bytes() == (edited.before.root / "boxes.parquet").read_bytes()
    counts = json.loads(edited.run("agar", "restore", fingerprint, "--dataset", "back2", "--json").stdout)
    assert (counts["images"], counts["boxes"]) == (12, len(edited.before.boxes()))
    refused = edited.run("agar", "restore", fingerprint, "--dataset", "back")
    assert refused.returncode == 1
    assert "exists and holds 12 samples" in refused.stderr
    assert edited.run("agar", "run", "snapshot").returncode == 0, "the latest snapshot is of `small` again"


def test_explain_names_hashes_and_part(edited: Edited) -> None:
    name = edited.names[0]
    done = edited.run("agar", "explain", name, "--json")
    assert done.returncode == 0, done.stderr
    history = json.loads(done.stdout)
    own = [row for row in history["snapshots"] if row["dataset"] == "small"]
    assert len(own) == 2
    assert own[0]["image_sha256"] == own[1]["image_sha256"]
    assert own[0]["annotations_sha256"] != own[1]["annotations_sha256"]
    (split,) = history["splits"]
    assert split["part"] in ("train", "val")
    assert edited.before.manifest.fingerprint in split["snapshots"]
    assert history["trained_by"] == []
    said = edited.run("agar", "explain", str(edited.plates / name))
    assert split["part"] in said.stdout
    assert history["image"]["sha256"] in said.stdout
    command = said.stdout.splitlines()[-1].removeprefix("next: ").split()
    assert name in edited.run(*command).stdout, "the difference of this photo"
    unchanged = edited.run("agar", "explain", edited.names[-1]).stdout
    assert "next:" not in unchanged


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("diff", "nonsense", "latest"), "'nonsense' names no snapshot"),
        (("explain", "nonsense.jpg"), "'nonsense.jpg' names no image"),
        (("restore", "BEFORE", "--dataset", "small"), "exists and holds 12 samples"),
    ],
    ids=["an unknown snapshot", "an unknown image", "a dataset that is in use"],
)
def test_errors_are_short_and_name_what_there_is(edited: Edited, arguments: tuple[str, ...], message: str) -> None:
    before = edited.before.manifest.fingerprint
    done = edited.run("agar", *(before if word == "BEFORE" else word for word in arguments))
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
