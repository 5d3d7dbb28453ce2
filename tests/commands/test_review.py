"""`agar review` on COCO files: suspects, numbers and page; the labels are left as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agar_pipeline.coco.writer import write_coco
from tests.conftest import runner
from tests.review.made_labels import SIDE_PX, make_labels, without

IMAGES = 12


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Photos, a COCO file that lacks the colony with the id 100, and predictions."""
    columns, detections = make_labels(IMAGES)
    (tmp_path / "photos").mkdir()
    for name in columns.file_names:
        pixels = np.random.default_rng(0).integers(0, 255, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    write_coco(tmp_path / "val.json", without(columns, [0]))
    (tmp_path / "predictions.json").write_text(json.dumps(detections.to_coco()))
    return tmp_path


def test_suspects_are_written_with_reasons_numbers_and_pictures(labelled: Path) -> None:
    run, out = runner({}), labelled / "suspects"
    before = (labelled / "val.json").read_bytes()
    given = ["--predictions", f"{labelled}/predictions.json", "--json", f"{labelled}/val.json"]
    given += ["--images-dir", f"{labelled}/photos", "--out-dir", str(out), "--pictures", "3"]
    for _ in range(2):  # the second replaces what the first wrote
        done = run("agar", "review", *given)
        assert done.returncode == 0, done.stderr
    found, numbers = pd.read_parquet(out / "suspects.parquet"), json.loads((out / "review.json").read_text())
    missed = found[found["kind"] == "missed_colony"]
    columns, _ = make_labels(IMAGES)
    mine = [
        np.abs(np.array(list(boxes[0])) - columns.boxes_xywh[0]).max() < 6 for boxes in missed["suggested_boxes_xywh"]
    ]
    row = missed[mine].iloc[0]
    assert row["file_name"] == "1.jpg"
    assert row["reason"].endswith("where there is no annotation.")
    assert found["score"].is_monotonic_decreasing
    assert found["score"].between(0, 1).all()
    assert (numbers["annotations"], numbers["suspects"]) == (len(columns.annotation_ids) - 1, len(found))
    low, high = numbers["wrong"]["interval"]
    assert 0 <= low <= high
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg") == 3
    assert found["reason"].iloc[0] in page
    assert (labelled / "val.json").read_bytes() == before


def test_an_estimate_from_one_photo_has_no_interval_but_a_reason(labelled: Path) -> None:
    plain = json.loads((labelled / "val.json").read_text())
    plain["images"] = plain["images"][:1]
    plain["annotations"] = [of for of in plain["annotations"] if of["image_id"] == plain["images"][0]["id"]][:1]
    (labelled / "one.json").write_text(json.dumps(plain))
    found = [of for of in json.loads((labelled / "predictions.json").read_text()) if of["image_id"] == 1]
    (labelled / "found.json").write_text(json.dumps(found))
    given = ["--predictions", f"{labelled}/found.json", "--json", f"{labelled}/one.json", "--out-dir"]
    done = runner({})("agar", "review", *given, f"{labelled}/one", "--images-dir", f"{labelled}/photos")
    assert done.returncode == 0, done.stderr
    assert "no interval: 1 photo has annotations, but 5 are needed" in done.stderr + done.stdout
    numbers = json.loads((labelled / "one" / "review.json").read_text())
    assert {of["interval"] for of in (numbers["wrong"], *numbers["kinds"].values())} == {None}
    assert "no interval: 1 photo has annotations" in (labelled / "one" / "report.html").read_text()


def test_a_photo_that_is_gone_is_named_on_the_page(labelled: Path) -> None:
    for photo in (labelled / "photos").iterdir():
        photo.unlink()
    given = ["--predictions", f"{labelled}/predictions.json", "--json", f"{labelled}/val.json"]
    done = runner({})("agar", "review", *given, "--images-dir", f"{labelled}/photos", "--out-dir", f"{labelled}/out")
    assert done.returncode == 0, done.stderr
    assert "No picture: " in (labelled / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ([], 2, "give one of --experiment, --predictions, --remove, --accept, --unlabelled and --join"),
        (["--predictions", "predictions.json"], 2, "--predictions needs --json"),
        (["--accept"], 2, "--out-dir can only be used with --experiment or --predictions or --unlabelled"),
        (["--unlabelled", ".", "--to-field", "mine"], 2, "--to-field can only be used with --accept"),
        (["--predictions", "other.json", "--json", "val.json"], 1, "image_id"),
    ],
    ids=["nothing is given", "no annotations", "no use for a folder", "no copy", "predictions of other images"],
)
def test_what_cannot_be_reviewed_is_named(labelled: Path, given: list[str], code: int, said: str) -> None:
    other = [{"image_id": 999, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5}]
    (labelled / "other.json").write_text(json.dumps(other))
    words = [str(labelled / word) if word.endswith(".json") else word for word in given]
    done = runner({})("agar", "review", *words, "--out-dir", f"{labelled}/out")
    assert done.returncode == code
    assert said in done.stderr
    assert not (labelled / "out" / "suspects.parquet").exists()
