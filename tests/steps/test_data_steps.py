"""split, coco_cache and bbox_report on artifacts made by hand, through the files that they leave."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pycocotools.coco import COCO

from agar_pipeline.artifacts import BboxReport, CocoCache, Snapshot
from agar_pipeline.chain import Node, build_node
from agar_pipeline.config import BboxReportConfig, PipelineConfig, SnapshotConfig, SplitConfig
from agar_pipeline.errors import ArtifactError, DatasetError, GateError
from agar_pipeline.steps import bbox_report, coco_cache, split
from agar_pipeline.steps.split import assign_split
from agar_pipeline.store import Content, Key, Store

CLASS_MAP = {"S.aureus": 1, "S. aureus": 1, "E.coli": 2, "C.albicans": 3}
GOOD_BOXES = [(1, "S.aureus", 10, 10, 20, 20), (1, "S. aureus", 50, 50, 8, 8), (2, "E.coli", 0, 0, 100, 80)]


def quiet(text: str) -> None:
    """No log."""


def make_snapshot(folder: Path, boxes: list[tuple[Any, ...]], images: int = 10) -> Snapshot:
    """A snapshot of 100×80 pictures; `boxes` are (image_id, label, x, y, width, height)."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for i in range(images):
        Image.new("RGB", (100, 80)).save(photos / f"{i + 1}.jpg")

    def write(out_dir: Path) -> None:
        ids = np.arange(1, images + 1)
        pd.DataFrame(
            {
                "image_id": ids,
                "sample_id": [f"{i:024x}" for i in ids],
                "path": [f"{i}.jpg" for i in ids],
                "width": 100,
                "height": 80,
                "size_bytes": 1,
                "sha256": "0",
                "tags": [[] for _ in ids],
            }
        ).to_parquet(out_dir / "images.parquet")
        table = pd.DataFrame(boxes, columns=["image_id", "label", "x", "y", "width", "height"])
        table = table.astype(dict.fromkeys(("x", "y", "width", "height"), float)).assign(iscrowd=False, attributes=None)
        table.insert(0, "box_id", np.arange(1, len(table) + 1))
        table.to_parquet(out_dir / "boxes.parquet")
        pd.read_parquet(out_dir / "images.parquet")[["image_id", "sample_id"]].to_parquet(out_dir / "image_ids.parquet")
        dataset = {"dataset": "x", "images_dir": str(photos), "images": images, "boxes": len(boxes), "labels": {}}
        (out_dir / "dataset.json").write_text(json.dumps(dataset))

    return Store(folder).build(Key("snapshot"), {}, {}, write, quiet).artifact


def build_data(folder: Path, boxes: list[tuple[Any, ...]], policy: dict[str, str]) -> tuple[CocoCache, BboxReport]:
    """The data assets after a hand-made snapshot."""
    pipeline = PipelineConfig(
        name="x",
        snapshot=SnapshotConfig(dataset="x"),
        class_map=CLASS_MAP,
        box_policy=policy,  # type: ignore[arg-type]
    )
    store = Store(folder)
    made: dict[Key, Any] = {Key("snapshot"): make_snapshot(folder, boxes)}
    for asset, config in (
        ("split", pipeline.split),
        ("coco_cache", pipeline.coco_cache),
        ("bbox_report", pipeline.bbox_report),
    ):
        inputs = {"split": ["snapshot"], "coco_cache": ["snapshot", "split"], "bbox_report": ["coco_cache"]}[asset]
        keys = tuple(Key(name) for name in inputs)
        built = build_node(store, Node(Key(asset), config, keys), {key: made[key] for key in keys}, quiet)
        made[Key(asset)] = built.artifact
    return made[Key("coco_cache")], made[Key("bbox_report")]


def load_with_pycocotools(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_assign_split_cuts_the_users_dataset_as_promised() -> None:
    ids = np.array([f"{i:024x}" for i in range(4431)], dtype=object)
    parts = assign_split(ids, {"train": 0.8, "val": 0.2}, seed=0)
    assert dict(zip(*np.unique(parts, return_counts=True), strict=True)) == {"train": 3544, "val": 887}


def test_assign_split_ignores_input_order_and_follows_the_seed() -> None:
    ids = np.array([f"{i:024x}" for i in range(500)], dtype=object)
    fractions = {"train": 0.6, "val": 0.2, "test": 0.2}
    parts = assign_split(ids, fractions, seed=3)
    shuffle = np.random.default_rng(1).permutation(500)
    assert (assign_split(ids[shuffle], fractions, seed=3) == parts[shuffle]).all()
    assert (assign_split(ids, dict(reversed(fractions.items())), seed=3) == parts).all()
    assert (assign_split(ids, fractions, seed=4) != parts).any()


def test_a_split_that_leaves_a_part_empty_is_refused(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path, [], images=1)
    with pytest.raises(DatasetError, match="1 images leave the part 'train' empty"):
        split.build(SplitConfig(), tmp_path, quiet, snapshot)


def test_coco_files_load_in_pycocotools_with_ids_of_the_class_map(tmp_path: Path) -> None:
    cache, report = build_data(tmp_path, GOOD_BOXES, {})
    loaded = [load_with_pycocotools(cache.json_path(part)) for part in cache.parts()]
    assert [{c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())} for coco in loaded] == [
        {1: "S.aureus", 2: "E.coli", 3: "C.albicans"}
    ] * 2, "the same ids in every part, the class that is absent included"
    annotations = [a for coco in loaded for a in coco.loadAnns(coco.getAnnIds())]
    assert {(a["image_id"], a["category_id"], *a["bbox"]) for a in annotations} == {
        (1, 1, 10, 10, 20, 20),
        (1, 1, 50, 50, 8, 8),
        (2, 2, 0, 0, 100, 80),
    }
    images = [i for coco in loaded for i in coco.loadImgs(coco.getImgIds())]
    assert len(images) == 10, "images without boxes are kept"
    assert all((cache.images_dir / i["file_name"]).is_file() for i in images)
    assert report.report()["ok"]


BROKEN = {
    "non_finite_box": (2, "E.coli", float("nan"), 1, 2, 3),
    "degenerate_box": (3, "E.coli", 5, 5, 0, 4),
    "unknown_class": (4, "Martian", 1, 1, 5, 5),
    "out_of_bounds_box": (5, "E.coli", 90, 10, 20, 20),
    "duplicate_box": (1, "S.aureus", 10, 10, 20, 20),
}


@pytest.mark.parametrize("rule", BROKEN)
@pytest.mark.parametrize("action", ["fail", "drop_box", "keep"])
def test_each_box_rule_is_listed_and_its_policy_applied(tmp_path: Path, rule: str, action: str) -> None:
    cache, report = build_data(tmp_path, [*GOOD_BOXES, BROKEN[rule]], {rule: action})
    plain, findings = report.report(), report.findings()
    assert plain["findings"][rule] == {"count": 1, "action": action}
    assert sum(f["count"] for f in plain["findings"].values()) == 1, "no other rule speaks"
    (finding,) = findings.to_dict("records")
    assert (finding["rule"], finding["annotation_id"], finding["action"]) == (rule, 4, action)
    assert finding["file_name"] == f"{BROKEN[rule][0]}.jpg"
    if rule == "unknown_class":
        assert "Martian" in finding["value"]
    assert plain["annotations"] == (3 if action == "drop_box" else 4)
    assert plain["annotations_dropped"] == (1 if action == "drop_box" else 0)
    assert plain["out_of_bounds_ratio"] == (0.25 if rule == "out_of_bounds_box" else 0)
    assert plain["ok"] == (action != "fail")
    if action == "fail":
        with pytest.raises(GateError, match=rf"{rule} \(1\)"):
            report.require_ok()
    for part in cache.parts():
        json.loads(cache.json_path(part).read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


def test_a_deleted_image_is_a_finding(tmp_path: Path) -> None:
    cache, _ = build_data(tmp_path, GOOD_BOXES, {})
    (cache.images_dir / "7.jpg").unlink()
    out_dir = tmp_path / "again"
    out_dir.mkdir()
    policy = BboxReportConfig(box_policy={"missing_image": "fail"})
    bbox_report.build(policy, out_dir, quiet, cache)
    found = pd.read_parquet(out_dir / "findings.parquet")
    assert found[["rule", "file_name"]].to_numpy().tolist() == [["missing_image", "7.jpg"]]
    assert not json.loads((out_dir / "report.json").read_text())["ok"]


def test_training_is_refused_by_the_stored_verdict_and_by_a_smoke_run_of_other_data(tmp_path: Path) -> None:
    cache, _ = build_data(tmp_path, [*GOOD_BOXES, BROKEN["degenerate_box"]], {})
    store, node = Store(tmp_path), Node(Key("training_run", "e"), SplitConfig(), ())

    def smoke(version: str) -> Any:
        def write(out_dir: Path) -> None:
            for name in ("smoke.json", "profile.json"):
                (out_dir / name).write_text("{}")

        return store.build(Key("smoke_run", "e"), {}, {"coco_cache": Content(version, {})}, write, quiet).artifact

    inputs = {Key("coco_cache"): cache, Key("smoke_run", "e"): smoke(cache.data_version)}
    with pytest.raises(GateError, match="degenerate_box"):
        build_node(store, node, inputs, quiet)
    with pytest.raises(ArtifactError, match="another COCO cache"):
        build_node(store, node, {**inputs, Key("smoke_run", "e"): smoke("other")}, quiet)
    assert not store.folder(node.key).exists(), "no child was started, nothing was written"


def test_split_and_cache_give_the_same_bytes_twice(tmp_path: Path) -> None:
    first, second = (build_data(tmp_path / name, GOOD_BOXES, {})[0] for name in ("a", "b"))
    assert first.data_version == second.data_version
    assert first.dataset()["images_dir"] != second.dataset()["images_dir"]
    assert coco_cache.UNKNOWN_CATEGORY_ID not in set(first.dataset()["class_map"].values())
