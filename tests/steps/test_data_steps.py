"""split, coco_cache and bbox_report on artifacts made by hand, through the files that they leave."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pycocotools.coco import COCO

from agar_pipeline.artifacts import BboxReport, CocoCache, Snapshot, Split
from agar_pipeline.artifacts.refusals import refusal_of_boxes, require
from agar_pipeline.chain.build import build_node
from agar_pipeline.chain.nodes import AssetNode
from agar_pipeline.coco import columns, writer
from agar_pipeline.config import (
    ALLOWED_ACTIONS,
    BboxReportConfig,
    PipelineConfig,
    SnapshotConfig,
    SplitConfig,
    from_plain,
)
from agar_pipeline.errors import ArtifactError, ConfigError, DatasetError, GateError
from agar_pipeline.labels import box_rules, part_balance
from agar_pipeline.snapshots import coco_part
from agar_pipeline.steps import bbox_report, coco_cache, split
from agar_pipeline.store import Built, Content, Key, Store

CLASS_MAP = {"S.aureus": 1, "S. aureus": 1, "E.coli": 2, "C.albicans": 3}
GOOD_BOXES = [(1, "S.aureus", 10, 10, 20, 20), (1, "S. aureus", 50, 50, 8, 8), (2, "E.coli", 0, 0, 100, 80)]


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """The cache of picture hashes is in this home."""


def quiet(text: str) -> None:
    """No log."""


def make_snapshot(
    folder: Path,
    boxes: list[tuple[Any, ...]],
    images: int = 10,
    row_group_size: int | None = None,
    without_labels: tuple[int, ...] = (),
) -> Snapshot:
    """A snapshot of 100×80 pictures; `boxes` are (image_id, label, x, y, width, height)."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for i in range(images):
        noise = np.random.default_rng(i).integers(0, 256, (8, 10, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((100, 80)).save(photos / f"{i + 1}.jpg")

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
                "sha256": [hashlib.sha256((photos / f"{i}.jpg").read_bytes()).hexdigest() for i in ids],
                "tags": [[] for _ in ids],
                "labelled": ~np.isin(ids, without_labels),
            }
        ).to_parquet(out_dir / "images.parquet")
        table = pd.DataFrame(boxes, columns=["image_id", "label", "x", "y", "width", "height"])
        table = table.astype(dict.fromkeys(("x", "y", "width", "height"), float)).assign(iscrowd=False, attributes=None)
        table.insert(0, "box_id", np.arange(1, len(table) + 1))
        table.to_parquet(out_dir / "boxes.parquet", row_group_size=row_group_size)
        read = ["image_id", "sample_id", "path", "sha256", "labelled"]
        pd.read_parquet(out_dir / "images.parquet")[read].to_parquet(out_dir / "image_ids.parquet")
        dataset = {"dataset": "x", "images_dir": str(photos), "images": images, "boxes": len(boxes), "labels": {}}
        (out_dir / "dataset.json").write_text(json.dumps(dataset))

    return Store(folder / "home").build(Key("snapshot"), {}, {}, write, quiet).artifact


def build_data(
    folder: Path,
    boxes: list[tuple[Any, ...]],
    policy: dict[str, str],
    row_group_size: int | None = None,
    without_labels: tuple[int, ...] = (),
    log: Callable[[str], None] = quiet,
    **more: Any,
) -> tuple[CocoCache, BboxReport]:
    """The data assets after a hand-made snapshot."""
    pipeline = PipelineConfig(
        name="x",
        snapshot=SnapshotConfig(dataset="x"),
        box_policy=policy,  # type: ignore[arg-type]
        **{"class_map": CLASS_MAP, **more},
    )
    store = Store(folder / "home")
    snapshot = make_snapshot(folder, boxes, row_group_size=row_group_size, without_labels=without_labels)
    made: dict[Key, Any] = {Key("snapshot"): snapshot}
    for asset, config in (
        ("split", pipeline.full_split),
        ("coco_cache", pipeline.coco_cache),
        ("bbox_report", pipeline.bbox_report),
    ):
        inputs = {"split": ["snapshot"], "coco_cache": ["snapshot", "split"], "bbox_report": ["coco_cache"]}[asset]
        keys = tuple(Key(name) for name in inputs)
        built = build_node(store, AssetNode(Key(asset), config, keys), {key: made[key] for key in keys}, log)
        made[Key(asset)] = built.artifact
    return made[Key("coco_cache")], made[Key("bbox_report")]


def load_with_pycocotools(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_a_split_that_leaves_a_part_empty_is_refused(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path, [], images=1)
    with pytest.raises(DatasetError, match="part 'train' gets none of 1 image with"):
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
    "non_finite_box": (3, "E.coli", float("nan"), 1, 2, 3),
    "degenerate_box": (4, "E.coli", 5, 5, 0, 4),
    "small_box": (5, "E.coli", 5, 5, 0.5, 4),
    "unknown_class": (6, "Martian", 1, 1, 5, 5),
    "out_of_bounds_box": (7, "E.coli", 90, 10, 20, 20),
    "duplicate_box": (8, "S.aureus", 10, 10, 20, 20),
}
"""One broken box for each rule, each in a picture with one good box."""
MATES = [(image, "S.aureus", 10, 10, 20, 20) for image, *_ in BROKEN.values()]
FIRST_BROKEN_ID = len(GOOD_BOXES) + len(MATES) + 1


def test_the_files_are_the_same_however_few_boxes_are_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = sorted([*GOOD_BOXES, *MATES, *BROKEN.values(), *[(9, "E.coli", i, 1, 6, 7) for i in range(9)]])
    policy = {"non_finite_box": "drop_box", "degenerate_box": "drop_image", "out_of_bounds_box": "clip"}
    whole, whole_report = build_data(tmp_path / "whole", boxes, policy)
    monkeypatch.setattr(coco_cache, "BOXES_AT_ONCE", 4)
    monkeypatch.setattr(writer, "_AT_ONCE", 2)
    for module in (columns, box_rules, part_balance):
        monkeypatch.setattr(module, "PIECE", 3)
    cut, cut_report = build_data(tmp_path / "cut", boxes, policy, row_group_size=2)
    files = [path for path in whole.root.rglob("*") if path.suffix in {".json", ".npy"} and path.parent != whole.root]
    assert len(files) > 20
    for path in files:
        if path.name != "source.json":  # has the time of the JSON
            assert path.read_bytes() == (cut.root / path.relative_to(whole.root)).read_bytes(), path
    assert whole.mending() == cut.mending()
    assert whole_report.report() == cut_report.report()
    assert sum(finding["count"] for finding in cut_report.report()["findings"].values()) >= len(BROKEN) - 1
    one, other = (of.findings().sort_values(["rule", "annotation_id"], ignore_index=True) for of in (whole, cut))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("action", ["fail", "drop_box", "drop_image", "clip", "keep"])
def test_each_box_rule_is_listed_and_its_policy_applied(tmp_path: Path, action: str) -> None:
    rules = [rule for rule in BROKEN if action in ALLOWED_ACTIONS[rule]]  # type: ignore[index]
    boxes = [*GOOD_BOXES, *MATES, *(BROKEN[rule] for rule in rules)]
    cache, report = build_data(tmp_path, boxes, dict.fromkeys(rules, action))
    plain, findings = report.report(), report.findings()
    findings = findings[findings["annotation_id"].notna()]
    assert sorted(findings["annotation_id"]) == list(range(FIRST_BROKEN_ID, FIRST_BROKEN_ID + len(rules)))
    for annotation_id, rule in enumerate(rules, FIRST_BROKEN_ID):
        assert plain["findings"][rule] == {"count": 1, "action": action}
        finding = findings.set_index("annotation_id").loc[annotation_id]
        assert (finding["rule"], finding["action"]) == (rule, action)
        assert finding["file_name"] == f"{BROKEN[rule][0]}.jpg"
        assert rule != "unknown_class" or "Martian" in finding["value"]
    dropped = {"drop_box": len(rules), "drop_image": 2 * len(rules)}.get(action, 0)
    assert plain["before"] == {"images": 10, "annotations": len(boxes)}
    assert plain["images_dropped"] == 10 - plain["images"] == (len(rules) if action == "drop_image" else 0)
    assert plain["annotations_dropped"] == len(boxes) - plain["annotations"] == dropped
    assert plain["annotations_clipped"] == (action == "clip")
    assert plain["out_of_bounds_ratio"] == pytest.approx(1 / len(boxes))
    assert plain["ok"] == (action != "fail")
    if action == "fail":
        with pytest.raises(GateError, match=r"non_finite_box \(1\), degenerate_box \(1\)"):
            require(refusal_of_boxes(report))
    for part in cache.parts():
        json.loads(cache.json_path(part).read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


def all_boxes(cache: CocoCache) -> dict[int, list[float]]:
    """annotation_id → box of all parts."""
    files = [json.loads(cache.json_path(part).read_text()) for part in cache.parts()]
    return {a["id"]: a["bbox"] for file in files for a in file["annotations"]}


def test_a_clipped_box_stays_inside_and_one_that_lay_outside_is_degenerate_by_its_own_rule(tmp_path: Path) -> None:
    boxes: list[tuple[Any, ...]] = [
        (5, "E.coli", 90, -5, 20, 20),
        (6, "E.coli", 120, 10, 20, 20),
        (7, "E.coli", 99.5, 10, 20, 20),
    ]
    boxes += [(8, "E.coli", 80, 10, 20.005, 5)]  # beyond by less than the errors of shares of a picture
    cache, report = build_data(tmp_path, [*GOOD_BOXES, *boxes], {"degenerate_box": "drop_box", "small_box": "keep"})
    plain = report.report()
    counts = {rule: found["count"] for rule, found in plain["findings"].items() if found["count"]}
    assert counts["out_of_bounds_box"] == 3
    assert (counts["degenerate_box"], counts["small_box"]) == (1, 1)
    assert (plain["annotations_clipped"], plain["annotations_dropped"]) == (2, 1)
    assert plain["ok"]
    kept = all_boxes(cache)
    assert (kept[4], kept[6], kept[7]) == ([90, 0, 10, 15], [99.5, 10, 0.5, 20], [80, 10, 20.005, 5])
    assert 5 not in kept
    listed = report.findings()
    assert set(listed.loc[listed["rule"] == "out_of_bounds_box", "annotation_id"]) == {4, 5, 6}
    assert listed.loc[listed["annotation_id"] == 4, "value"].item() == "x 90, y -5, width 20, height 20"


def test_a_box_that_breaks_two_rules_is_left_out_once_and_listed_twice(tmp_path: Path) -> None:
    twice = [*GOOD_BOXES, *[(3, "Martian", 5, 5, 0, 4)] * 2]
    policy = {"degenerate_box": "drop_box", "unknown_class": "drop_image", "duplicate_box": "drop_box"}
    _, report = build_data(tmp_path, twice, policy)
    plain = report.report()
    found = {rule: plain["findings"][rule]["count"] for rule in policy}
    assert found == {"degenerate_box": 2, "unknown_class": 2, "duplicate_box": 1}
    assert (plain["annotations_dropped"], plain["images_dropped"]) == (2, 1)
    assert report.findings()["annotation_id"].count() == 5


@pytest.mark.parametrize(
    ("rule", "action", "words"),
    [
        ("missing_image", "clip", "only a box that leaves its picture can be clipped\nwrite one of fail, drop_image"),
        ("non_finite_box", "keep", "write one of fail, drop_box, drop_image"),
        ("duplicate_image_id", "drop_box", "no single box is at fault"),
        ("non_finite_boxes", "fail", "non_finite_box"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_with_those_that_do(rule: str, action: str, words: str) -> None:
    plain = {"name": "x", "snapshot": {"dataset": "x"}, "class_map": {"a": 1}, "box_policy": {rule: action}}
    with pytest.raises(ConfigError, match=words):
        from_plain(PipelineConfig, plain, where="x.yaml")


def test_a_deleted_image_is_a_finding(tmp_path: Path) -> None:
    cache, _ = build_data(tmp_path, GOOD_BOXES, {})
    (cache.images_dir / "7.jpg").unlink()
    out_dir = tmp_path / "again"
    out_dir.mkdir()
    policy = BboxReportConfig(box_policy={"missing_image": "fail"})
    bbox_report.build(policy, out_dir, quiet, cache)
    found = pd.read_parquet(out_dir / "findings.parquet").query("image_id.notna()")
    assert found[["rule", "file_name"]].to_numpy().tolist() == [["missing_image", "7.jpg"]]
    assert not json.loads((out_dir / "report.json").read_text())["ok"]


def test_dagster_shows_how_alike_the_parts_are(tmp_path: Path) -> None:
    from agar_pipeline.defs.metadata import describe

    cache, report = build_data(tmp_path, GOOD_BOXES, {})
    balance, shown = report.report()["balance"], describe(Built(report, False, ""))
    for row in shown["class_balance"].records:
        for part in cache.parts():
            share = balance["parts"][part]["class_shares"][row.data["class"]]
            assert row.data[part] == ("" if share is None else f"{share:.1%}")
    assert shown["class_balance"].records
    assert shown["largest_drift"] == balance["largest_drift"] > 0
    split = Split.open(cache.root.parents[1] / "split" / "latest")
    shown = describe(Built(split, False, ""))
    assert [shown[name] for name in ("train_images", "val_images", "train_share", "val_share")] == [8, 2, 0.8, 0.2]
    assert (shown["left_out"], shown["exact_duplicates"]) == (0, 0)


def test_a_smoke_run_is_refused_by_the_verdict_and_a_training_by_a_smoke_run_of_other_data(tmp_path: Path) -> None:
    cache, report = build_data(tmp_path, [*GOOD_BOXES, BROKEN["degenerate_box"]], {})
    store = Store(tmp_path / "home")
    smoke, training = (AssetNode(Key(asset, "e"), SplitConfig(), ()) for asset in ("smoke_run", "training_run"))
    with pytest.raises(GateError, match="degenerate_box"):
        build_node(store, smoke, {Key("coco_cache"): cache, Key("bbox_report"): report}, quiet)

    def write(out_dir: Path) -> None:
        for name in ("smoke.json", "profile.json"):
            (out_dir / name).write_text("{}")

    other = store.build(smoke.key, {}, {"coco_cache": Content("other", {})}, write, quiet).artifact
    with pytest.raises(ArtifactError, match=r"coco_cache(.|\n)*its inputs: agar run \+e/training_run$"):
        build_node(store, training, {Key("coco_cache"): cache, smoke.key: other}, quiet)
    assert not store.folder(training.key).exists(), "no child was started, nothing was written"


def test_split_and_cache_give_the_same_bytes_twice(tmp_path: Path) -> None:
    first, second = (build_data(tmp_path / name, GOOD_BOXES, {})[0] for name in ("a", "b"))
    assert first.data_version == second.data_version
    assert first.dataset()["images_dir"] != second.dataset()["images_dir"]
    assert coco_part.UNKNOWN_CATEGORY_ID not in set(first.dataset()["class_map"].values())


@pytest.mark.parametrize("unlabelled", ["fail", "leave_out", "keep"])
def test_what_nobody_has_labelled_is_never_taken_for_empty_unasked(unlabelled: str, tmp_path: Path) -> None:
    said: list[str] = []
    cache, report = build_data(
        tmp_path,
        [*GOOD_BOXES, (3, "E.coli", 5, 5, 9, 9)],
        {},
        without_labels=(4, 5, 6, 7),
        log=said.append,
        unlabelled=unlabelled,
    )
    plain, findings = report.report(), report.findings()
    about = findings[findings["rule"] == "unlabelled_image"]
    assert sorted(about["file_name"]) == ["4.jpg", "5.jpg", "6.jpg", "7.jpg"], "listed whatever becomes of them"
    action = {"fail": "fail", "leave_out": "drop_image", "keep": "keep"}[unlabelled]
    assert plain["findings"]["unlabelled_image"] == {"count": 4, "action": action}
    in_parts = [image["file_name"] for part in cache.parts() for image in coco_images(cache, part)]
    assert len(in_parts) == (6 if unlabelled == "leave_out" else 10)
    assert {"8.jpg", "9.jpg", "10.jpg"} <= set(in_parts), "an empty plate is no plate without labels"
    assert plain["health"]["colonies_per_plate"]["empty"] == len(in_parts) - 3
    assert ("left out of all parts: 4 (not labelled yet)" in said) == (unlabelled == "leave_out")
    refusal = refusal_of_boxes(report)
    assert (refusal is None) == (unlabelled != "fail")
    if refusal:
        assert "unlabelled_image (4)" in refusal.problem
        assert refusal.next_step
        assert refusal.next_step.endswith(
            "label the images that nobody has labelled, "
            "or change unlabelled (leave_out; keep for empty plates) in the pipeline file"
        )
    assert "images without labels" in (report.root / "report.html").read_text()


def coco_images(cache: CocoCache, part: str) -> list[dict[str, Any]]:
    images: list[dict[str, Any]] = json.loads(cache.json_path(part).read_text())["images"]
    return images


def test_labels_that_only_look_alike_keep_their_classes_over_all_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_cache, "BOXES_AT_ONCE", 1)
    labels = ["lac+", "lac", "1.5 mm", "e_coli", "lac-", "s aureus", "S AUREUS", ""]
    boxes = [(number, label, 10, 10, 20, 20) for number, label in enumerate(labels, start=1)]
    names = {"lac": 1, "lac+": 2, "15 mm": 3, "E.coli": 4, "S.aureus": 5}
    said: list[str] = []
    cache, report = build_data(tmp_path, boxes, {}, row_group_size=1, log=said.append, class_map=names)
    parts = [columns.read_coco(cache.json_path(part)) for part in cache.parts()]
    found = {
        int(image): int(category)
        for part in parts
        for image, category in zip(part.annotation_image_ids, part.annotation_category_ids, strict=True)
    }
    assert found == {1: 2, 2: 1, 3: 0, 4: 4, 5: 0, 6: 0, 7: 0, 8: 0}, "0 is no class, and fails as such"
    assert "label 'e_coli' is taken for the class 'E.coli', by its spelling" in said
    assert cache.dataset()["by_spelling"] == {"e_coli": "E.coli"}
    values = set(report.findings().query("rule == 'unknown_class'")["value"])
    alike = "spelt like the class 'S.aureus', but the label {!r} has the same spelling: list the label in the class map"
    assert f"label 's aureus', {alike.format('S AUREUS')}" in values
    assert "label '', which is an empty or invisible name" in values
    assert "label 'lac-', nearest class 'lac'" in values
    assert not report.report()["ok"]
