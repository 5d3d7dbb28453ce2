"""What is wrong with image files, and what the policy makes of it on the way into the COCO cache."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agar_pipeline.artifacts import BboxReport, CocoCache, Split
from agar_pipeline.artifacts.refusals import refusal_of_boxes
from agar_pipeline.config import PipelineConfig, from_plain
from agar_pipeline.steps import bbox_report, coco_cache
from agar_pipeline.store import Key, Store
from tests.steps.test_data_steps import GOOD_BOXES, make_snapshot, quiet

PLAIN = {"name": "x", "snapshot": {"dataset": "x"}, "class_map": {"S.aureus": 1, "S. aureus": 1, "E.coli": 2}}


def build(folder: Path, **more: Any) -> tuple[CocoCache, BboxReport]:
    """Ten pictures, eight in train; 3 is cut off, 4 is gone, 5 was turned."""
    pipeline = from_plain(PipelineConfig, PLAIN | more, "x.yaml")
    boxes = [*GOOD_BOXES, (3, "E.coli", 5, 5, 20, 20), (4, "E.coli", 5, 5, 20, 20), (4, "E.coli", 9, 5, 20, 20)]
    snapshot = make_snapshot(folder, boxes)
    photos = Path(snapshot.dataset()["images_dir"])
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "3.jpg")
    (photos / "3.jpg").write_bytes((photos / "3.jpg").read_bytes()[:-2000])
    (photos / "4.jpg").unlink()
    Image.fromarray(noise.transpose(1, 0, 2)).save(photos / "5.jpg")
    store = Store(folder / "home")
    parts = pd.DataFrame({"image_id": range(1, 11), "part": ["train"] * 8 + ["val"] * 2})

    def write_split(out_dir: Path) -> None:
        for name in Split.files:
            (out_dir / name).touch()
        parts.to_parquet(out_dir / "split.parquet")

    split = store.build(Key("split"), {}, {}, write_split, quiet).artifact
    cache = store.build(
        Key("coco_cache"), {}, {}, lambda out: coco_cache.build(pipeline.coco_cache, out, quiet, snapshot, split), quiet
    ).artifact
    report = store.build(
        Key("bbox_report"), {}, {}, lambda out: bbox_report.build(pipeline.bbox_report, out, quiet, cache), quiet
    ).artifact
    return cache, report


def found(report: BboxReport) -> dict[str, list[str]]:
    findings = report.findings()
    findings = findings[findings["image_id"].notna()]
    return cast(dict[str, list[str]], findings.groupby("rule")["file_name"].apply(list).to_dict())


DROP = dict.fromkeys(("unreadable_image", "missing_image", "image_size_mismatch"), "drop_image")
ALL = {"unreadable_image": ["3.jpg"], "missing_image": ["4.jpg"], "image_size_mismatch": ["5.jpg"]}


def test_bad_images_are_left_out_with_their_boxes_and_all_is_counted(home: Path, tmp_path: Path) -> None:
    cache, report = build(tmp_path, images="decode", box_policy=DROP, max_missing_share=0.1)
    plain = report.report()
    assert found(report) == ALL
    assert plain["ok"]
    assert plain["before"] == {"images": 10, "annotations": 6}
    assert (plain["images"], plain["images_dropped"]) == (7, 3)
    assert (plain["annotations"], plain["annotations_dropped"]) == (3, 3)
    names = [image["file_name"] for image in json.loads(cache.json_path("train").read_text())["images"]]
    assert names == ["1.jpg", "2.jpg", "6.jpg", "7.jpg", "8.jpg"]
    assert "decoded completely" in (report.root / "report.html").read_text()


def test_more_missing_images_than_the_gate_lets_pass_fail_whatever_the_policy(home: Path, tmp_path: Path) -> None:
    _, report = build(tmp_path, images="decode", box_policy=DROP, max_missing_share=0.05)
    plain = report.report()
    assert plain["missing_ratio"] == 0.1
    assert plain["findings"]["missing_image"] == {"count": 1, "action": "fail"}
    assert not plain["ok"]
    refusal = str(refusal_of_boxes(report))
    assert "missing_image (1); first: train, 4.jpg" in refusal
    assert "then put the missing photos back where they were, or change max_missing_share and box_policy" in refusal


@pytest.mark.parametrize(
    ("depth", "rules"),
    [
        ("skip", {"missing_image"}),
        ("header", {"missing_image", "image_size_mismatch"}),
        ("decode", {"missing_image", "image_size_mismatch", "unreadable_image"}),
    ],
)
def test_images_are_checked_as_deeply_as_the_pipeline_says(
    home: Path, tmp_path: Path, depth: str, rules: set[str]
) -> None:
    _, report = build(tmp_path, images=depth)
    assert found(report) == {rule: ALL[rule] for rule in rules}
    assert not report.report()["ok"]
    page = (report.root / "report.html").read_text()
    assert ("unreadable picture" in page.lower()) == (depth != "skip"), "nothing is called clean that nobody looked at"


def test_the_same_content_is_decoded_once(home: Path, tmp_path: Path) -> None:
    from agar_pipeline.coco.columns import CocoColumns
    from agar_pipeline.labels import file_checks
    from agar_pipeline.labels.file_memory import FactsMemory

    Image.linear_gradient("L").resize((100, 80)).save(tmp_path / "a.png")
    ids, size = np.array([1]), (tmp_path / "a.png").stat().st_size
    none = np.zeros(0, np.int64)
    columns = CocoColumns(
        ids, np.array(["a.png"], object), np.array([[100, 80]]), none, none, none, np.zeros((0, 4)), none > 0, none, ()
    )

    def look(sha256: str) -> list[str]:
        hashes, memory = [(sha256, size)], FactsMemory(home / "file_checks.sqlite")
        table = file_checks.check_files(columns, "x", tmp_path, "decode", hashes=hashes, memory=memory)
        return table["rule"].tolist()

    assert look("a" * 64) == []
    (tmp_path / "a.png").write_bytes(bytes(size))
    assert look("a" * 64) == [], "known by its hash, so it is not read again"
    assert look("b" * 64) == ["unreadable_image"]
    with sqlite3.connect(home / "file_checks.sqlite") as memory:
        assert memory.execute("SELECT count(*) FROM facts").fetchone() == (1,), (
            "what may be the moment's fault is not kept"
        )
    (home / "file_checks.sqlite").write_bytes(b"no database at all, but long enough to be taken for one" * 9)
    assert look("a" * 64) == ["unreadable_image"], "a lost memory costs only time"
