"""Names in the data reach a terminal and a spreadsheet as names, and JSON exactly."""

from __future__ import annotations

import csv
import json
import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agar_pipeline.coco.detections import Detections
from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.detection.inference.photo_folder import PhotoCount
from agar_pipeline.errors import ImageFileError
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.text.safe_text import csv_cell, printable
from agar_pipeline.use_cases.count_files import open_counts, write_counts
from tests.conftest import BIN, CHECKOUT

EVIL = "\x1b]0;owned\x07\x1b[2J\u202egpj.\x9b31m"


@given(st.text())
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(sign) for sign in shown if sign not in "\n\t"} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\x1b\x07\x08\r\x7f\x9b\u202e\u2066\u2028")
    shown.encode()
    assert printable("S. aureus, 27 µm, 菌\n") == "S. aureus, 27 µm, 菌\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", " =", "＝"])
def test_a_cell_that_a_spreadsheet_would_compute_is_text(start: str) -> None:
    assert csv_cell(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"


def test_numbers_stay_numbers() -> None:
    assert [csv_cell(-1), csv_cell(-0.5), csv_cell("plate-1.jpg"), csv_cell(None)] == [-1, -0.5, "plate-1.jpg", None]


def test_counts_csv_holds_no_formula(tmp_path: Path) -> None:
    photo = tmp_path / '=HYPERLINK("evil").png'
    Image.new("RGB", (32, 32)).save(photo)
    nothing = Detections(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0))
    model = type("Model", (), {"class_names": ("@SUM(A1)", "E. coli"), "category_ids": np.array([1, 2])})()
    folder = open_counts(tmp_path / "out", [photo], [tmp_path / "model"])
    write_counts(model, [PhotoCount(photo, (32, 32), nothing, 0)], Calibration(CountRule()), folder)
    with (tmp_path / "out" / "counts.csv").open(newline="") as stream:
        header, row = csv.reader(stream)
    assert header == ["image", "colonies", "low", "high", "'@SUM(A1)", "E. coli", "notes"]
    assert row == ["'" + photo.name, "0", "", "", "0", "0", ""]
    coco = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert coco["images"][0]["file_name"] == photo.name, "JSON is exact"


def test_errors_and_what_commands_print_carry_no_escapes(tmp_path: Path) -> None:
    assert "\x1b" not in str(ImageFileError(f"{EVIL} cannot be read"))
    coco = {
        "images": [{"id": 1, "file_name": f"{EVIL}.jpg", "width": 9, "height": 9}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 99, 9]}],
        "categories": [{"id": 1, "name": EVIL}],
    }
    path = tmp_path / "given.json"
    path.write_text(json.dumps(coco))
    where = ["--json", str(path), "--images-dir", str(tmp_path)]
    environment = {"PATH": "/usr/bin:/bin", "AGAR_HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}
    for command in (
        ["inspect-coco", *where],
        ["inspect-coco", *where[:2], "--images-dir", f"{tmp_path}/{EVIL}"],
        [f"no-{EVIL}"],
    ):
        done = subprocess.run([str(BIN / "agar"), *command], capture_output=True, env=environment, cwd=CHECKOUT)
        shown = (done.stdout + done.stderr).decode()
        assert "owned" in shown
        assert printable(shown) == shown
