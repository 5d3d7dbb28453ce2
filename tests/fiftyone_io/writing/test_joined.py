"""Photos with proposed boxes, corrected and tagged by a person in FiftyOne, join the pipeline's dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.coco.box_formats import turn_rel_xywh
from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.photos.exif_orientation import TAG
from agar_pipeline.use_cases import viewing_counted
from agar_pipeline.use_cases.counted_folder import ANNOTATED
from agar_pipeline.use_cases.joined_proposals import Joined, join_proposals
from tests.fiftyone_io.conftest import collection_of
from tests.fiftyone_io.importing.person import Person
from tests.fiftyone_io.writing.test_counted import FIELD, boxes_of, count_again

TAG_IT = f"sample.tags.append({ANNOTATED!r})\nsample.save()"
FOUR_NUMBERS = "sample[field].detections[0].bounding_box = [.1, .2]"


@pytest.fixture(autouse=True)
def answering_person(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person's FiftyOne answers what a child would, without its seconds of import."""
    monkeypatch.setattr(viewing_counted, "run_child", lambda _, request, log: person.answers_as_child(request))


def test_only_finished_photos_join_once_and_nothing_of_the_dataset_changes(
    person: Person,
    database: Any,
    home: Path,
    new_dataset: Callable[[], str],
    tmp_path: Path,
) -> None:
    count_again(tmp_path, [0.9, 0.8, 0.7])
    photos = [tmp_path / "photos" / f"{number}.jpg" for number in range(4)]
    made = viewing_counted.write_counted(tmp_path / "counted today", None, "embedded", home, print).dataset
    target = new_dataset()
    person.does(target, "dataset.add_sample(fo.Sample(file))", file=str(photos[3]))
    source = SnapshotConfig(dataset=target, label_field="ground_truth")

    def join(name: str = made) -> Joined:
        return join_proposals(name, {"E. coli": 1, "S.aureus": 2, "Defect": 3}, source, home, print)

    def rows(name: str) -> list[dict[str, Any]]:
        return list(database[collection_of(database, name)].find())

    before = rows(target)
    with pytest.raises(DatasetError, match="no photo with the tag 'annotated'"):
        join()
    person.does(made, f"del sample[field].detections[:]\n{TAG_IT}", photos[0], field=FIELD)
    person.does(made, f"sample[field].detections[0].label = 'mould'\n{TAG_IT}", photos[1], field=FIELD)
    person.does(made, TAG_IT, photos[3])
    with pytest.raises(DatasetError, match=r"1\.jpg.* has a box of no class"):
        join()
    person.does(
        made, f"sample[field].detections[0].label = 'Defect'\n{FOUR_NUMBERS}\nsample.save()", photos[1], field=FIELD
    )
    with pytest.raises(DatasetError, match=r"1\.jpg.* has a box that is none"):
        join()
    with pytest.raises(DatasetError, match="was not made by `agar review --unlabelled`"):
        join(target)
    assert rows(target) == before, "nothing is written after an error"

    box = [0.5, 0.25, 0.125, 0.125]
    person.does(made, "sample[field].detections[0].bounding_box = box\nsample.save()", photos[1], field=FIELD, box=box)
    proposals = rows(made)
    joined = join()
    assert joined == Joined(target, [str(photos[0]), str(photos[1])], 3, [str(photos[3])], waiting=1)
    assert rows(made) == proposals
    found = boxes_of(database, target, "ground_truth")
    assert found["0.jpg"] == [], "an empty plate is annotated"
    assert found["1.jpg"][0] == ("Defect", box)
    assert [label for label, _ in found["1.jpg"]] == ["Defect", "E.coli", "S.aureus"]
    assert "confidence" not in str(list(database[collection_of(database, target)].find({"filepath": str(photos[1])})))
    joined_once = rows(target)
    assert join().added == []
    assert rows(target) == joined_once, "joined again, nothing is written"
    answer = person.does(target, "answer = [len(dataset), dataset.count('ground_truth.detections')]")
    assert answer == [3, 3], "FiftyOne reads them"


def test_boxes_join_as_those_of_the_dataset_are_drawn(
    person: Person,
    database: Any,
    home: Path,
    new_dataset: Callable[[], str],
    tmp_path: Path,
) -> None:
    """On photos as stored; the proposals are drawn on photos as displayed."""
    count_again(tmp_path, [0.9, 0.8, 0.7])
    turned, upright = (tmp_path / "photos" / f"{number}.jpg" for number in range(2))
    exif = Image.Exif()
    exif[TAG] = 6
    Image.new("RGB", (80, 100)).save(turned, exif=exif)
    made = viewing_counted.write_counted(tmp_path / "counted today", "turned", "embedded", home, print).dataset
    for photo in (turned, upright):
        person.does(made, TAG_IT, photo)
    target = new_dataset()
    source = SnapshotConfig(dataset=target, label_field="ground_truth", exif="stored")
    proposed = boxes_of(database, made, FIELD)
    elsewhere = dataclasses.replace(source, images_dir=str(tmp_path / "elsewhere"))
    with pytest.raises(DatasetError, match=r"0\.jpg.* is not in snapshot\.images_dir"):
        join_proposals(made, {"E.coli": 1, "S.aureus": 2}, elsewhere, home, print)
    join_proposals(made, {"E.coli": 1, "S.aureus": 2}, source, home, print)
    joined = boxes_of(database, target, "ground_truth")
    assert joined["1.jpg"] == proposed["1.jpg"]
    as_stored = np.array([box for _, box in joined["0.jpg"]])
    shown = turn_rel_xywh(as_stored, np.full(len(as_stored), 6))
    assert sorted(shown.round(6).tolist()) == sorted(np.round([box for _, box in proposed["0.jpg"]], 6).tolist())
