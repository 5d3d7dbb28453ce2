"""`agar restore` beside other people and other processes, stopped and killed: only what it inserted is taken back."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import ObjectId

from agar_pipeline.artifacts import Snapshot
from agar_pipeline.fiftyone_io.database.connection import open_database
from agar_pipeline.ownership.inserted_samples import CLAIMS, INSERTIONS
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.store import Key, Store
from tests.conftest import Run, copy_configs, runner
from tests.fiftyone_io.conftest import stop_keeper
from tests.restore_in_steps import AT_A_TIME, start_restore

PLATES = 12


@dataclass
class Lab:
    """A home with a snapshot, and its database."""

    run: Run
    env: dict[str, str]
    folder: Path
    home: Path
    database: Any

    def start(self, name: str, pause: str = "") -> subprocess.Popen[str]:
        """A restore that has inserted its first batch, and waits."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(("AGAR_", "FIFTYONE_"))}
        return start_restore(name, self.folder / (pause or name), env | self.env)

    def go_on(self, name: str) -> None:
        (self.folder / name).unlink()

    def samples(self, name: str) -> Any:
        return self.database[self.database.datasets.find_one({"name": name})["sample_collection_name"]]

    def add_theirs(self, name: str) -> dict[str, Any]:
        """What a person adds while a restore is under way."""
        sample = {**self.samples(name).find_one({}), "_id": ObjectId(), "filepath": "/theirs.jpg", "tags": ["theirs"]}
        self.samples(name).insert_one(sample)
        return sample

    def leftovers(self, name: str) -> int:
        claims = self.database[CLAIMS].count_documents({"_id": name})
        return claims + self.database[INSERTIONS].count_documents({"dataset": name})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("restores")
    home, plates, configs = folder / "home", folder / "plates", copy_configs(folder / "configs")
    generate_plates(plates, PLATES, size_px=128, seed=5)
    small = configs / "pipeline" / "small.yaml"
    small.with_name("half.yaml").write_text(small.read_text().replace("dataset: small", "dataset: killed"))
    env = {"AGAR_HOME": str(home), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "small"}
    run = runner(env)
    assert run("agar", "import", "agar", "--images-dir", str(plates), "--dataset", "small").returncode == 0
    done = run("agar", "run", "snapshot")
    assert done.returncode == 0, done.stderr
    with open_database("embedded", home) as uri, pymongo.MongoClient(uri) as client:
        yield Lab(run, env, folder, home, client["fiftyone"])
    stop_keeper(home)


def test_of_two_at_once_into_one_name_the_second_is_refused_and_the_first_completes(lab: Lab) -> None:
    first = lab.start("twice")
    second = lab.run("agar", "restore", "latest", "--dataset", "twice")
    assert second.returncode == 1
    assert f"dataset 'twice' is receiving a snapshot from process {first.pid} on " in second.stderr
    assert "; nothing was restored\nwait until " in second.stderr
    theirs = lab.add_theirs("twice")
    lab.go_on("twice")
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert "somebody else added samples to dataset 'twice' meanwhile, which are kept: 1" in said
    assert lab.samples("twice").count_documents({}) == PLATES + 1
    assert lab.samples("twice").find_one({"_id": theirs["_id"]}) == theirs
    assert lab.leftovers("twice") == 0


def test_ctrl_c_takes_back_what_it_inserted_and_keeps_what_people_added_or_edited(lab: Lab) -> None:
    restoring = lab.start("stopped")
    theirs = lab.add_theirs("stopped")
    edited = lab.samples("stopped").find_one({})
    lab.samples("stopped").update_one({"_id": edited["_id"]}, {"$set": {"ground_truth.detections.0.label": "theirs"}})
    restoring.send_signal(signal.SIGINT)
    _, said = restoring.communicate(timeout=60)
    assert restoring.returncode == 130
    assert f"note: samples of this restore into dataset 'stopped' that were removed again: {AT_A_TIME - 1}" in said
    name = Path(edited["filepath"]).name
    kept = "this restore into dataset 'stopped' that were kept, because somebody changed them meanwhile: 1"
    assert f"{kept} ({name})" in said
    left = {sample["_id"]: sample for sample in lab.samples("stopped").find()}
    assert set(left) == {theirs["_id"], edited["_id"]}
    assert left[theirs["_id"]] == theirs
    assert lab.leftovers("stopped") == 0


def test_after_kill_9_the_next_one_takes_back_what_the_killed_one_inserted(lab: Lab) -> None:
    restoring = lab.start("killed")
    restoring.kill()
    restoring.communicate()
    half = lab.run("agar", "run", "snapshot", AGAR_PIPELINE="half")
    assert half.returncode == 1
    assert "holds only a part of a snapshot, because a restore into it was interrupted" in half.stderr
    edited = lab.samples("killed").find_one({}, sort=[("_id", -1)])
    lab.samples("killed").update_one({"_id": edited["_id"]}, {"$set": {"theirs": 1}})
    again = lab.run("agar", "restore", "latest", "--dataset", "killed")
    assert again.returncode == 1
    interrupted = "note: samples of an interrupted restore into dataset 'killed' that were"
    assert f"{interrupted} removed again: {AT_A_TIME - 1}" in again.stderr
    kept = f"{interrupted} kept, because somebody changed them meanwhile: 1 ({Path(edited['filepath']).name})"
    assert kept in again.stderr
    assert "exists and holds 1 sample;" in again.stderr
    assert [sample["_id"] for sample in lab.samples("killed").find()] == [edited["_id"]]
    lab.samples("killed").delete_one({"_id": edited["_id"]})
    assert lab.run("agar", "restore", "latest", "--dataset", "killed").returncode == 0
    before: Snapshot = Store(lab.home).open_latest(Key("snapshot"))
    assert lab.run("agar", "run", "snapshot", AGAR_PIPELINE="half").returncode == 0
    assert Store(lab.home).open_latest(Key("snapshot")).data_version == before.data_version
    assert lab.leftovers("killed") == 0


def test_one_that_was_killed_after_its_last_sample_is_complete(lab: Lab) -> None:
    restoring = lab.start("done")
    claim = lab.database[CLAIMS].find_one({"_id": "done"})
    lists = list(lab.database[INSERTIONS].find({"dataset": "done"}))
    lab.go_on("done")
    assert restoring.wait(timeout=60) == 0
    lab.database[CLAIMS].insert_one({**claim, "done": True})
    lab.database[INSERTIONS].insert_many(lists)
    again = lab.run("agar", "restore", "latest", "--dataset", "done")
    assert f"exists and holds {PLATES} samples" in again.stderr
    assert lab.samples("done").count_documents({}) == PLATES
    assert lab.leftovers("done") == 0


def test_one_of_another_machine_is_believed_alive_while_it_gives_signs_of_life(lab: Lab) -> None:
    restoring = lab.start("elsewhere")
    first = {sample["_id"] for sample in lab.samples("elsewhere").find()}
    seen_at = lab.database[CLAIMS].find_one({"_id": "elsewhere"})["alive_at"]

    def last_seen(minutes: int) -> None:
        values = {"by.machine": "another", "alive_at": seen_at - timedelta(minutes=minutes)}
        lab.database[CLAIMS].update_one({"_id": "elsewhere"}, {"$set": values})

    last_seen(minutes=1)
    refused = lab.run("agar", "restore", "latest", "--dataset", "elsewhere")
    assert (refused.returncode, "'elsewhere' is receiving a snapshot from " in refused.stderr) == (1, True)
    assert {sample["_id"] for sample in lab.samples("elsewhere").find()} == first
    last_seen(minutes=3)
    second = lab.start("elsewhere", pause="second")
    lab.go_on("elsewhere")
    _, said = restoring.communicate(timeout=60)
    assert (restoring.returncode, "dataset 'elsewhere' was taken over by another process" in said) == (1, True), said
    assert lab.samples("elsewhere").count_documents({}) == AT_A_TIME, "the late one leaves alone what is the second's"
    lab.go_on("second")
    assert second.wait(timeout=60) == 0
    assert lab.samples("elsewhere").count_documents({}) == PLATES
    assert lab.leftovers("elsewhere") == 0


def test_a_refused_restore_writes_nothing(lab: Lab) -> None:
    def collections() -> dict[str, list[Any]]:
        return {name: list(lab.database[name].find()) for name in sorted(lab.database.list_collection_names())}

    before = collections()
    done = lab.run("agar", "restore", "latest", "--dataset", "small")
    assert done.returncode == 1
    assert collections() == before


def test_an_empty_dataset_of_other_things_is_refused_unchanged(lab: Lab) -> None:
    assert lab.run("agar", "restore", "latest", "--dataset", "odd").returncode == 0
    lab.samples("odd").delete_many({})
    other = {
        "media_type": None,
        "persistent": False,
        "sample_fields.$.embedded_doc_type": "fiftyone.core.labels.Keypoints",
    }
    lab.database.datasets.update_one({"name": "odd", "sample_fields.name": "ground_truth"}, {"$set": other})
    before = lab.database.datasets.find_one({"name": "odd"}, {"last_loaded_at": 0})
    refused = lab.run("agar", "restore", "latest", "--dataset", "odd")
    assert refused.returncode == 1
    assert (
        "field 'ground_truth' of dataset 'odd' is of type EmbeddedDocumentField, but must be of another type"
        in refused.stderr
    )
    assert lab.database.datasets.find_one({"name": "odd"}, {"last_loaded_at": 0}) == before
    assert lab.leftovers("odd") == 0
