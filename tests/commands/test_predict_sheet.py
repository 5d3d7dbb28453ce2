"""`agar predict --sheet`: from photos and a sheet to colony-forming units, in the process of the tests."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agar_pipeline.commands.predict import command
from agar_pipeline.counting.cfu import estimate_sample
from agar_pipeline.counting.plate_count import PlateCount
from agar_pipeline.errors import SheetError
from agar_pipeline.reports.cfu_words import written
from tests.commands.test_evaluate_predict import plates  # noqa: F401 - a fixture

SHEET = "Photo;Sample;Dilution;Volume (ml)\nä 100 %.jpg;water;0,1;1\nb.png;water;1e-2;1\ncut.png;broth;1/1;1\n"


@pytest.fixture
def sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGAR_HOME", str(tmp_path / "home"))
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "cut.png").write_bytes(b"no photo")
    (tmp_path / "lab" / "plates.csv").write_text(SHEET)
    return tmp_path / "lab" / "plates.csv"


def predict(plates: Path, *words: object) -> Result:  # noqa: F811
    given = ["--checkpoint", plates / "best.ckpt", "--accelerator", "cpu", *words]
    return CliRunner().invoke(command, [str(word) for word in given])


def test_samples_are_computed_from_the_photos_that_the_sheet_lists(
    plates: Path,  # noqa: F811
    sheet: Path,
    tmp_path: Path,
) -> None:
    other, out = tmp_path / "others" / "other.png", tmp_path / "out"
    other.parent.mkdir()
    other.write_bytes((plates / "day 2" / "b.png").read_bytes())
    done = predict(plates, "--sheet", sheet, plates / "day 1", other, "--out-dir", out, "--json")
    assert done.exit_code == 1, "one photo could not be read"
    assert "note: plates.csv does not list other.png: not counted" in done.stderr
    assert f"look at {out / 'samples.html'}" in done.stderr
    images = json.loads((out / "predictions.json").read_text())["images"]
    colonies = {image["file_name"]: image["colonies"] for image in images}
    assert set(colonies) == {"ä 100 %.jpg", "b.png"}
    with (out / "samples.csv").open(newline="", encoding="utf-8-sig") as stream:
        water, broth = csv.DictReader(stream)
    by_hand = estimate_sample([PlateCount(0.1, 1.0, colonies["ä 100 %.jpg"]), PlateCount(0.01, 1.0, colonies["b.png"])])
    assert (int(water["colonies"]), water["reported"]) == (by_hand.colonies, written(by_hand))
    assert "cut.png (undiluted, not counted): the photo could not be read" in broth["plates_left_out"]
    page = (out / "samples.html").read_text()
    assert page.count("data:image/jpeg") == 2
    assert "Counted by best.ckpt: all classes count as colonies, from a score of 0.01 on; no interval is stated" in page
    assert json.loads(done.stdout)["samples"][0]["cfu_per_ml"] == pytest.approx(float(water["cfu_per_ml"]))


def test_a_wrong_sheet_is_refused_before_anything_is_counted(plates: Path, sheet: Path) -> None:  # noqa: F811
    missing = predict(plates, "--sheet", sheet)
    assert isinstance(missing.exception, SheetError)
    assert "lists 2 photos that do not exist, of 3: ä 100 %.jpg (line 2), b.png (line 3)" in str(missing.exception)
    twice = predict(plates, "--sheet", sheet, plates / "day 1", plates / "day 2" / "b.png")
    assert isinstance(twice.exception, SheetError)
    assert "column photo=b.png is " in str(twice.exception)
    none = predict(plates)
    assert (none.exit_code, "give photos, folders of photos, or --sheet" in none.stderr) == (2, True)
