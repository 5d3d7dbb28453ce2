"""Cases 49 to 51: what is called fresh is fresh, and nothing is made from inputs that do not belong together."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from agar_pipeline.artifacts import CocoCache, TrainingRun
from agar_pipeline.store import Key
from tests.acceptance.grading import refused, right
from tests.acceptance.lab import Lab, in_full
from tests.conftest import BIN, CHECKOUT

AFTER_THE_PHOTOS = ("coco_cache", "bbox_report", "small/smoke_run", "small/training_run", "small/evaluation")
MEDIA = {"link": {}, "copy": {}, "resize": {"max_side": "64"}}


@contextlib.contextmanager
def negatives(folder: Path, names: list[str]) -> Iterator[None]:
    """Photos replaced by their negatives, of the same names and sizes, and as they were afterwards."""
    before = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        with Image.open(folder / name) as photo:
            ImageOps.invert(photo.convert("RGB")).save(folder / name)
    try:
        yield
    finally:
        for name, content in before.items():
            (folder / name).write_bytes(content)


def photos_of(lab: Lab, part: str, count: int) -> list[str]:
    return [image["file_name"] for image in json.loads(lab.open("coco_cache").json_path(part).read_text())["images"]][
        :count
    ]


def test_case_49_replaced_photos_make_everything_made_from_them_stale_and_are_named(trained: Lab) -> None:
    trained.run("run")
    replaced = sorted([*photos_of(trained, "train", 20), *photos_of(trained, "val", 4)])
    cache = trained.open("coco_cache").data_version
    with negatives(trained.plates, replaced):
        plan = trained.plan()
        for asset in ("snapshot", *AFTER_THE_PHOTOS):
            right(asset in plan, f"{asset} is called fresh")
            assert "24 photos replaced: " in str(plan[asset]["reasons"]), f"{asset}: {plan[asset]['reasons']}"
        trained.run("run", "+coco_cache")
        right(trained.open("coco_cache").data_version != cache, "the cache of other photos has the same data version")
        plan = trained.plan()
        for asset in AFTER_THE_PHOTOS[1:]:
            right(asset in plan, f"{asset} is called fresh")
            assert "24 photos replaced: " in str(plan[asset]["reasons"]), f"{asset}: {plan[asset]['reasons']}"
    done = trained.call("smoke", "experiment=small")
    right(done.returncode != 0, "the photos are not those of the cache, and were learnt")
    assert "was made from, 24 of 40: " in done.stderr, done.stderr
    trained.run("run")
    assert trained.open("coco_cache").data_version == cache


@pytest.mark.parametrize("media", [pytest.param("copy"), *(pytest.param(m, marks=in_full) for m in ("link", "resize"))])
def test_case_49_the_same_with_photos_in_the_cache(trained: Lab, media: str) -> None:
    (name,) = photos_of(trained, "val", 1)
    with trained.pipeline(media=media, **MEDIA[media]):
        trained.run("run", "+coco_cache")
        cache = trained.open("coco_cache").data_version
        with negatives(trained.plates, [name]):
            plan = trained.plan()
            assert f"1 photo replaced: {name}" in str(plan["coco_cache"]["reasons"])
            trained.run("run", "+coco_cache")
            right(trained.open("coco_cache").data_version != cache, "another photo, the same data version")
    trained.run("run")


def test_case_49_the_same_with_a_coco_folder_as_the_source(trained: Lab) -> None:
    folder = trained.folder / "coco"
    shutil.copytree(trained.plates, folder / "images")
    for part in ("train", "val"):
        shutil.copy(trained.open("coco_cache").json_path(part), folder)
    (trained.configs / "pipeline" / "folder.yaml").write_text(
        f"snapshot: {{source: coco, dataset: mine, images_dir: {folder}/images,"
        f" files: {{train: {folder}/train.json, val: {folder}/val.json}}}}\n"
        "split: {method: given}\nexperiments: []\n"
    )
    env = {"AGAR_PIPELINE": "folder"}
    trained.run("run", "+coco_cache", **env)
    cache = trained.open("coco_cache").data_version
    (name,) = photos_of(trained, "train", 1)
    with negatives(folder / "images", [name]):
        assert f"1 photo replaced: {name}" in str(trained.plan(**env)["coco_cache"]["reasons"])
        trained.run("run", "+coco_cache", **env)
        right(trained.open("coco_cache").data_version != cache, "another photo, the same data version")
    trained.run("run")


def materialize(lab: Lab, select: str) -> subprocess.CompletedProcess[str]:
    """Dagster's own partial selection."""
    exported = [line.removeprefix("export ").split("=", 1) for line in lab.run("env").splitlines() if "=" in line]
    return subprocess.run(
        [str(BIN / "dagster"), "asset", "materialize", "-m", "agar_pipeline.definitions", "--select", select],
        cwd=CHECKOUT, env={**lab.env, **dict(exported)}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def seen_in_training(lab: Lab, training: Any) -> set[str]:
    version = training.manifest.inputs["coco_cache"]
    caches = [CocoCache.open(root) for root in lab.store.roots(Key("coco_cache"))]
    return set(
        next(cache for cache in caches if cache.data_version == version).photos().query("part == 'train'").sha256
    )


def test_case_50_a_model_is_not_scored_on_what_it_was_trained_on(trained: Lab) -> None:
    trained.run("run")
    old = trained.open("small/evaluation")
    learnt = seen_in_training(trained, trained.open("small/training_run"))
    other = "{method: random, seed: 1, fractions: {train: 0.8, val: 0.2}}"
    with trained.pipeline(split=other):
        trained.run("run", "split", "coco_cache", "bbox_report")
        scored = set(trained.open("coco_cache").photos().query("part == 'val'").sha256)
        assert learnt & scored, "else nothing would be wrong"
        both = ("small/training_run", "coco_cache", "because of split")
        refused(trained.call("run", "small/evaluation"), *both, "agar run +small/training_run")
        by_dagster = materialize(trained, 'key:"small/evaluation"')
        right(by_dagster.returncode == 1, "Dagster's partial selection scored it")
        assert all(word in by_dagster.stderr + by_dagster.stdout for word in both)
        right(trained.open("small/evaluation").root == old.root, "`latest` was repointed")
        mends = ("small/evaluation", "coco_cache", "agar run +small/evaluation")
        refused(trained.call("run", "leaderboard"), *mends)
        refused(trained.call("view", "--experiment", "small", "--no-app"), *mends)
        refused(trained.call("compare", "small", old.manifest.fingerprint), *mends)
        refused(trained.call("run", "small/training_run"), "small/smoke_run", "coco_cache", "agar run +small/")
        trained.run("run", "+small/evaluation")
        scored = set(trained.open("coco_cache").photos().query("part == 'val'").sha256)
        right(not scored & seen_in_training(trained, trained.open("small/training_run")), "scored on its own train")
    trained.run("run")


def test_case_50_a_training_takes_the_cache_that_its_pipeline_names(trained: Lab) -> None:
    trained.run("run")
    text = (trained.configs / "pipeline" / "small.yaml").read_text()
    (trained.configs / "pipeline" / "second.yaml").write_text(text + "media: resize\nmax_side: 48\n")
    second: dict[str, Any] = {"AGAR_PIPELINE": "second"}
    never = trained.call("train", "experiment=small", **second)
    refused(never, "coco_cache", "agar run +coco_cache")
    trained.run("run", "+bbox_report", **second)
    cache = trained.open("coco_cache")
    trained.run("run", "+bbox_report")
    right(trained.open("coco_cache").root != cache.root, "one cache for two ways of keeping photos")
    made = json.loads(trained.run("train", "experiment=small", "--json", **second).splitlines()[0])
    inputs = TrainingRun.open(Path(made["path"])).manifest.inputs
    right(inputs["coco_cache"] == cache.data_version, "trained on the other pipeline's cache")
    trained.run("run")


def test_case_51_a_cache_is_judged_before_anything_is_trained_on_it(trained: Lab) -> None:
    trained.run("run")

    def flatten(samples: Any) -> None:
        sample = samples.find_one({"ground_truth.detections.0": {"$exists": True}}, sort=[("filepath", 1)])
        flat = {"$set": {"ground_truth.detections.0.bounding_box.2": 0.0}}
        samples.update_one({"_id": sample["_id"]}, flat)

    with trained.pipeline(box_policy="{degenerate_box: fail}"), trained.edited(flatten):
        trained.run("run", "snapshot", "split", "coco_cache")
        done = materialize(trained, 'key:"small/smoke_run"')
        right(done.returncode == 1, "Dagster's partial selection went on without a report")
        assert "bbox_report" in done.stdout + done.stderr
        assert "agar run +bbox_report" in done.stdout + done.stderr
        for command in ("smoke", "train"):
            done = trained.call(command, "experiment=small")
            refused(done, "refuses this data for training: degenerate_box (1)")
        assert "has no bbox report yet" not in done.stderr, "it is there now"
    with trained.pipeline(box_policy="{degenerate_box: keep}"), trained.edited(flatten):
        trained.run("run", "snapshot", "split", "coco_cache")
        told = trained.run("smoke", "experiment=small")
        assert "has no bbox report yet" in told
        assert trained.open("bbox_report").manifest.inputs["coco_cache"] == trained.open("coco_cache").data_version
    trained.run("run")
