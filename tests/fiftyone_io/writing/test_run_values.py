"""What `agar view` writes on samples, with edits before it and between its reads and writes; the real database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import ObjectId

from agar_pipeline.fiftyone_io.database.connection import open_database
from agar_pipeline.fiftyone_io.writing import run_values
from agar_pipeline.fiftyone_io.writing.field_names import DIGEST, RunFields
from agar_pipeline.fiftyone_io.writing.run_values import find_edited, remove_values, seal, write_values

RUN = RunFields("agar_e_12345678")
IDS = [ObjectId(), ObjectId()]


@pytest.fixture
def samples(home: Path) -> Iterator[Any]:
    with open_database("embedded", home) as uri, pymongo.MongoClient(uri) as client:
        collection = client["values"][f"samples.{ObjectId()}"]
        collection.insert_many([{"_id": one, "filepath": f"/photos/{row}.jpg"} for row, one in enumerate(IDS)])
        yield collection
        collection.drop()


def values(label: str = "E.coli") -> dict[ObjectId, dict[str, Any]]:
    """As each writing makes them: equal, but for the labels' ids."""
    box = {"_cls": "Detection", "label": label, "bounding_box": [0.1, 0.2, 1 / 3, 0.4], "confidence": 0.5}
    return {
        one: seal(
            RUN,
            {
                RUN.name: {"_cls": "Detections", "detections": [{"_id": ObjectId(), **box}]},
                RUN.missed: {"_cls": "Detections", "detections": []},
                RUN.count_error: 1,
            },
        )
        for one in IDS
    }


def edit(samples: Any, **fields: Any) -> None:
    """By a person, of the first sample."""
    samples.update_one({"_id": IDS[0]}, {"$set": fields})


EDITS: dict[str, Callable[[Any], None]] = {
    "a tag on a label": lambda samples: edit(samples, **{f"{RUN.name}.detections.0.tags": ["check"]}),
    "all predictions cleared": lambda samples: edit(samples, **{RUN.name: None}),
    "a missed one drawn": lambda samples: edit(samples, **{f"{RUN.missed}.detections": [{"label": "mine"}]}),
    "the count corrected": lambda samples: edit(samples, **{RUN.count_error: 0}),
}


@pytest.mark.parametrize("how", EDITS.values(), ids=EDITS)
def test_an_edit_is_seen_kept_and_only_overwritten_when_asked(samples: Any, how: Callable[[Any], None]) -> None:
    assert write_values(samples, RUN, values(), overwrite=False) == []
    assert find_edited(samples, RUN) == []
    how(samples)
    before = list(samples.find())
    assert write_values(samples, RUN, values(), overwrite=False) == ["0.jpg"]
    assert list(samples.find()) == before
    assert find_edited(samples, RUN) == ["0.jpg"]
    assert write_values(samples, RUN, values(), overwrite=True) == []
    assert find_edited(samples, RUN) == []
    assert samples.find_one({"_id": IDS[1]}) == before[1], "what was as it should be is not written again"


@pytest.mark.parametrize("first", [True, False], ids=["nothing was there", "something was there"])
def test_an_edit_between_reading_and_writing_wins(samples: Any, first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not first:
        write_values(samples, RUN, values(), overwrite=False)
    theirs = {RUN.name: {"_cls": "Detections", "detections": [{"label": "theirs"}]}}
    read = run_values._read

    def read_then_edit(*given: Any) -> list[dict[str, Any]]:
        rows = list(read(*given))
        edit(samples, **theirs)
        return rows

    monkeypatch.setattr(run_values, "_read", read_then_edit)
    assert write_values(samples, RUN, values("C.albicans"), overwrite=True) == ["0.jpg"]
    remove_values(samples, RUN, overwrite=False)
    assert samples.find_one({"_id": IDS[0]})[RUN.name] == theirs[RUN.name]
    assert RUN.name not in samples.find_one({"_id": IDS[1]})


def test_what_an_earlier_version_wrote_is_known_by_its_content(samples: Any) -> None:
    for one, document in values().items():
        samples.update_one({"_id": one}, {"$set": document})
        samples.update_one({"_id": one}, {"$unset": {f"{RUN.name}.{DIGEST}": 1}})
    edit(samples, **{RUN.count_error: 7})
    assert find_edited(samples, RUN) == ["0.jpg", "1.jpg"]
    assert write_values(samples, RUN, values(), overwrite=False) == ["0.jpg"]
    assert find_edited(samples, RUN) == ["0.jpg"]
