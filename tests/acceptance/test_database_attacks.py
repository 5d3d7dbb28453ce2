"""Case 67: another user of the machine, and whoever can write into a database, against the person who uses it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId, json_util

from agar_pipeline.fiftyone_io.database.connection import connect, open_database
from tests.acceptance.grading import refused, right
from tests.acceptance.lab import Lab
from tests.other_user import answer_of_another_user, require_another_user


def test_case_67_another_user_has_no_way_into_the_embedded_database(lab: Lab) -> None:
    require_another_user(lab.folder)
    folder = lab.home / "fiftyone"
    with open_database("embedded", lab.home):
        lab.home.chmod(0o755)  # as an older version made it
        server = json.loads((folder / "server.json").read_text())
        right("port" not in server, f"the database listens on a port: {server}")
        for act in (
            _connect(server["socket"]),
            lambda: (folder / "server.json").read_text(),
            _hold(folder / "clients.lock"),
            _hold(folder / "keeper.lock"),
        ):
            answer = answer_of_another_user(act)
            right(answer == "PermissionError", f"another user comes in: {answer}")
    lab.home.chmod(0o700)


@pytest.mark.parametrize("kind", ["a command", "JavaScript", "a write"])
def test_case_67_a_saved_view_runs_nothing_of_its_writer(kind: str, lab: Lab, tmp_path: Path) -> None:
    came = tmp_path / "came"
    stage, told = {
        "a command": ({"_cls": "subprocess.Popen", "kwargs": [["args", ["touch", str(came)]]]}, "subprocess.Popen"),
        "JavaScript": (_mongo({"$match": {"$where": "sleep(1) || true"}}), "$where"),
        "a write": (_mongo({"$out": "stolen"}), "$out"),
    }[kind]
    with open_database("embedded", lab.home) as uri, connect(uri) as client:
        database = client["fiftyone"]
        document = database.datasets.find_one({"name": "small"})
        assert document is not None
        dataset = document["_id"]
        view = {"_id": ObjectId(), "_dataset_id": dataset, "name": "planted", "slug": "planted"}
        database.views.insert_one({**view, "view_stages": [json_util.dumps(stage)]})
        database.datasets.update_one({"_id": dataset}, {"$push": {"saved_views": view["_id"]}})
        try:
            with lab.pipeline(snapshot='{dataset: small, view: "saved:planted"}'):
                refused(lab.call("run", "snapshot"), "saved view 'planted'", told)
            right("stolen" not in database.list_collection_names(), "a view wrote a collection")
        finally:
            database.datasets.update_one({"_id": dataset}, {"$pull": {"saved_views": view["_id"]}})
            database.views.delete_one({"_id": view["_id"]})
    right(not came.exists(), "a saved view ran a command")
    lab.require_same()


def _mongo(stage: dict[str, Any]) -> dict[str, Any]:
    return {"_cls": "fiftyone.core.stages.Mongo", "kwargs": [["pipeline", [stage]]]}


def _connect(path: str) -> Callable[[], Any]:
    def act() -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        return "connected"

    return act


def _hold(path: Path) -> Callable[[], Any]:
    def act() -> str:
        fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
        return "held"

    return act
