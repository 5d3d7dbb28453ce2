"""Suspects in FiftyOne, judged by a person, and applied to a copy of the labels; the real FiftyOne and database."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bson import ObjectId, encode, json_util

from agar_pipeline.artifacts import CocoCache, Snapshot
from agar_pipeline.coco.box_formats import rel_xywh_to_xywh, turn_rel_xywh
from agar_pipeline.config import PipelineConfig, SnapshotConfig, SplitConfig
from agar_pipeline.errors import PipelineError
from agar_pipeline.fiftyone_io.reading import observe
from agar_pipeline.fiftyone_io.writing.suspect_labels import ReviewedPhoto
from agar_pipeline.review.reasons import TITLES
from agar_pipeline.snapshots.diff import SnapshotDiff, SnapshotTables, diff_tables
from agar_pipeline.store import Key
from agar_pipeline.use_cases import accepting, reviewing
from agar_pipeline.use_cases.accepted_suspects import Choice
from agar_pipeline.use_cases.accepting import Accepted, accept
from agar_pipeline.use_cases.reviewing import WrittenSuspects, remove_suspects, write_suspects
from tests.fiftyone_io.conftest import collection_of, write_plate
from tests.fiftyone_io.importing.person import Person
from tests.tiny_chain import TinyChain

FIELD, COPY = "agar_suspects", "ground_truth_reviewed"
KINDS = tuple(TITLES)
BOXES = ([0.1, 0.1, 0.2, 0.2], [0.5, 0.1, 0.2, 0.2])
"""The two E.coli of every photo, as shares; the photos are 100 × 80."""
FREE = [[10.0, 56.0, 16.0, 14.0]]
BETTER = [[11.0, 10.0, 20.0, 14.0]]
TWO = [[10.0, 8.0, 9.0, 16.0], [20.0, 8.0, 10.0, 16.0]]


@dataclasses.dataclass
class Reviewed:
    """A dataset with one photo for each kind of suspect and one for two suspects, its snapshot, and the review."""

    dataset: str
    home: Path
    person: Person
    database: Any
    chain: TinyChain
    suspects: pd.DataFrame

    @property
    def snapshot(self) -> Snapshot:
        return self.chain.store.open_latest(Key("snapshot"))

    def write(self, suspects: pd.DataFrame | None = None, *, overwrite: bool = False) -> WrittenSuspects:
        cache: CocoCache = self.chain.store.open_latest(Key("coco_cache"))
        table = self.suspects if suspects is None else suspects
        return write_suspects(
            table, self.snapshot, cache, "by a test", "embedded", self.home, print, overwrite=overwrite
        )

    def accept(self, choice: Choice, **more: Any) -> Accepted:
        return accept(choice, SnapshotConfig(dataset=self.dataset), self.home, print, **more)

    def remove(self, *, overwrite: bool = False) -> bool:
        return remove_suspects(self.dataset, "embedded", self.home, print, overwrite=overwrite)

    def id_of(self, place: int) -> str:
        return str(self.suspects["suspect_id"].iloc[place])

    def tag(self, *places: int, tag: str = "accept") -> None:
        """As the App does it: on the labels of these suspects."""
        ids = [self.id_of(place) for place in places]
        self.person.does(self.dataset, f"dataset.select_labels(ids={ids}, fields='{FIELD}').tag_labels('{tag}')")

    def samples(self) -> list[dict[str, Any]]:
        return list(self.database[collection_of(self.database, self.dataset)].find().sort("filepath"))

    def labels(self, photo: int, field: str = COPY) -> list[tuple[str, list[float]]]:
        labels = self.samples()[photo][field]["detections"]
        return [(one["label"], [round(side, 6) for side in one["bounding_box"]]) for one in labels]

    def sources(self) -> list[bytes]:
        """The reviewed labels, byte for byte."""
        return [encode(sample["ground_truth"]) for sample in self.samples()]

    def diff(self, field: str = COPY) -> SnapshotDiff:
        """Between the snapshot that was reviewed and one of the copy, as `agar diff` finds it."""
        before = SnapshotTables(self.snapshot.images(), self.snapshot.boxes())
        snapshot = SnapshotConfig(dataset=self.dataset, label_field=field)
        switched = dataclasses.replace(
            self.chain, pipeline=dataclasses.replace(self.chain.pipeline, snapshot=snapshot), records={}
        )
        switched.materialize([Key("snapshot")])
        after = switched.store.open_latest(Key("snapshot"))
        self.chain.materialize([Key("snapshot")])  # `latest` is that of the review again
        return diff_tables(before, SnapshotTables(after.images(), after.boxes()))


@pytest.fixture
def reviewed(
    new_dataset: Callable[[], str], home: Path, database: Any, person: Person, tmp_path: Path, monkeypatch: Any
) -> Reviewed:
    """The person's FiftyOne answers what a child would, without its seconds of import."""
    for module in (reviewing, accepting, observe):
        monkeypatch.setattr(module, "run_child", lambda _, request, log: person.answers_as_child(request))
    dataset = new_dataset()
    for place in range(len(KINDS) + 1):
        write_plate(tmp_path / "photos", str(place), None, color=10 * place)
        sample = {"_id": ObjectId(), "_media_type": "image", "filepath": str(tmp_path / "photos" / f"{place}.jpg")}
        labels = [
            {"_id": ObjectId(), "_cls": "Detection", "label": "E.coli", "bounding_box": box, "tags": [], "index": 7}
            for box in BOXES
        ]
        value = {"_cls": "Detections", "detections": labels}
        database[collection_of(database, dataset)].insert_one({**sample, "tags": [], "ground_truth": value})
    snapshot = SnapshotConfig(dataset=dataset)
    split = SplitConfig(fractions={"train": 0.5, "val": 0.5})
    pipeline = PipelineConfig(name="p", snapshot=snapshot, class_map={"E.coli": 1, "S.aureus": 2}, split=split)
    chain = TinyChain(home, pipeline, {})
    chain.materialize([Key("snapshot"), Key("split"), Key("coco_cache")])
    return Reviewed(dataset, home, person, database, chain, suspects_of(chain.store.open_latest(Key("snapshot"))))


def suspects_of(snapshot: Snapshot) -> pd.DataFrame:
    """A suspect of each kind about the first box of a photo, and two about that of the last photo."""
    images, boxes = snapshot.images().sort_values("path"), snapshot.boxes()
    rows = []
    for place, kind in enumerate((*KINDS, "box_too_many", "wrong_class")):
        image = images.iloc[min(place, len(KINDS))]
        first, second = boxes.loc[boxes["image_id"] == image["image_id"], "box_id"]
        suggested = {"missed_colony": FREE, "poor_box": BETTER, "merged_box": TWO}.get(kind, [])
        rows.append(
            {
                "suspect_id": str(ObjectId()),
                "image_id": image["image_id"],
                "annotation_id": None if kind == "missed_colony" else first,
                "kind": kind,
                "score": 0.9 - place / 10,
                "suggested_category_id": 2 if kind in ("missed_colony", "wrong_class") else 1,
                "suggested_boxes_xywh": suggested,
                "other_annotation_id": second if kind == "double_box" else None,
                "reason": f"because of {kind}",
            }
        )
    return pd.DataFrame(rows)


def stored(reviewed: Reviewed) -> str:
    """All of the database that a person could miss: the dataset's schema, its samples and all views, but for times."""
    times = {"last_modified_at", "last_loaded_at", "created_at"}
    document = reviewed.database.datasets.find_one({"name": reviewed.dataset})
    content = [document, reviewed.samples(), list(reviewed.database.views.find().sort("_id"))]

    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_times(one) for key, one in value.items() if key not in times}
        return [without_times(one) for one in value] if isinstance(value, list) else value

    return str(json_util.dumps(without_times(content)))


def test_suspects_are_seen_beside_the_labels_and_taken_back_without_a_trace(reviewed: Reviewed) -> None:
    mine = "dataset.add_sample_field('agar_suspects_of_mine', fo.StringField); dataset.save_view('mine', dataset[:2])"
    reviewed.person.does(reviewed.dataset, mine)
    before, sources = stored(reviewed), reviewed.sources()
    written = reviewed.write()
    assert (written.suspects, written.photos, written.gone, written.changed) == (8, 7, [], [])
    assert reviewed.sources() == sources
    labels = {place: sample[FIELD]["detections"] for place, sample in enumerate(reviewed.samples())}
    for place, kind in enumerate(KINDS):
        annotation = reviewed.samples()[place]["ground_truth"]["detections"][0]
        for one in labels[place]:
            assert (one["kind"], one["reason"]) == (kind, f"because of {kind}")
            assert one["suspect_id"] == reviewed.id_of(place)
            assert one["annotation_id"] == (None if kind == "missed_colony" else str(annotation["_id"]))
    assert str(labels[0][0]["_id"]) == reviewed.id_of(0)
    assert [(one["label"], one["bounding_box"]) for one in labels[0]] == [("S.aureus", [0.1, 0.7, 0.16, 0.175])]
    assert [one["label"] for one in labels[KINDS.index("wrong_class")]] == ["S.aureus"]
    assert [one["bounding_box"] for one in labels[KINDS.index("double_box")]] == [BOXES[0]]
    assert len(labels[KINDS.index("merged_box")]) == 2

    shown = "answer = {name: dataset.load_saved_view(name).values('filepath') for name in dataset.list_saved_views()}"
    views = {
        name: [Path(path).stem for path in paths]
        for name, paths in reviewed.person.does(reviewed.dataset, shown).items()
    }
    assert views.pop("mine") == ["0", "1"]
    assert views == {
        f"{FIELD}: all suspects, most likely first": ["0", "1", "2", "3", "4", "5", "6"],
        f"{FIELD}: missed colony, most likely first": ["0"],
        f"{FIELD}: box too many, most likely first": ["1", "6"],
        f"{FIELD}: wrong class, most likely first": ["2", "6"],
        f"{FIELD}: poor box, most likely first": ["3"],
        f"{FIELD}: double box, most likely first": ["4"],
        f"{FIELD}: two colonies in one box, most likely first": ["5"],
    }
    during = stored(reviewed)
    reviewed.write()
    assert stored(reviewed) == during, "seen twice is written once"
    assert reviewed.remove()
    assert stored(reviewed) == before
    assert not reviewed.remove()


def test_a_new_review_replaces_the_suspects_but_not_what_a_person_did(reviewed: Reviewed) -> None:
    reviewed.write()
    reviewed.tag(2)
    again = reviewed.write(reviewed.suspects[reviewed.suspects["kind"] == "poor_box"])
    assert again.kept == []
    left = [place for place, sample in enumerate(reviewed.samples()) if FIELD in sample]
    assert left == [2, 3], "the tagged one, and the one of the new review"
    rename = (
        "view = dataset.load_saved_view(name); dataset.delete_saved_view(name); dataset.save_view(name, dataset[:1])"
    )
    name = f"{FIELD}: poor box, most likely first"
    reviewed.person.does(reviewed.dataset, rename, name=name)
    changed = reviewed.suspects.assign(score=0.5)
    assert (reviewed.write(changed).kept, reviewed.write(changed).views_kept) == (["2.jpg"], [name])
    before = stored(reviewed)
    with pytest.raises(PipelineError, match=r"edited by somebody \(suspects on 1 photo \(2.jpg\) and the saved view"):
        reviewed.remove()
    assert stored(reviewed) == before
    assert reviewed.write(changed, overwrite=True).kept == []
    assert reviewed.remove(), "nothing is edited any more"


def test_suspects_about_another_label_field_are_not_mixed_with_new_ones(reviewed: Reviewed) -> None:
    """As after a switch to the copy: else tagged suspects about the former field would be accepted again."""
    reviewed.write()
    reviewed.tag(2)
    switch = "f = dataset.get_field(field); f.info = {**f.info, 'label_field': 'former'}; f.save()"
    reviewed.person.does(reviewed.dataset, switch, field=FIELD)
    before = stored(reviewed)
    with pytest.raises(PipelineError, match=r"about the labels in 'former', and .* 'ground_truth'; .*\(2\.jpg\)"):
        reviewed.write()
    assert stored(reviewed) == before
    assert reviewed.write(overwrite=True).kept == []
    assert reviewed.write().kept == []


def test_a_field_of_somebody_else_is_neither_written_nor_removed(reviewed: Reviewed) -> None:
    theirs = "dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)"
    reviewed.person.does(reviewed.dataset, theirs, field=FIELD)
    before = stored(reviewed)
    with pytest.raises(PipelineError, match=f"has a field '{FIELD}' that `agar review` did not make"):
        reviewed.write()
    assert not reviewed.remove(overwrite=True)
    with pytest.raises(PipelineError, match="holds no suspects of `agar review`"):
        reviewed.accept(Choice(tag="accept"))
    assert stored(reviewed) == before


def test_samples_that_are_gone_and_labels_that_changed_are_named(reviewed: Reviewed) -> None:
    samples = reviewed.database[collection_of(reviewed.database, reviewed.dataset)]
    first, second = reviewed.samples()[1:3]
    samples.delete_one({"_id": first["_id"]})
    samples.update_one({"_id": second["_id"]}, {"$set": {"ground_truth.detections.0.label": "S.aureus"}})
    written = reviewed.write()
    assert (written.gone, written.changed, written.suspects) == (["1.jpg"], ["2.jpg"], 6)
    samples.delete_many({})
    with pytest.raises(PipelineError, match="does not hold any of 7 samples of the evaluation"):
        reviewed.write()
    reviewed.database.datasets.update_one({"name": reviewed.dataset}, {"$set": {"name": "renamed"}})
    with pytest.raises(PipelineError, match="is not in this database any more"):
        reviewed.write()
    reviewed.database.datasets.update_one({"name": "renamed"}, {"$set": {"name": reviewed.dataset}})


def test_accepted_suggestions_change_a_copy_and_nothing_else(reviewed: Reviewed) -> None:
    reviewed.write()
    sources = reviewed.sources()
    with pytest.raises(PipelineError, match="holds no suspect with the tag 'accept'"):
        reviewed.accept(Choice(tag="accept"))
    assert COPY not in reviewed.samples()[0]
    reviewed.tag(*range(len(KINDS)))
    done = reviewed.accept(Choice(tag="accept"))
    assert (done.label_field, done.to_field, done.refused, done.already) == ("ground_truth", COPY, [], 0)
    assert (done.kinds, done.photos) == (Counter(KINDS), 6)
    assert reviewed.sources() == sources
    first, second = (("E.coli", box) for box in BOXES)
    expected = {
        "missed_colony": [first, second, ("S.aureus", [0.1, 0.7, 0.16, 0.175])],
        "box_too_many": [second],
        "wrong_class": [("S.aureus", BOXES[0]), second],
        "poor_box": [("E.coli", [0.11, 0.125, 0.2, 0.175]), second],
        "double_box": [second],
        "merged_box": [("E.coli", [0.1, 0.1, 0.09, 0.2]), ("E.coli", [0.2, 0.1, 0.1, 0.2]), second],
    }
    assert {kind: reviewed.labels(place) for place, kind in enumerate(KINDS)} == expected
    assert reviewed.labels(6) == [first, second]
    relabelled = reviewed.samples()[KINDS.index("wrong_class")][COPY]["detections"][0]
    assert relabelled["index"] == 7, "other attributes stay"
    diff = reviewed.diff()
    changes = Counter((Path(change.path).stem, change.kind) for change in diff.boxes)
    assert changes == {
        ("0", "added"): 1, ("1", "removed"): 1, ("2", "relabelled"): 1, ("3", "moved"): 1, ("4", "removed"): 1,
        ("5", "moved"): 1, ("5", "added"): 1,
    }  # fmt: skip
    assert dataclasses.replace(diff, boxes=()).is_empty, "nothing but boxes"

    before = stored(reviewed)
    again = reviewed.accept(Choice(tag="accept"))
    assert (again.kinds, again.already) == (Counter(), 6)
    assert stored(reviewed) == before, "applied twice is applied once"
    look = "answer = [len(dataset.first()[field].detections), dataset.get_field(field + '.detections.index') is None]"
    assert reviewed.person.does(reviewed.dataset, look, field=COPY) == [3, False], "FiftyOne reads it, attributes too"


def test_a_copy_is_extended_and_what_a_person_corrected_in_it_stays(reviewed: Reviewed, tmp_path: Path) -> None:
    reviewed.write()
    reviewed.suspects.iloc[[1]].to_json(tmp_path / "accepted.json")
    reviewed.accept(Choice.read(str(tmp_path / "accepted.json")))
    correct = "sample[field].detections.append(fo.Detection(label='E.coli', bounding_box=[.7,.7,.1,.1])); sample.save()"
    reviewed.person.does(reviewed.dataset, correct, tmp_path / "photos" / "1.jpg", field=COPY)
    reviewed.suspects.iloc[[0, 1, 2]].to_csv(tmp_path / "accepted.csv", index=False)
    done = reviewed.accept(Choice.read(str(tmp_path / "accepted.csv")))
    assert (done.kinds, done.already) == (Counter({"missed_colony": 1, "wrong_class": 1}), 1)
    assert reviewed.labels(1) == [("E.coli", BOXES[1]), ("E.coli", [0.7, 0.7, 0.1, 0.1])]
    reviewed.suspects.iloc[[3]].to_parquet(tmp_path / "accepted.parquet")
    better = "sample[field].detections[0].bounding_box = [.1, .1, .25, .25]; sample.save()"
    reviewed.person.does(reviewed.dataset, better, tmp_path / "photos" / "3.jpg", field=FIELD)
    assert reviewed.accept(Choice.read(str(tmp_path / "accepted.parquet"))).kinds == {"poor_box": 1}
    assert reviewed.labels(3)[0] == ("E.coli", [0.1, 0.1, 0.25, 0.25]), "the suggestion as the person corrected it"
    done = reviewed.accept(Choice.read(f"{FIELD}: double box, most likely first"))
    assert done.kinds == {"double_box": 1}
    other = reviewed.accept(Choice(tag=None, listed=(reviewed.id_of(5),)), to_field="mine_reviewed")
    assert (other.to_field, other.kinds) == ("mine_reviewed", {"merged_box": 1})
    assert reviewed.labels(1, "mine_reviewed") == [("E.coli", box) for box in BOXES], "of the source, not of the copy"
    before = stored(reviewed)
    with pytest.raises(PipelineError, match="leads into another field"):
        reviewed.accept(Choice(listed=(reviewed.id_of(5),)), to_field="ground_truth.reviewed")
    assert stored(reviewed) == before
    for to_field in ("import_digest", FIELD):
        with pytest.raises(PipelineError, match="was not made by `agar review --accept`"):
            reviewed.accept(Choice(listed=(reviewed.id_of(5),)), to_field=to_field)


def test_a_suspect_is_applied_as_the_person_corrected_it(reviewed: Reviewed, tmp_path: Path) -> None:
    """Its class and its box, of either kind."""
    masks = {"$set": {"ground_truth.detections.0.mask_path": "/of/the/old/box.png"}}
    reviewed.database[collection_of(reviewed.database, reviewed.dataset)].update_many({}, masks)
    reviewed.write()
    places = [KINDS.index(kind) for kind in ("wrong_class", "poor_box")]
    box = [0.1, 0.1, 0.25, 0.25]
    correct = "it = sample[field].detections[0]; it.label = 'S.aureus'; it.bounding_box = box; sample.save()"
    for place in places:
        reviewed.person.does(reviewed.dataset, correct, tmp_path / "photos" / f"{place}.jpg", field=FIELD, box=box)
    reviewed.tag(*places)
    assert reviewed.accept(Choice(tag="accept")).kinds == {"wrong_class": 1, "poor_box": 1}
    for place in places:
        assert reviewed.labels(place)[0] == ("S.aureus", box)
        assert "mask_path" not in reviewed.samples()[place][COPY]["detections"][0]


def test_of_two_suggestions_at_one_place_one_is_applied(reviewed: Reviewed) -> None:
    again = reviewed.suspects.iloc[[0]].assign(suspect_id=str(ObjectId()), suggested_category_id=1)
    reviewed.write(pd.concat([reviewed.suspects.iloc[[0]], again]))
    done = reviewed.accept(Choice.read(f"{FIELD}: missed colony, most likely first"))
    assert done.kinds == {"missed_colony": 1}
    assert [sentence.rpartition(": ")[2] for sentence in done.refused] == [
        "a colony is annotated there in the copy now"
    ]
    assert len(reviewed.labels(0)) == 3


def test_two_suggestions_about_one_annotation_and_stale_ones_are_refused_by_name(reviewed: Reviewed) -> None:
    reviewed.write()
    samples = reviewed.database[collection_of(reviewed.database, reviewed.dataset)]
    by_photo = [sample["_id"] for sample in reviewed.samples()]
    samples.update_one({"_id": by_photo[1]}, {"$set": {"ground_truth.detections.0.bounding_box.0": 0.11}})
    drawn = {"_id": ObjectId(), "_cls": "Detection", "label": "E.coli", "bounding_box": [0.1, 0.71, 0.16, 0.175]}
    samples.update_one({"_id": by_photo[0]}, {"$push": {"ground_truth.detections": drawn}})
    samples.update_one({"_id": by_photo[4]}, {"$pull": {"ground_truth.detections": {"bounding_box": BOXES[1]}}})
    reviewed.tag(*range(len(reviewed.suspects)))
    done = reviewed.accept(Choice(tag="accept"))
    one, two = reviewed.id_of(6), reviewed.id_of(7)
    assert sorted(done.refused) == [
        f"0.jpg: missed_colony {reviewed.id_of(0)}: a colony is annotated there in the label field now",
        f"1.jpg: box_too_many {reviewed.id_of(1)}: its annotation changed in the label field since the review",
        f"4.jpg: double_box {reviewed.id_of(4)}: the annotation that it repeats is not in the label field any more",
        f"6.jpg: box_too_many {one}: conflicts with wrong_class {two}, which is accepted, too",
        f"6.jpg: wrong_class {two}: conflicts with box_too_many {one}, which is accepted, too",
    ]
    assert done.kinds == {"wrong_class": 1, "poor_box": 1, "merged_box": 1}
    assert reviewed.labels(6) == [("E.coli", box) for box in BOXES]


REFUSED = {
    "nothing.json": (None, "FileNotFoundError"),
    "none.json": ("[]", "lists no suspect"),
    "other.csv": ("id\n1\n", "KeyError"),
    "text.json": ('"1f0a"', "'1f0a' is not a list"),
    "rows.json": ('{"suspect_id": "1f0a"}', "'1f0a' is not a list"),
    "unknown.json": ('["000000000000000000000000"]', "does not hold 1 of 1 suspect of that file"),
    "tag:no such tag": (None, "holds no suspect with the tag 'no such tag'"),
    "no such view": (None, r"has no saved view 'no such view'\ngive --accept one of these, .*'agar_suspects: all sus"),
    "saved:": (None, "names nothing"),
}


def test_what_cannot_be_accepted_is_named(reviewed: Reviewed, tmp_path: Path) -> None:
    reviewed.write()
    before = stored(reviewed)
    for word, (content, said) in REFUSED.items():
        if content is not None:
            (tmp_path / word).write_text(content)
        with pytest.raises(PipelineError, match=said):
            reviewed.accept(Choice.read(str(tmp_path / word) if "." in word else word))
        assert stored(reviewed) == before


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_drawn_on_a_photo_as_stored_are_found_and_suggested_as_stored(orientation: int) -> None:
    """The snapshot and the suspects have them as displayed, the suspects also in pixels of a smaller copy."""
    as_stored = np.array([[0.125, 0.25, 0.0625, 0.5], [0.5, 0.125, 0.25, 0.25]])
    shown = rel_xywh_to_xywh(turn_rel_xywh(as_stored, np.full(2, orientation)), np.array([[320.0, 640.0]]))
    photo = ReviewedPhoto("s", "1.jpg", (320, 640), (160, 320), 7, ["a", "a"], shown, orientation)
    labels = [{"label": "a", "bounding_box": box} for box in as_stored.tolist()]
    assert photo.find(8, labels) is labels[1]
    assert photo.find(8, labels[::-1]) is labels[1], "at another place"
    assert photo.find(8, labels[:1]) is None
    assert photo.in_shares(shown[0] / 2) == pytest.approx(as_stored[0])
