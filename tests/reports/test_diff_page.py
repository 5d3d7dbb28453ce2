from __future__ import annotations

from pathlib import Path

import pandas as pd
from PIL import Image

from agar_pipeline.reports.diff_page import PICTURES, DiffSide, write_diff_page
from agar_pipeline.snapshots.diff import SnapshotTables, diff_tables

EVIL = '<img src=x onerror="alert(1)">.jpg'


def side(name: str, folder: Path, x: float, label: str, paths: list[str]) -> DiffSide:
    images = pd.DataFrame({"sample_id": [f"{path}!" for path in paths], "path": paths})
    images = images.assign(image_id=range(1, len(paths) + 1), width=60, height=40, sha256="s")
    boxes = images[["image_id"]].assign(
        label=label, x=x, y=5.0, width=10.0, height=10.0, iscrowd=False, attributes=None
    )
    return DiffSide(name, SnapshotTables(images, boxes), folder)


def write(tmp_path: Path, before: DiffSide, after: DiffSide) -> str:
    page = tmp_path / "page.html"
    write_diff_page(page, diff_tables(before.tables, after.tables), before, after)
    return page.read_text()


def test_names_and_labels_are_escaped_and_bad_photos_leave_a_note(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), "grey").save(tmp_path / EVIL)
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    paths = [EVIL, "broken.jpg", "missing.jpg"]
    html = write(tmp_path, side("<i>a</i>", tmp_path, 5, "x", paths), side("b", tmp_path, 5, "<b>y</b>", paths))
    assert 'onerror="' not in html
    assert "<b>y</b>" not in html
    assert "<i>a</i>" not in html
    assert "x relabelled to &lt;b&gt;y&lt;/b&gt;" in html
    assert html.count("data:image/jpeg") == 2
    assert html.count("No picture: ") == 4
    assert "http" not in html.split("Content-Security-Policy")[1].split("<main>")[1].replace("&#", "")


def test_a_large_diff_shows_some_photos_and_lists_the_rest(tmp_path: Path) -> None:
    paths = [f"{number}.jpg" for number in range(PICTURES + 5)]
    html = write(tmp_path, side("a", tmp_path, 5, "x", paths), side("b", tmp_path, 9, "x", paths))
    assert f"{PICTURES} of {PICTURES + 5} images" in html
    assert html.count("box moved") == PICTURES + 5


def test_equal_snapshots_say_so(tmp_path: Path) -> None:
    one = side("a", tmp_path, 5, "x", ["1.jpg"])
    assert "hold the same images and boxes" in write(tmp_path, one, one)


def test_a_photo_that_is_gone_is_called_missing(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), "grey").save(tmp_path / "1.jpg")
    before, after = side("a", tmp_path, 5, "x", ["1.jpg"]), side("b", tmp_path, 5, "x", ["1.jpg"])
    after.tables.images["sha256"] = None
    html = write(tmp_path, before, after)
    assert "the photo is missing: put the file back" in html
    assert html.count("data:image/jpeg") == 1
    assert "replaced in place" not in html
