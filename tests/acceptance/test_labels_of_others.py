"""Cases 62 and 63: imports over the labels of a person, and folders of the same names, through the commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.grading import right
from tests.acceptance.lab import Lab
from tests.conftest import copy_configs
from tests.fiftyone_io.conftest import agar_label, write_plate

FIRST_BOX = "ground_truth.detections.0.label"


@pytest.fixture
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Six plates imported into dataset `small`, nothing built."""
    folder = tmp_path_factory.mktemp("lab")
    lab = Lab(folder)
    copy_configs(lab.configs)
    write_plates(lab.plates, 0)
    run_import(lab, lab.plates)
    yield lab
    shutil.rmtree(folder)


def write_plates(folder: Path, first_color: int) -> None:
    for number in range(6):
        write_plate(folder, str(number), [agar_label(10 * number, 10)], color=first_color + 20 * number)


def run_import(lab: Lab, folder: Path, *options: str) -> dict[str, Any]:
    done = lab.call("import", *command(folder), "--json", *options)
    assert done.returncode == 0, done.stderr
    counts: dict[str, Any] = json.loads(done.stdout)
    return counts


def command(folder: Path) -> tuple[str, ...]:
    return "agar", "--images-dir", str(folder), "--dataset", "small"


def read_all(lab: Lab) -> dict[str, dict[str, Any]]:
    """File → sample."""
    return {row["filepath"]: row for row in lab.edit(lambda samples: list(samples.find()))}


def test_case_62_a_persons_labels_are_kept_counted_and_changed_only_with_overwrite(photos: Lab) -> None:
    def correct(samples: Any) -> None:
        samples.update_many({"filepath": {"$regex": "/[0123].jpg$"}}, {"$set": {FIRST_BOX: "by hand"}})
        own = {"import_record": None, "ground_truth": {"_cls": "Detections", "detections": []}}
        samples.update_one({"filepath": {"$regex": "/5.jpg$"}}, {"$set": own})  # as one that no import made

    photos.edit(correct)
    before = read_all(photos)
    write_plate(photos.plates, "0", [], count=-1)  # uncountable now
    write_plate(photos.plates, "1", [agar_label(1, 1)])  # another annotation, the photo saved anew
    photo = photos.plates / "2.jpg"
    photo.write_bytes(photo.read_bytes() + b"saved again")
    with photos.pipeline(class_map="{S.aureus: 1, C.albicans: 2, Escherichia: 3, E.coli: 3}"):
        done = photos.call("import", *command(photos.plates))
        kept = run_import(photos, photos.plates)["kept"]
    after = read_all(photos)
    touched = [str(photos.plates / f"{number}.jpg") for number in (0, 1, 2, 3, 5)]
    right(all(after[path]["ground_truth"] == before[path]["ground_truth"] for path in touched), "labels were changed")
    box = after[str(photos.plates / "4.jpg")]["ground_truth"]["detections"][0]
    right(box["label"] == "Escherichia", "what nobody touched does not follow the class map")
    assert sorted(path for paths in kept.values() for path in paths) == touched
    assert "`agar import … --overwrite` replaces what was kept" in done.stderr
    run_import(photos, photos.plates, "--overwrite")
    labels = {box["label"] for row in read_all(photos).values() for box in row["ground_truth"]["detections"]}
    right("by hand" not in labels, "--overwrite did not overwrite")


def test_case_63_a_folder_away_while_another_of_the_same_names_comes(photos: Lab, tmp_path: Path) -> None:
    write_plates(tmp_path / "a", 5)
    write_plates(tmp_path / "b", 10)
    run_import(photos, tmp_path / "a")
    before = read_all(photos)
    (tmp_path / "a").rename(tmp_path / "unmounted")
    counts = run_import(photos, tmp_path / "b")
    after = read_all(photos)
    right(counts["added"] == 6 and len(after) == len(before) + 6, f"{len(before)} samples and 6 are {len(after)}")
    right(all(after[path] == row for path, row in before.items()), "samples of the folder that is away were changed")
    assert len(counts["vanished"]) == 6
    counts = run_import(photos, tmp_path / "unmounted")
    right((counts["added"], counts["moved"]) == (0, 6), "the same photos at a new place are not known again")
