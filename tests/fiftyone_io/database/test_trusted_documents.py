"""Documents that somebody else wrote into a database: FiftyOne imports and calls what they name, so they are refused.

Each attack leaves a file where it succeeds; all of them did before there was a check.
"""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId, json_util

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.trusted_documents import (
    fiftyone_folder,
    is_trusted_class,
    require_reading,
    require_trusted,
    stage_classes,
)
from agar_pipeline.fiftyone_io.reading.observe import observe_dataset
from agar_pipeline.fiftyone_io.reading.source import ResolvedSource, resolved_source
from tests.fiftyone_io.conftest import child_env

ALL_STAGES = {"_cls": "fiftyone.core.stages.Limit", "kwargs": [["limit", 3]]}


@pytest.fixture
def came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that an attack leaves; a module `planted` that leaves it can be imported by our children."""
    left = tmp_path / "came"
    (tmp_path / "planted.py").write_text(f"open({str(left)!r}, 'w')\nclass Thing: pass\nclass ThingConfig: pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return left


@pytest.fixture
def plant(database: Any) -> Iterator[Callable[..., str]]:
    """Makes a copy of the dataset `views`, with somebody's changes; returns its name."""
    made: list[ObjectId] = []

    def plant(view_stages: list[Any] | None = None, config: Any = None, **changes: Any) -> str:
        document = {**database.datasets.find_one({"name": "views"}), **changes}
        identity, name = ObjectId(), f"planted-{ObjectId()}"
        made.append(identity)
        document |= {"_id": identity, "name": name, "slug": name, "saved_views": []}
        document["sample_collection_name"] = f"samples.{identity}"
        if view_stages is not None:
            stages = [json_util.dumps(stage) for stage in view_stages]
            view = {"_dataset_id": identity, "name": "planted", "slug": "planted", "view_stages": stages}
            document["saved_views"] = [database.views.insert_one(view).inserted_id]
        if config is not None:
            run = {"_dataset_id": identity, "key": "planted", "version": "1", "config": config}
            document["evaluations"] = {"planted": database.runs.insert_one(run).inserted_id}
        database.datasets.insert_one(document)
        return name

    yield plant
    for collection in (database.views, database.runs):
        collection.delete_many({"_dataset_id": {"$in": made}})
    database.datasets.delete_many({"_id": {"$in": made}})


def _field(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "odd", "ftype": "fiftyone.core.fields.StringField", "fields": [], **changes}]


def test_a_view_of_a_foreign_class_runs_nothing(plant: Callable[..., str], came: Path, home: Path) -> None:
    popen = {"_cls": "subprocess.Popen", "kwargs": [["args", ["touch", str(came)]]]}
    name = plant([ALL_STAGES, popen])
    config = SnapshotConfig(dataset=name, label_field="gt", view="saved:planted")
    with pytest.raises(DatasetError, match=r"saved view 'planted' of .* has a stage of the class 'subprocess\.Popen'"):
        observe_dataset(config, home)
    assert not came.exists()


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        pytest.param({"view_stages": [{"_cls": "planted.Thing", "kwargs": []}]}, "saved view 'planted'", id="a stage"),
        pytest.param(
            {"view_stages": [{**ALL_STAGES, "kwargs": [["samples", {"stages": [{"_cls": "planted.Thing"}]}]]}]},
            "saved view 'planted'",
            id="a stage in a stage",
        ),
        pytest.param(
            {"view_stages": [{"_cls": "fiftyone.core.storage.delete_dir", "kwargs": [["dirpath", "/nowhere"]]}]},
            "saved view 'planted'",
            id="a function of FiftyOne as a stage",
        ),
        pytest.param({"sample_fields": _field(ftype="planted.Thing")}, "field 'odd'", id="a field's class"),
        pytest.param({"sample_fields": _field(embedded_doc_type="planted.Thing")}, "field 'odd'", id="a document's"),
        pytest.param({"sample_fields": _field(subfield="planted.Thing")}, "field 'odd'", id="a list's"),
        pytest.param(
            {"sample_fields": _field(fields=_field(ftype="planted.Thing"))}, "field 'odd.odd'", id="an inner field's"
        ),
        pytest.param({"frame_fields": _field(ftype="planted.Thing")}, "field 'odd'", id="a frame's"),
        pytest.param({"config": {"cls": "planted.ThingConfig"}}, "run 'planted'", id="a run's"),
    ],
)
def test_a_dataset_that_names_foreign_classes_is_refused_with_the_place(
    changes: dict[str, Any], place: str, plant: Callable[..., str], came: Path, home: Path, database: Any
) -> None:
    config = SnapshotConfig(dataset=(name := plant(**changes)), label_field="gt", view="tag:even")
    with pytest.raises(DatasetError, match=f"{place} of dataset '{name}' ") as caught:
        observe_dataset(config, home)
    assert len(str(caught.value).splitlines()) == 2
    assert not came.exists()


def test_all_that_fiftyone_itself_wrote_is_trusted(database: Any) -> None:
    for document in database.datasets.find({"name": {"$not": {"$regex": "^planted-"}}}):
        require_trusted(database, document["name"])
    assert "fiftyone.core.stages.ToPatches" in stage_classes()
    assert len(stage_classes()) > 40


@pytest.mark.parametrize(
    ("name", "is_trusted"),
    [
        ("fiftyone.core.labels.Detections", True),
        ("fiftyone.brain.visualization.VisualizationConfig", True),
        ("fiftyone.was.here.once.Config", True),  # nothing is there to be imported
        ("fiftyone.core.labels.WasHereOnce", True),
        ("fiftyone.core.utils.subprocess", False),
        ("fiftyone.core.storage.delete_dir", False),
        ("fiftyone.core", False),
        ("os.system", False),
        ("", False),
        (None, False),
        ("fiftyone.core.labels../../x.Detections", False),
        ("lab.kinds.Colony", False),
    ],
)
def test_a_class_is_trusted_by_where_it_is_defined(name: Any, is_trusted: bool) -> None:
    assert is_trusted_class(name) is is_trusted


def test_the_users_own_modules_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFTYONE_MODULE_PATH", "lab.kinds,other")
    assert is_trusted_class("lab.kinds.Colony")
    assert not is_trusted_class("lab.kindship.Colony")


@pytest.mark.parametrize(
    "stages",
    [
        [{"$match": {"$where": "sleep(1)"}}],
        [{"$addFields": {"a": {"$function": {"body": "f", "args": [], "lang": "js"}}}}],
        [{"$group": {"_id": None, "n": {"$accumulator": {}}}}],
        [{"$out": "stolen"}],
        [{"$lookup": {"from": "x", "pipeline": [{"$facet": {"a": [{"$merge": "stolen"}]}}]}}],
        [{"$project": {"a": {"$_internalJsEmit": {}}}}],
    ],
    ids=["where", "function", "accumulator", "out", "merge within", "internal"],
)
def test_a_view_neither_writes_nor_runs_javascript(
    stages: list[Any], plant: Callable[..., str], home: Path, database: Any
) -> None:
    with pytest.raises(DatasetError, match="writes into the database or runs JavaScript"):
        require_reading(stages, "a view")
    before = set(database.list_collection_names())
    name = plant([{"_cls": "fiftyone.core.stages.Mongo", "kwargs": [["pipeline", stages]]}])
    config = SnapshotConfig(dataset=name, label_field="gt", view="saved:planted")
    with pytest.raises(DatasetError, match=rf"saved view 'planted' of dataset '{name}' holds '\$"):
        observe_dataset(config, home)
    assert set(database.list_collection_names()) == before


def test_what_is_remembered_is_checked_and_private(database: Any, tmp_path: Path) -> None:
    config = SnapshotConfig(dataset="views", label_field="gt", view="tag:even")
    answers = [ResolvedSource("samples", "[]", "gt.detections")]
    assert resolved_source(config, database, tmp_path, lambda _: answers.pop()).pipeline == "[]"
    (remembered,) = (tmp_path / "fiftyone" / "resolved").iterdir()
    assert stat.S_IMODE(remembered.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "fiftyone").stat().st_mode) == 0o700
    remembered.write_text(json.dumps({**json.loads(remembered.read_text()), "pipeline": '[{"$out": "stolen"}]'}))
    with pytest.raises(DatasetError, match=r"holds '\$out'"):
        resolved_source(config, database, tmp_path, lambda _: answers.pop())


GUARDED = """
import base64, json, pickle, sys, zlib
from agar_pipeline.fiftyone_io.database.class_guard import guard_server
from agar_pipeline.fiftyone_io.reading.view import import_fiftyone
uri, dataset, came = sys.argv[1:]
fo = import_fiftyone(uri, may_write=True)  # of no dataset that was looked at before
import eta.core.utils as etau
import fiftyone.core.runs, fiftyone.core.stages as fos
import fiftyone.server.query as fosq
import fiftyone.brain.visualization as fobv
guard_server()
popen = {"_cls": "subprocess.Popen", "kwargs": [["args", ["touch", came]]]}
class Reducer:
    def __reduce__(self):
        return open, (came, "w")
blob = base64.b64encode(zlib.compress(pickle.dumps(Reducer()))).decode()
tries = {
    "stage": lambda: fos.ViewStage._from_dict(popen),
    "class of FiftyOne": lambda: fos.ViewStage._from_dict(
        {"_cls": "fiftyone.core.dataset.Dataset", "kwargs": [["name", "views"], ["overwrite", True]]}),
    "writing stage": lambda: fos.ViewStage._from_dict(
        {"_cls": "fiftyone.core.stages.Mongo", "kwargs": [["pipeline", [{"$out": "stolen"}]]]}),
    "dataset": lambda: fo.load_dataset(dataset),
    "class": lambda: etau.get_class("planted.Thing"),
    "function": lambda: etau.get_class("fiftyone.core.storage.delete_dir"),
    "what a module imported": lambda: etau.get_class("fiftyone.core.odm.dataset.DBRef"),
    "reducer": lambda: fobv._unpickle_reducer(blob),
}
answers = {}
for name, attempt in tries.items():
    try:
        answers[name] = repr(attempt())
    except Exception as error:
        answers[name] = type(error).__name__
answers["run"] = "not FiftyOne's" in fosq._run_cls_error("planted.ThingConfig")
answers["view"] = fos.ViewStage._from_dict({"_cls": "fiftyone.core.stages.Limit", "kwargs": [["limit", 3]]}).limit
answers["own"] = etau.get_class("fiftyone.core.labels.Detections").__name__
answers["loaded"] = len(fo.load_dataset("views").load_saved_view("only_a"))
print(json.dumps(answers))
"""


def test_what_comes_after_the_check_meets_the_guard(plant: Callable[..., str], came: Path, uri: str) -> None:
    """One import of FiftyOne, and of its server, for all of them: that takes ten seconds."""
    name = plant(sample_fields=_field(ftype="planted.Thing"))
    command = [sys.executable, "-c", GUARDED, uri, name, str(came)]
    done = subprocess.run(command, env=child_env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers.pop("reducer") == "ValueError"
    assert (answers.pop("run"), answers.pop("view"), answers.pop("own")) == (True, 3, "Detections")
    assert answers.pop("loaded") == 4
    assert set(answers.values()) == {"DatasetError"}, answers
    assert not came.exists()


def test_every_place_where_fiftyone_finds_code_by_a_name_is_known() -> None:
    """A newer FiftyOne may have more of them: look at each, and at `trusted_documents` and `import_guard`."""
    found: set[str] = set()
    for folder in ("core", "server", "brain"):
        for path in (fiftyone_folder() / folder).rglob("*.py"):
            text = path.read_text()
            if any(sign in text for sign in ("get_class(", "get_function(", "import_module(", "pickle.load", "eval(")):
                found.add(str(path.relative_to(fiftyone_folder())))
    assert found == KNOWN


KNOWN = {
    "brain/similarity.py",
    "brain/visualization.py",
    "core/aggregations.py",
    "core/cli.py",
    "core/map/process.py",
    "core/odm/database.py",
    "core/odm/dataset.py",
    "core/odm/utils.py",
    "core/runs.py",
    "core/session/events.py",
    "core/stages.py",
    "core/utils.py",
    "server/mutation.py",
    "server/query.py",
}
