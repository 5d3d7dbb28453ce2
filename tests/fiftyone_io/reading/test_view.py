from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from bson import json_util

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.reading.observe import observe_dataset
from agar_pipeline.fiftyone_io.reading.source import ResolvedSource, plain_source
from tests.fiftyone_io.conftest import child_env, collection_of, import_agar, write_plate

LABEL_FIELDS = (
    "name one of type Detections (snapshot.label_field); "
    "label fields: gt (Detections), deep.gt (Detections), kind (Classification)"
)
RESOLVE = """
import json, sys
from dataclasses import asdict
from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import PipelineError
from agar_pipeline.fiftyone_io.reading.view import import_fiftyone, resolve
uri, specs, imported = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
answers = []
for spec in specs:
    try:
        answers.append(asdict(resolve(SnapshotConfig(**{"dataset": "views", "label_field": "gt", **spec}), uri)))
    except PipelineError as error:
        answers.append({"type": type(error).__name__, "message": str(error)})
fo = import_fiftyone(uri)
ds = fo.Dataset(imported, _create=False, _virtual=True)
seen = {"boxes": ds.values("ground_truth.detections.bounding_box"), "type": type(ds.first().ground_truth).__name__,
        "width": ds.first().metadata.width, "ids": len(set(sum(ds.values("ground_truth.detections.id"), []))),
        "media": ds.media_type, "tagged": ds.first().tags, "sizes": [list(s.metadata.to_dict()) for s in ds]}
print(json.dumps({"answers": answers, "seen": seen}))
"""
SPECS: dict[str, dict[str, Any]] = {
    "all": {},
    "tag": {"view": "tag:even"},
    "text": {"view": "field:name=n1"},
    "int": {"view": "field:number=3"},
    "float": {"view": "field:share=1.5"},
    "bool": {"view": "field:good=true"},
    "saved": {"view": "saved:only_a"},
    "nested": {"label_field": "deep.gt"},
    "no saved": {"view": "saved:nope"},
    "patches": {"view": "saved:patches"},
    "deselected": {"view": "saved:bare"},
    "no field": {"label_field": "nope"},
    "wrong type": {"label_field": "kind"},
    "no view field": {"view": "field:nope=1"},
    "in a list": {"view": "field:gt.detections.label=a"},
    "not an int": {"view": "field:number=many"},
    "not a bool": {"view": "field:good=yes please"},
    "nonsense": {"view": "even"},
    "videos": {"dataset": "movies"},
}


@pytest.fixture(scope="module")
def child(uri: str, database: Any, home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All questions to FiftyOne, asked in one child; and what the child left of the database."""
    folder = tmp_path_factory.mktemp("plates")
    write_plate(folder, "1", [{"id": 1, "class": "a", "x": 10, "y": 20, "width": 30, "height": 40}])
    import_agar(folder, "template", home)
    before = _content(database)
    command = [sys.executable, "-c", RESOLVE, uri, json.dumps(list(SPECS.values())), "template"]
    answer = json.loads(subprocess.run(command, check=True, env=child_env(), stdout=subprocess.PIPE).stdout)
    after = _content(database)
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    database[collection_of(database, "template")].delete_many({})
    return {**answer, "answers": dict(zip(SPECS, answer["answers"], strict=True)), "changed": changed}


def _content(database: Any) -> dict[str, list[Any]]:
    return {name: sorted(database[name].find(), key=str) for name in sorted(database.list_collection_names())}


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("all", ["n0", "n1", "n2", "n3", "n4", "n5"]),
        ("tag", ["n0", "n2", "n4"]),
        ("text", ["n1"]),
        ("int", ["n3"]),
        ("float", ["n3"]),
        ("bool", ["n3", "n4", "n5"]),
        ("saved", ["n0", "n1", "n2", "n3"]),
    ],
)
def test_a_view_selects_what_fiftyone_selects(
    spec: str, names: list[str], child: dict[str, Any], database: Any
) -> None:
    answer = child["answers"][spec]
    rows = list(database[answer["collection"]].aggregate(json_util.loads(answer["pipeline"])))
    assert sorted(row["name"] for row in rows) == names
    assert answer["label_path"] == "gt.detections"
    if spec == "saved":  # the view filters labels, too
        assert {label["label"] for row in rows for label in row["gt"]["detections"]} == {"a"}


def test_what_needs_no_fiftyone_is_what_fiftyone_says(child: dict[str, Any], database: Any) -> None:
    plain: dict[str, ResolvedSource | None] = {}
    for name, spec in SPECS.items():
        config = SnapshotConfig(**{"dataset": "views", "label_field": "gt", **spec})
        plain[name] = plain_source(config, database.datasets.find_one({"name": config.dataset}))
    whole = plain.pop("all")
    assert whole is not None
    assert asdict(whole) == child["answers"]["all"]
    assert set(plain.values()) == {None}


def test_a_label_field_may_lie_inside_of_another(child: dict[str, Any]) -> None:
    assert child["answers"]["nested"]["label_path"] == "deep.gt.detections"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "no saved",
            "has no saved view 'nope'\nsave it in FiftyOne, or correct snapshot.view; there are: only_a, bare, patches",
        ),
        ("patches", "makes patches, clips or frames (ToPatches)"),
        (
            "deselected",
            "label field 'gt' of view 'saved:bare' of dataset 'views' cannot give the boxes, because it does not exist",
        ),
        (
            "no field",
            f"'nope' of dataset 'views' cannot give the boxes, because it does not exist\n{LABEL_FIELDS}",
        ),
        (
            "wrong type",
            f"is of type Classification, not Detections\n{LABEL_FIELDS}",
        ),
        ("no view field", "field 'nope' of dataset 'views' cannot be compared with '1', because it does not exist"),
        ("in a list", "lies inside a list"),
        ("not an int", "compares a field of type IntField with 'many'"),
        ("not a bool", "compares a field of type BooleanField with 'yes please'"),
        ("nonsense", "is not of the form tag:NAME, field:PATH=VALUE or saved:NAME"),
        ("videos", "holds video, not images"),
    ],
)
def test_what_cannot_be_resolved_says_what_there_is(spec: str, message: str, child: dict[str, Any]) -> None:
    answer = child["answers"][spec]
    assert answer["type"] == "DatasetError"
    assert message in answer["message"]
    assert len(answer["message"].splitlines()) <= 3


def test_resolving_writes_nothing_and_keeps_datasets_that_are_not_persistent(
    child: dict[str, Any], database: Any
) -> None:
    assert child["changed"] == []
    assert database.datasets.find_one({"name": "fleeting"}) is not None


def test_fiftyone_reads_what_the_import_wrote(child: dict[str, Any]) -> None:
    assert child["seen"] == {
        "boxes": [[[0.1, 0.25, 0.3, 0.5]]],
        "type": "Detections",
        "width": 100,
        "ids": 1,
        "media": "image",
        "tagged": [],
        "sizes": [["_cls", "size_bytes", "mime_type", "width", "height", "num_channels"]],
    }


def test_an_empty_view_lists_tags_and_fields(uri: str, home: Path) -> None:
    config = SnapshotConfig(dataset="views", label_field="gt", view="tag:evne")
    with pytest.raises(DatasetError) as caught:
        observe_dataset(config, home)
    lines = str(caught.value).splitlines()
    assert lines[0] == "view 'tag:evne' of dataset 'views' holds 0 samples"
    step, tags, labels, fields = lines[1].split("; ")
    assert step == "correct snapshot.view"
    assert tags in ("tags: even (3), odd (3)", "tags: odd (3), even (3)")
    assert labels == "label fields: gt, deep.gt"
    assert fields.startswith("fields: ")
    assert {"number", "gt", "tags"} <= set(fields.removeprefix("fields: ").split(", "))
    assert len(lines) == 2
