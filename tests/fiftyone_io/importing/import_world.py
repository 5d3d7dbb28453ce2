"""Folders of photos, a dataset, imports and a person's work in it; after each import, what must never be lost is there.

For property tests: each public step takes two numbers, of which it makes what it needs, so that any sequence is one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bson import ObjectId

from agar_pipeline.fiftyone_io.importing.counts import ImportCounts
from agar_pipeline.ownership.imported_labels import ImportRecord
from tests.fiftyone_io.conftest import agar_label, write_plate
from tests.fiftyone_io.importing.person import Person

PHOTOS = 3
CLASS_MAPS: tuple[dict[str, int], ...] = (
    {},
    {"Escherichia": 1, "E.coli": 1},
    {"coli": 1, "Escherichia": 1, "E.coli": 1},
)
Import = Callable[[Path, dict[str, int]], ImportCounts]


class ImportWorld:
    """Two folders with the same names of other photos."""

    STEPS: tuple[str, ...] = (
        *("imports", "corrects", "erases", "tags", "notes", "adds_own", "saves_again", "annotates", "renames_class"),
        *("moves", "swaps", "unmounts", "makes_uncountable", "replaces_photo", "copies"),
    )

    def __init__(self, place: Path, dataset: str, samples: Any, run_import: Import, person: Person) -> None:
        self.place, self.dataset, self.samples = place, dataset, samples
        self.run_import, self.person = run_import, person
        self.numbers = itertools.count()
        self.class_map: dict[str, int] = {}
        self.labels_by_hand: dict[ObjectId, Any] = {}
        self.fields_by_hand: dict[ObjectId, dict[str, Any]] = {}
        self.own: dict[ObjectId, dict[str, Any]] = {}
        self.folders = [place / "a", place / "b"]
        for folder in self.folders:
            for number in range(PHOTOS):
                self._write(folder, number)

    # What happens to the files

    def _write(self, folder: Path, number: int) -> None:
        write_plate(folder, str(number), [agar_label(10 * number, next(self.numbers) % 50)])
        self._make_unique(folder / f"{number}.jpg")

    def _make_unique(self, photo: Path) -> None:
        photo.write_bytes(photo.read_bytes() + f"{next(self.numbers)};".encode())

    def _photo(self, folder: int, number: int) -> Path:
        return self.folders[folder % 2] / f"{number % PHOTOS}.jpg"

    def saves_again(self, folder: int, number: int) -> None:
        photo = self._photo(folder, number)
        if photo.exists():
            self._make_unique(photo)

    def replaces_photo(self, folder: int, number: int) -> None:
        photo = self._photo(folder, number)
        if photo.exists():
            self._write(photo.parent, number % PHOTOS)

    def copies(self, folder: int, number: int) -> None:
        """A photo and its annotation over those of another name or folder."""
        photo, other = self._photo(folder, number), self._photo(folder + number // PHOTOS, number + 1)
        if photo.exists() and other.exists():
            shutil.copy(photo, other)
            shutil.copy(photo.with_suffix(".json"), other.with_suffix(".json"))

    def annotates(self, folder: int, number: int) -> None:
        self._annotate(self._photo(folder, number), [agar_label(next(self.numbers) % 60, 5)], 1)

    def makes_uncountable(self, folder: int, number: int) -> None:
        self._annotate(self._photo(folder, number), [], -1)

    def _annotate(self, photo: Path, labels: list[Any], count: int) -> None:
        if photo.exists():
            plain = {"sample_id": 7, "background": "bright", "colonies_number": count, "labels": labels}
            photo.with_suffix(".json").write_text(json.dumps(plain))

    def renames_class(self, folder: int, number: int) -> None:
        self.class_map = CLASS_MAPS[number % len(CLASS_MAPS)]

    def moves(self, folder: int, number: int) -> None:
        new = self.place / f"moved-{next(self.numbers)}"
        if self.folders[folder % 2].exists():
            self.renames(self.folders[folder % 2], new)
            self.folders[folder % 2] = new

    def swaps(self, folder: int, number: int) -> None:
        first, second = self.folders
        if first.exists() and second.exists():
            self.renames(first, self.place / "between")
            self.renames(second, first)
            self.renames(self.place / "between", second)

    def unmounts(self, folder: int, number: int) -> None:
        """Or mounts again, where it was."""
        there, away = self.folders[folder % 2], self.place / f"away-{folder % 2}"
        if away.exists() and not there.exists():
            self.renames(away, there)
        elif there.exists() and not away.exists():
            self.renames(there, away)

    def renames(self, old: Path, new: Path) -> None:
        old.rename(new)

    # What the person does

    def _one(self, number: int) -> dict[str, Any] | None:
        rows = list(self.samples.find({}).sort("_id"))
        return rows[number % len(rows)] if rows else None

    def _by_hand(self, number: int, code: str) -> None:
        if (row := self._one(number)) is not None:
            code = f"sample = dataset[identity]\n{code}\nsample.save()"
            self.person.does(self.dataset, code, identity=str(row["_id"]), number=number)
            after = self.samples.find_one({"_id": row["_id"]})
            if after["ground_truth"] != row["ground_truth"]:
                self.labels_by_hand[row["_id"]] = after["ground_truth"]
            if row["_id"] in self.own:
                self.own[row["_id"]] = after

    def corrects(self, folder: int, number: int) -> None:
        draw = "fo.Detection(label=f'drawn {number}', bounding_box=[.1, .2, .3, .4])"
        self._by_hand(number, f"sample.ground_truth.detections.append({draw})")

    def erases(self, folder: int, number: int) -> None:
        self._by_hand(number, "sample.ground_truth = fo.Detections(detections=sample.ground_truth.detections[1:])")

    def tags(self, folder: int, number: int) -> None:
        self._note(number, "sample.tags.append('seen')", "tags")

    def notes(self, folder: int, number: int) -> None:
        self._note(number, "sample['note'] = f'{number} is odd'; sample['agar_background'] = 'dark'", "note")
        self._note(number, "", "agar_background")

    def _note(self, number: int, code: str, field: str) -> None:
        self._by_hand(number, code)
        if (row := self._one(number)) is not None:
            self.fields_by_hand.setdefault(row["_id"], {})[field] = row.get(field)

    def adds_own(self, folder: int, number: int) -> None:
        photo = self._photo(folder, number)
        if photo.exists() and not self.samples.find_one({"filepath": str(photo)}):
            self.person.adds(self.dataset, photo, 1 + number % 3)
            row = self.samples.find_one({"filepath": str(photo)})
            self.own[row["_id"]] = row

    # What must hold

    def imports(self, folder: int, number: int) -> None:
        path = self.folders[folder % 2]
        if not path.exists():
            return
        photos = {photo: photo.read_bytes() for photo in self.place.rglob("*.jpg")}
        before = {row["_id"]: row for row in self.samples.find()}
        self.run_import(path, self.class_map)
        after = {row["_id"]: row for row in self.samples.find()}
        assert {photo: photo.read_bytes() for photo in self.place.rglob("*.jpg")} == photos
        self._require_work_of_hands(after)
        self._require_only_untouched_uncountable_gone(path, before, after)
        self._require_images(path, after)
        again = self.run_import(path, self.class_map)
        assert (again.added, again.updated, again.removed, again.moved) == (0, 0, 0, 0), "twice is once"

    def _require_work_of_hands(self, after: dict[ObjectId, Any]) -> None:
        for identity, labels in self.labels_by_hand.items():
            assert after[identity]["ground_truth"] == labels, "labels made by hand were changed"
        for identity, fields in self.fields_by_hand.items():
            assert {name: after[identity].get(name) for name in fields} == fields
        for identity, row in self.own.items():
            assert after[identity] == row, "a sample that no import made was changed"

    def _require_only_untouched_uncountable_gone(
        self, folder: Path, before: dict[ObjectId, Any], after: dict[ObjectId, Any]
    ) -> None:
        uncountable = [photo for photo in folder.glob("*.jpg") if self._annotation(photo)["colonies_number"] < 0]
        contents = {hashlib.sha256(photo.read_bytes()).hexdigest() for photo in uncountable}
        for identity in before.keys() - after.keys():
            record = ImportRecord.read(before[identity]["import_record"])
            assert record is not None
            assert contents.intersection(record.photos) or Path(before[identity]["filepath"]) in uncountable

    def _require_images(self, folder: Path, after: dict[ObjectId, Any]) -> None:
        """Each countable image has its sample, and what nobody touched says what its annotation says."""
        rows = {row["filepath"]: row for row in after.values()}
        assert len(rows) == len(after), "two samples of one file"
        for photo in folder.glob("*.jpg"):
            plain, row = self._annotation(photo), rows.get(str(photo))
            if plain is None or plain["colonies_number"] < 0:
                continue
            assert row is not None, "an image has no sample"
            if row["_id"] not in {*self.labels_by_hand, *self.own}:
                (label,), (box,) = plain["labels"], row["ground_truth"]["detections"]
                assert box["bounding_box"][:2] == [label["x"] / 100, label["y"] / 80]
                assert box["label"] == (next(iter(self.class_map), label["class"]))
                record = ImportRecord.read(row["import_record"])
                assert record is not None

    def _annotation(self, photo: Path) -> Any:
        path = photo.with_suffix(".json")
        return json.loads(path.read_text()) if path.exists() else None
