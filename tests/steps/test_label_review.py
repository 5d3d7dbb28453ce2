"""The asset label_review: built when asked, each photo predicted by a model that has not learnt it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from agar_pipeline.artifacts import CocoCache, LabelReview
from agar_pipeline.artifacts.former_folds import find_former_folds
from agar_pipeline.chain.nodes import pipeline_nodes
from agar_pipeline.coco.columns import read_coco
from agar_pipeline.coco.detections import Detections
from agar_pipeline.config import CountingConfig, load_experiment, load_pipeline
from agar_pipeline.counting.dish import Circle
from agar_pipeline.counting.region import Region
from agar_pipeline.detection.inference.predict import Predictor
from agar_pipeline.plates.generate import CLASS_NAMES, generate_plates
from agar_pipeline.reports.review_files import ReviewedPart
from agar_pipeline.steps import label_review
from agar_pipeline.store import Key, Store
from agar_pipeline.store.unfinished import foreign_work
from tests.coco_home import describe_plates
from tests.conftest import Run, copy_configs, runner

TRAIN, VAL, SIZE_PX = 8, 3, 96
KEY = Key("label_review", "small")
DISH = Circle(0.5, 0.5, 0.3)
INSIDE, OUTSIDE = [45.0, 45.0, 10.0, 10.0], [1.0, 1.0, 8.0, 8.0]


@dataclass(frozen=True)
class Lab:
    """A pipeline of COCO files in which everything was run, and then the review was asked for."""

    run: Run
    store: Store
    configs: Path
    images: Path
    ran: str
    """What `agar run` of everything said."""
    reviewed: str
    """What `agar review` said."""

    @property
    def review(self) -> LabelReview:
        review: LabelReview = self.store.open_latest(KEY)
        return review


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Eight plates in train, of which the last is a copy of the first."""
    root = tmp_path_factory.mktemp("lab")
    images, configs = root / "images", copy_configs(root / "configs")
    generate_plates(images, TRAIN + VAL, SIZE_PX, 0, None, (3, 8))
    for suffix in ("jpg", "json"):
        shutil.copy(images / f"1.{suffix}", images / f"{TRAIN}.{suffix}")
    for part, numbers in {"train": range(1, TRAIN + 1), "val": range(TRAIN + 1, TRAIN + VAL + 1)}.items():
        (root / f"{part}.json").write_text(json.dumps(describe_plates(images, numbers, SIZE_PX)))
    source: dict[str, Any] = {"source": "coco", "dataset": "few", "images_dir": str(images)}
    source["files"] = {part: f"{root}/{part}.json" for part in ("train", "val")}
    class_map = {name: place for place, name in enumerate(CLASS_NAMES, start=1)}
    pipeline = {"snapshot": source, "class_map": class_map, "experiments": ["small"]}
    (configs / "pipeline" / "few.yaml").write_text(yaml.safe_dump(pipeline))
    small = configs / "experiment" / "small.yaml"
    small.write_text(small.read_text() + "review: {folds: 3, schedule: 0.7, pictures: 2}\n")
    run = runner({"AGAR_HOME": str(root / "home"), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "few"})
    said = []
    for command in (["run"], ["review", "--experiment", "small", "--out-dir", str(root / "suspects")]):
        done = run("agar", *command)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout + done.stderr)
    return Lab(run, Store(root / "home"), configs, images, *said)


def test_it_is_built_only_when_it_is_asked_for(lab: Lab) -> None:
    assert "label_review" not in lab.ran
    assert "small/label_review       missing" in lab.reviewed
    assert lab.run("agar", "plan").stdout.count("label_review") == 0
    assert lab.run("agar", "plan", str(KEY)).returncode == 0
    config = lab.configs / "experiment" / "small.yaml"
    before = config.read_text()
    config.write_text(before.replace("folds: 3", "folds: 2"))
    assert lab.run("agar", "plan").returncode == 0, "everything else is as it was"
    stale = lab.run("agar", "plan", str(KEY))
    assert stale.returncode == 10
    assert "label_review.folds 3 → 2" in stale.stdout
    config.write_text(before)


def test_suspects_of_all_parts_are_in_the_artifact_and_in_the_folder(lab: Lab) -> None:
    review, copied = lab.review, lab.store.home.parent / "suspects"
    assert set(review.suspects()["part"]) <= {"train", "val"}
    assert set(review.review()["parts"]) == {"train", "val"}
    assert review.review()["images"] == TRAIN + VAL
    assert {path.name for path in copied.glob("*.*")} >= {"suspects.parquet", "review.json", "report.html"}
    assert (copied / "review.json").read_bytes() == (review.root / "review.json").read_bytes()
    assert not list((lab.store.home / "resume" / "small" / "label_review").glob("*")), "finished work is removed"
    page = (copied / "report.html").read_text()
    assert "Cross-validation" in page
    assert "disagree too much to say how many labels are wrong" in page, "after three steps of training"
    assert "disagree too much to trust this number" in lab.reviewed


def test_the_cross_validation_is_of_all_photos_of_train(lab: Lab) -> None:
    done = lab.run("agar", "cross-validate", "experiment=small", "--json")
    assert done.returncode == 0, done.stderr
    plain = json.loads(done.stdout)
    assert (plain["part"], plain["images"], plain["folds"]) == ("train", TRAIN, 3)
    assert Path(plain["path"]) == lab.review.root, "it was not built again"
    for name in ("map", "map_50", "count_mae", "count_relative"):
        of = plain[name]
        assert len(of["per_fold"]) == 3
        assert (name in plain["reasons"]) if of["value"] is None else (of["low"] <= of["value"] <= of["high"])
    (listed,) = json.loads(lab.run("agar", "compare", "--json").stdout)
    assert listed["cross_validated"]["count_mae"] == plain["count_mae"]
    assert "cross-validated" in lab.run("agar", "compare").stdout
    assert "mAP@50" in lab.run("agar", "cross-validate", "experiment=small").stdout


def test_each_photo_is_predicted_by_a_model_that_has_not_learnt_it(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another picture in one photo changes every model but the one that predicts this photo.

    A fold that was trained before the interruption is not trained again.
    """
    review, cache = lab.review, lab.store.open_latest(Key("coco_cache"))
    columns, folds = read_coco(cache.json_path("train")), review.folds().set_index("image_id")["fold"]
    fold_of = {str(name): int(folds[image]) for image, name in zip(columns.image_ids, columns.file_names, strict=True)}
    assert fold_of["1.jpg"] == fold_of[f"{TRAIN}.jpg"], "copies stay together"
    mine, kept = fold_of["2.jpg"], (fold_of["2.jpg"] + 1) % 3
    changed = shutil.copytree(lab.images, tmp_path / "images")
    shutil.copy(lab.images / "3.jpg", changed / "2.jpg")
    monkeypatch.setenv("AGAR_IMAGES_DIR", str(changed))
    monkeypatch.setenv("AGAR_CONFIGS", str(lab.configs))
    nodes = pipeline_nodes(load_pipeline("few"), {"small": load_experiment("small")})
    inputs = {key.asset: lab.store.open_latest(key) for key in nodes[KEY].inputs}
    (tmp_path / "work" / "folds").mkdir(parents=True)
    shutil.copy(review.fold_checkpoints[kept], tmp_path / "work" / "folds" / f"{kept}.ckpt")
    said: list[str] = []
    (tmp_path / "out").mkdir()
    label_review.build(nodes[KEY].config, tmp_path / "out", said.append, **inputs, work_dir=tmp_path / "work")
    assert f"fold {kept + 1} of 3 was trained before the interruption" in said
    again = LabelReview(tmp_path / "out")
    third = 3 - mine - kept
    assert same_weights(review.fold_checkpoints[mine], again.fold_checkpoints[mine])
    assert not same_weights(review.fold_checkpoints[third], again.fold_checkpoints[third])

    monkeypatch.delenv("AGAR_IMAGES_DIR")
    rows = np.flatnonzero(folds.loc[columns.image_ids].to_numpy() == mine)
    own = Predictor.load(review.fold_checkpoints[mine], "cpu").predict(columns.take_images(rows), lab.images, 0)
    written = pd.DataFrame(json.loads((review.root / "predictions.json").read_text()))
    theirs = written[written["image_id"].isin(columns.image_ids[rows])]
    assert sorted(theirs["score"]) == pytest.approx(sorted(own.scores), abs=1e-5)


def test_the_folds_are_not_trained_again_where_only_what_is_drawn_or_counted_changes(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, config = lab.review, lab.configs / "experiment" / "small.yaml"
    before = config.read_text()
    config.write_text(before.replace("pictures: 2", "pictures: 3"))
    done = lab.run("agar", "review", "--experiment", "small", "--out-dir", str(tmp_path / "suspects"))
    config.write_text(before)
    assert lab.run("agar", "run", str(KEY)).returncode == 0, "as it was, for the other tests"
    assert done.returncode == 0, done.stderr
    assert "whose models are used" in done.stdout + done.stderr
    again = next(LabelReview(root) for root in lab.store.roots(KEY) if root != first.root)
    written = [[path.read_bytes() for path in review.fold_checkpoints] for review in (first, again)]
    assert written[0] == written[1]

    monkeypatch.setenv("AGAR_CONFIGS", str(lab.configs))
    cache, table = lab.store.open_latest(Key("coco_cache")), first.folds()
    folds, ids = table["fold"].to_numpy(), table["image_id"].to_numpy()
    plan = pipeline_nodes(load_pipeline("few"), {"small": load_experiment("small")})[KEY].config

    def find(root: Path = first.root, folds: np.ndarray = folds, **changes: Any) -> LabelReview | None:
        return find_former_folds([root], dataclasses.replace(plan, **changes), cache, folds, ids)

    assert find() == first
    assert find(counting=CountingConfig(coverage=0.8)) == first
    assert find(seed=plan.seed + 1) is None
    assert find(folds=folds[::-1]) is None
    damaged = Path(shutil.copytree(first.root, tmp_path / "damaged"))
    (damaged / "folds" / "1.ckpt").write_bytes(b"")
    assert find(damaged) is None


@pytest.mark.parametrize(
    ("annotated", "circle", "kept"),
    [
        ([], DISH, [INSIDE]),
        ([OUTSIDE], DISH, [INSIDE, OUTSIDE]),
        ([], None, [INSIDE, OUTSIDE]),
    ],
    ids=["no annotation", "an annotation outside is still reviewed", "no dish is found"],
)
def test_a_detection_outside_the_dish_is_no_missed_colony(
    tmp_path: Path, annotated: list[list[float]], circle: Circle | None, kept: list[list[float]]
) -> None:
    boxes = [{"id": n, "image_id": 1, "category_id": 1, "bbox": box} for n, box in enumerate(annotated, start=1)]
    image = {"id": 1, "file_name": "1.jpg", "width": 100, "height": 100}
    content = {"images": [image], "annotations": boxes, "categories": [{"id": 1, "name": "E.coli"}]}
    (tmp_path / "val.json").write_text(json.dumps(content))
    ones = np.ones(2, np.int64)
    found = Detections(ones, ones, np.array([INSIDE, OUTSIDE]), np.array([0.9, 0.9]))
    part = ReviewedPart("val", read_coco(tmp_path / "val.json"), found)
    cache = CocoCache(tmp_path)
    left = label_review._drop_outside_dish(Region("dish"), part, [circle], cache, print)
    assert left.detections.boxes_xywh.tolist() == kept
    empty = dataclasses.replace(part, detections=Detections.concatenate([]))
    assert not len(label_review._drop_outside_dish(Region("dish"), empty, [circle], cache, print).detections)


def test_the_work_of_an_interrupted_review_is_ours_to_remove(tmp_path: Path) -> None:
    names = ["folds/0.ckpt", "folds/12.ckpt", "folds/1/a.pt", "folds/1/b.json", "folds/1/checkpoints/best.ckpt"]
    for name in [*names, "folds/1/metrics.csv", "folds/notes.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert foreign_work(tmp_path) == ["folds/notes.txt"]


def same_weights(one: Path, other: Path) -> bool:
    first, second = (torch.load(path, weights_only=True)["state_dict"] for path in (one, other))
    return all(torch.equal(first[name], second[name]) for name in first)
