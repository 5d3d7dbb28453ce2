"""Case 61: exports, scores and caches into folders that hold the files of others, and the original photos."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.grading import refused, right
from tests.acceptance.test_data import agar_here
from tests.fiftyone_io.conftest import stop_keeper
from tests.ownership.test_folders_of_others import MEDIA, Lab, bytes_of


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Six photos in two folders, one of which another tool uses as well."""
    made = Lab(tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home"))
    made.import_agar(made.folder, "plates")
    (made.out / "coco").mkdir()
    (made.out / "coco" / "mine.json").write_text("[]")
    (made.out / "dataset.json").write_text('{"name": "nnU-Net"}')
    yield made
    stop_keeper(made.home)


@pytest.fixture(autouse=True)
def _home(plates: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_HOME", str(plates.home))


@pytest.mark.parametrize("media", MEDIA)
def test_case_61_an_export_into_a_used_folder_is_refused(plates: Lab, media: str) -> None:
    before = bytes_of(plates.folder)
    done = agar_here("export-coco", "--dataset", "plates", "--out-dir", str(plates.out), *MEDIA[media])
    right(bytes_of(plates.folder) == before, "photos or files of another tool were changed")
    refused(done, "holds other files", "dataset.json", "give --out-dir a new or an empty folder")


def test_case_61_exports_one_after_the_other_keep_photos_and_foreign_files(plates: Lab, tmp_path: Path) -> None:
    before, out = bytes_of(plates.folder), tmp_path / "out"
    foreign: dict[str, str] = {}
    for media in ("link", "resize", "copy", "link", "reference", "resize"):
        done = agar_here("export-coco", "--dataset", "plates", "--out-dir", str(out), *MEDIA[media])
        assert done.returncode == 0, done.stderr
        notes = out / "coco" / f"{len(foreign)}.txt"
        notes.write_text("mine")
        foreign[str(notes)] = bytes_of(out)[str(notes)]
        right(bytes_of(plates.folder) == before, f"an export by {media} changed the original photos")
        right(bytes_of(out).items() >= foreign.items(), f"an export by {media} changed files of others")


def test_case_61_scores_never_replace_the_predictions_that_they_are_of(plates: Lab, tmp_path: Path) -> None:
    image = {"id": 1, "file_name": "0.jpg", "width": 100, "height": 80}
    box = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20]}
    annotation = {**box, "id": 1, "area": 400, "iscrowd": 0}
    coco = {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "E.coli"}]}
    (tmp_path / "val.json").write_text(json.dumps(coco))
    (tmp_path / "predictions.json").write_text(json.dumps([{**box, "score": 0.123456789}]))
    before = bytes_of(tmp_path)
    given = ("--predictions", str(tmp_path / "predictions.json"), "--json", str(tmp_path / "val.json"))
    done = agar_here("evaluate", *given, "--out-dir", str(tmp_path))
    right(bytes_of(tmp_path) == before, "the predictions were replaced")
    refused(done, "predictions.json", "another folder")
