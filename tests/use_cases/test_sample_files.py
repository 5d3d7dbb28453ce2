"""The files of a dilution series: a table for programs, and a page for people, of counts from anywhere."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.commands.sample_words import print_samples
from agar_pipeline.counting.samples import PlateReading, Sample, estimate_samples
from agar_pipeline.counting.sheet import read_sheet
from agar_pipeline.errors import StorageError
from agar_pipeline.ownership.folders import OwnFolder
from agar_pipeline.use_cases.sample_files import sample_rows, write_samples
from tests.conftest import CHECKOUT

HOW_TO = CHECKOUT / "docs" / "how-to" / "cfu.md"


def read_samples(folder: Path, content: str, readings: dict[str, PlateReading]) -> list[Sample]:
    (folder / "plates.csv").write_text(content)
    for line in content.splitlines()[1:]:
        Image.new("RGB", (90, 60), "khaki").save(folder / line.split(",")[0])
    sheet = read_sheet(folder / "plates.csv")
    return estimate_samples(sheet, {folder / name: reading for name, reading in readings.items()})


def table(out: Path) -> list[dict[str, str]]:
    with (out / "samples.csv").open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def test_the_example_of_the_how_to_page(tmp_path: Path) -> None:
    page = HOW_TO.read_text()
    (content,) = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)
    counts = re.findall(r"^\| (\S+\.jpg) \| .*? \| (\d+) \| [\d.]+ ml \|$", page, re.MULTILINE)
    samples = read_samples(tmp_path, content, {name: PlateReading(int(count)) for name, count in counts})
    write_samples(samples, OwnFolder(tmp_path / "out", "predict"), (25, 250), "best.ckpt")
    (row,) = table(tmp_path / "out")
    assert len(counts) == 4
    assert float(row["cfu_per_ml"]) == pytest.approx(537 / 0.022)
    assert f"537 / 0.022 ml =\n{float(row['cfu_per_ml']):,.0f} CFU/ml" in page
    assert row["reported"] == "2.4 × 10⁴"
    assert "The page says 2.4 × 10⁴" in page
    limits = re.search(r"([\d.]+) and ([\d.]+), divided by 0.022 ml: (\S+ × \S+ – \S+ × \S+)\. ", page)
    assert limits is not None
    assert float(limits[1]) == pytest.approx(float(row["low"]) * 0.022, abs=0.1)
    assert float(limits[2]) == pytest.approx(float(row["high"]) * 0.022, abs=0.1)
    html = (tmp_path / "out" / "samples.html").read_text()
    assert "<strong>2.4 × 10⁴</strong>" in html
    assert f"95 % interval: {limits[3]}. 537 colonies on 4 of 4 plates." in html
    assert html.count("data:image/jpeg") == 4


def test_plates_left_out_corrections_and_contradictions_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (
        "photo,sample,dilution,volume_ml,replicate\n1.png,=1+1 <b>,1e-2,1,A\n2.png,=1+1 <b>,1e-3,1,A\n"
        "3.png,=1+1 <b>,1e-4,1,A\n4.png,water,1,1,\n5.png,water,1,1,\n6.png,lost,1,1,\n"
    )
    corrected = PlateReading(100, boxes_xywh=np.array([[9.0, 9, 20, 20]]), notes=("corrected by a person: 3 boxes",))
    readings = {
        "1.png": corrected, "2.png": PlateReading(60, 55, 66), "3.png": PlateReading(2),
        "4.png": PlateReading(0), "5.png": PlateReading(1),
    }  # fmt: skip
    samples = read_samples(tmp_path, content, readings)
    out = tmp_path / "out"
    write_samples(samples, OwnFolder(out, "count"), (25, 250), "a person")
    first, water, lost = table(out)
    assert first["sample"] == "'=1+1 <b>"
    assert first["plates_used"] == "1.png (10⁻², 100); 2.png (10⁻³, 60 (55–66))"
    assert first["plates_left_out"].startswith("3.png (10⁻⁴, 2): fewer than 25 colonies")
    assert "against 10 expected from dilution 10⁻²" in first["warnings"]
    assert (water["relation"], water["cfu_per_ml"], water["estimate"]) == ("<", "2.0", "yes")
    assert (lost["cfu_per_ml"], lost["reported"]) == ("", "not known")
    assert "6.png (undiluted, not counted): the photo could not be read" in lost["plates_left_out"]
    page = (out / "samples.html").read_text()
    for words in (
        "=1+1 &lt;b&gt;", "replicate A", "corrected by a person: 3 boxes", "Counts that contradict each other:",
        "60 (55–66) colonies", "Counted by a person.", "left out</span> fewer than 25", "&lt; 2.0 CFU/ml",
    ):  # fmt: skip
        assert words in page
    assert "<b>" not in page
    write_samples(samples, OwnFolder(out, "count"), (25, 250), "a person")
    (out / "samples.csv").write_text("mine")
    with pytest.raises(StorageError, match=r"samples\.csv was changed since agar wrote it"):
        write_samples(samples, OwnFolder(out, "count"), (25, 250), "a person")
    assert [row["cfu_per_ml"] for row in sample_rows(samples)] == [pytest.approx(160 / 0.011), 2.0, None]
    print_samples(samples)
    said = capsys.readouterr()
    assert [line.split("  ")[0] for line in said.out.splitlines()] == ["sample", "=1+1 <b>", "water", "lost"]
    assert "1.5 × 10⁴" in said.out.splitlines()[1]
    assert "note: water is an estimate: colonies are present, but fewer than 4" in said.err
    assert "warning: =1+1 <b>: dilution 10⁻³ has 60 colonies" in said.err
