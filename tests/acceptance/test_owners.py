"""Cases 64 and 65: what other people and other processes have in a database is theirs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from agar_pipeline.fiftyone_io.database.connection import connect, open_database
from tests.acceptance.grading import refused, right
from tests.acceptance.lab import PLATES, Lab
from tests.conftest import CHECKOUT, edit_samples
from tests.fiftyone_io.database.theirs import OURS, Theirs, their_database
from tests.restore_in_steps import AT_A_TIME, start_restore

DRAW_A_BOX = """
import sys
from agar_pipeline.fiftyone_io.reading.view import import_fiftyone
uri, name = sys.argv[1:]
fo = import_fiftyone(uri, may_write=True)
sample = fo.load_dataset("small").exists(name).first()
sample[name].detections.append(fo.Detection(label="theirs", bounding_box=[0, 0, 0.5, 0.5]))
sample.save()
print(sample.filename)
"""


def samples_of(lab: Lab, dataset: str) -> dict[ObjectId, dict[str, Any]]:
    return edit_samples(lab.home, dataset, lambda samples: {sample["_id"]: sample for sample in samples.find()})


def add_theirs(samples: Any) -> dict[str, Any]:
    sample = {**samples.find_one({}), "_id": ObjectId(), "filepath": "/theirs.jpg"}
    samples.insert_one(sample)
    return sample


def test_case_64_of_two_restores_at_once_one_completes_and_nothing_is_lost(lab: Lab, tmp_path: Path) -> None:
    first = start_restore("twice", tmp_path / "twice", lab.env)
    refused(lab.call("restore", "latest", "--dataset", "twice"), f"process {first.pid} on ", "nothing was restored")
    theirs = edit_samples(lab.home, "twice", add_theirs)
    (tmp_path / "twice").unlink()
    _, said = first.communicate(timeout=60)
    right(first.returncode == 0, f"the second one disturbed the first:\n{said}")
    found = samples_of(lab, "twice")
    right(len(found) == PLATES + 1, f"{len(found)} samples in place of {PLATES} and somebody's own")
    right(found[theirs["_id"]] == theirs, "somebody's sample was changed")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_case_64_an_ended_restore_takes_back_only_what_it_inserted(
    lab: Lab, tmp_path: Path, end: signal.Signals
) -> None:
    name = f"ended{end}"
    restoring = start_restore(name, tmp_path / name, lab.env)
    theirs = edit_samples(lab.home, name, add_theirs)
    edited = next(iter(samples_of(lab, name)))
    change: dict[str, Any] = {"$set": {"ground_truth.detections": []}}
    edit_samples(lab.home, name, lambda samples: samples.update_one({"_id": edited}, change))
    restoring.send_signal(end)
    _, said = restoring.communicate(timeout=60)
    if end == signal.SIGKILL:
        again = lab.call("restore", "latest", "--dataset", name)
        refused(again, "exists and holds 2 samples")
        said = again.stderr
    found = samples_of(lab, name)
    right(found.keys() == {theirs["_id"], edited}, f"left are {len(found)}, not the edited one and somebody's own")
    right(found[theirs["_id"]] == theirs, "somebody's sample was changed")
    assert f"that were removed again: {AT_A_TIME - 1}" in said
    assert "that were kept, because somebody changed them meanwhile: 1 (" in said


def test_case_64_view_keeps_predictions_that_somebody_edited(trained: Lab) -> None:
    name = trained.run("view", "--experiment", "small", "--no-app").split(" in ")[1].split(" and ")[0]
    with open_database("embedded", trained.home) as uri:
        command = [sys.executable, "-c", DRAW_A_BOX, uri, name]
        edited = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip()
    before = samples_of(trained, "small")
    said = trained.run("view", "--experiment", "small", "--no-app")
    right(samples_of(trained, "small") == before, "predictions were written again")
    assert f"kept on 1 photo: {edited}" in said
    refused(trained.call("view", "--remove"), name, "--all", code=2)
    refused(trained.call("view", "--remove", "--all"), edited, "nothing was removed", "--overwrite")
    right(samples_of(trained, "small") == before, "predictions were removed")
    trained.run("view", "--remove", "--all", "--overwrite")
    right(not any(name in sample for sample in samples_of(trained, "small").values()), "predictions are left")


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Theirs]:
    with their_database(tmp_path) as database:
        yield database


def test_case_65_an_older_database_of_the_users_is_untouched_unless_asked(lab: Lab, theirs: Theirs) -> None:
    before = theirs.says("0.18.0", {"theirs": "0.18.0", "other": "0.18.0"})
    folder = ("--images-dir", str(theirs.photos), "--database", theirs.uri)
    for words in (
        ("import", "agar", *folder, "--dataset", "theirs"),
        ("import", "agar", *folder, "--dataset", "new"),
        ("restore", "latest", "--dataset", "new", "--database", theirs.uri),
    ):
        refused(lab.call(*words), "FiftyOne 0.18.0", f"FiftyOne {OURS}", "--migrate-database")
        right(theirs.dump() == before, f"agar {' '.join(words[:2])} changed the database")
    said = lab.run("import", "agar", *folder, "--dataset", "theirs", "--migrate-database")
    right(theirs.versions() == {"": OURS, "theirs": OURS, "other": "0.18.0"}, "not what was asked for was migrated")
    assert f"from FiftyOne 0.18.0 to {OURS}" in said


def test_case_65_what_is_compatible_is_used_without_being_migrated(lab: Lab, theirs: Theirs) -> None:
    theirs.says("0.19.0", {"theirs": "0.19.0", "other": "0.19.0"})
    before = theirs.dump()
    lab.run("restore", "latest", "--dataset", "new", "--database", theirs.uri)
    with connect(theirs.uri) as client:
        others = list(client["fiftyone"].datasets.find({"name": {"$ne": "new"}}, {"version": 1}))
    right({document["version"] for document in others} == {"0.19.0"}, "datasets were migrated")
    after = theirs.dump()
    right(all(after[name] == before[name] for name in before if name != "datasets"), "other collections were changed")
