"""`agar evaluate` and `agar predict` from a checkpoint alone: no Dagster, no FiftyOne, no database."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.detection.coco_writer import write_coco
from tests.conftest import Run, runner

SIZES_WH = ((96, 64), (80, 80), (64, 96))


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos in two folders with names that people use, a COCO file, and an untrained checkpoint."""
    import torch

    from agar_pipeline.detection.checkpoint import CheckpointFacts, save_checkpoint
    from agar_pipeline.detection.model import build_detector
    from tests.detection.test_detector import spec_of

    root = tmp_path_factory.mktemp("plates")
    names = ["day 1/ä 100 %.jpg", "day 1/b.png", "day 2/b.png"]
    for name, (width, height) in zip(names, SIZES_WH, strict=True):
        (root / name).parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    write_coco(
        root / "val.json",
        CocoColumns(
            image_ids=np.arange(1, 4),
            file_names=np.array(names, dtype=object),
            sizes_wh=np.array(SIZES_WH),
            annotation_ids=np.array([1, 2]),
            annotation_image_ids=np.array([1, 3]),
            annotation_category_ids=np.array([1, 2]),
            boxes_xywh=np.array([[10.0, 10, 20, 20], [5, 40, 30, 30]]),
            iscrowd=np.zeros(2, bool),
            category_ids=np.array([1, 2]),
            class_names=("S. aureus", "E. coli"),
        ),
    )
    torch.manual_seed(0)
    spec = spec_of("tiny", num_classes=2, score_floor=0.0, detections_per_image=20)
    facts = CheckpointFacts(spec, ("S. aureus", "E. coli"), (1, 2), "32-true", False, 0, 1, 0.01, {})
    save_checkpoint(root / "best.ckpt", build_detector(spec), facts)
    return root


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runner({"AGAR_HOME": str(tmp_path / "home")})


def test_predict_counts_what_evaluate_counts(plates: Path, run: Run, tmp_path: Path) -> None:
    checkpoint = ("--checkpoint", str(plates / "best.ckpt"))
    scored = run(
        "agar", "evaluate", *checkpoint, "--json", str(plates / "val.json"), "--images-dir", str(plates),
        "--out-dir", str(tmp_path / "scores"),
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["score_threshold"] == {"value": 0.01, "chosen_on": "val"}
    assert (tmp_path / "scores" / "report.html").is_file()
    counted = run("agar", "predict", *checkpoint, str(plates), "--json", "--out-dir", str(tmp_path / "counted"))
    assert counted.returncode == 0, counted.stderr
    coco = json.loads(counted.stdout)
    assert [image["file_name"] for image in coco["images"]] == ["day 1/b.png", "day 1/ä 100 %.jpg", "day 2/b.png"]
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in coco["images"]}
    assert sizes["day 1/ä 100 %.jpg"] == SIZES_WH[0]
    predicted = sum(image["colonies"] for image in coco["images"])
    assert predicted == len(coco["annotations"]) > 60, "more than the checkpoint's cap of 20 on each"
    bias = metrics["counting"]["me"]
    assert predicted == pytest.approx(3 * bias + 2)
    assert (tmp_path / "counted" / "pictures" / "day 2" / "b.png.jpg").is_file()
    assert (tmp_path / "counted" / "counts.csv").read_text().count("\n") == 4


def test_predictions_alone_can_be_evaluated_but_not_tuned_on_test(plates: Path, run: Run, tmp_path: Path) -> None:
    result = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.9}
    (tmp_path / "results.json").write_text(json.dumps([result]))
    (tmp_path / "test.json").write_bytes((plates / "val.json").read_bytes())
    wanted = ("agar", "evaluate", "--predictions", str(tmp_path / "results.json"), "--out-dir", str(tmp_path / "out"))
    done = run(*wanted, "--json", str(plates / "val.json"))
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["per_class"]["S. aureus"]["map"] == pytest.approx(1.0)
    assert metrics["score_threshold"]["chosen_on"] == "these images"
    refused = run(*wanted, "--json", str(tmp_path / "test.json"))
    assert refused.returncode == 2
    assert "--score-threshold" in refused.stderr
    assert run(*wanted, "--json", str(tmp_path / "test.json"), "--score-threshold", "0.5").returncode == 0
    (tmp_path / "results.json").write_text(json.dumps([{**result, "image_id": 99}]))
    stray = run(*wanted, "--json", str(plates / "val.json"))
    assert (stray.returncode, "99" in stray.stderr) == (1, True)
    assert run("agar", "evaluate", "--json", str(plates / "val.json"), "--out-dir", str(tmp_path)).returncode == 2


def test_photos_that_cannot_be_read_are_named_and_the_rest_is_done(plates: Path, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "good.jpg").write_bytes((plates / "day 1" / "ä 100 %.jpg").read_bytes())
    (folder / "cut.jpg").write_bytes((plates / "day 1" / "ä 100 %.jpg").read_bytes()[:900])
    (folder / "empty.png").touch()
    done = run("agar", "predict", "--checkpoint", str(plates / "best.ckpt"), str(folder))
    assert done.returncode == 1
    assert "good.jpg" in done.stdout
    assert {"cut.jpg", "empty.png"} == {name for name in ("cut.jpg", "empty.png", "good.jpg") if name in done.stderr}
    assert "empty.png cannot be read as an image (empty)" in done.stderr
    nothing = run("agar", "predict", "--checkpoint", str(plates / "best.ckpt"), str(tmp_path / "none"))
    assert (nothing.returncode, "does not exist" in nothing.stderr) == (1, True)
