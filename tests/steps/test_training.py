"""Smoke, training and evaluation on a few small plates: the files, the refusals, one rank and two."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from agar_pipeline.artifacts import BboxReport, CocoCache, Evaluation, SmokeRun, TrainingRun
from agar_pipeline.coco.columns import read_coco
from agar_pipeline.commands.train import closing_lines
from agar_pipeline.config import CountingConfig, ExperimentConfig, ModelConfig, ScoringConfig, load_experiment, to_plain
from agar_pipeline.detection.fitting.data_choice import say_choice
from agar_pipeline.detection.fitting.model_fitting import fit_config, make_spec
from agar_pipeline.detection.inference.predict import Predictor
from agar_pipeline.detection.loading.devices import threads_restored
from agar_pipeline.detection.models.detector import build_detector
from agar_pipeline.detection.training.lightning_module import DetectorModule
from agar_pipeline.errors import ArtifactError, ComputeError, GateError, ImageFileError, StoppedError, TrainingError
from agar_pipeline.plates.generate import CLASS_NAMES, generate_plates
from agar_pipeline.processes.devices import count_cores
from agar_pipeline.steps import evaluation, smoke_run, training_run
from tests.detection.models.small_detrs import SMALL, one_thread, save_small

SIZE_PX = 96


def _coco(images_dir: Path, numbers: range) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for number in numbers:
        for label in json.loads((images_dir / f"{number}.json").read_text())["labels"]:
            bbox = [label[key] for key in ("x", "y", "width", "height")]
            category_id = CLASS_NAMES.index(label["class"]) + 1
            annotations.append({"image_id": number, "category_id": category_id, "bbox": bbox})
    return {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": SIZE_PX, "height": SIZE_PX} for n in numbers],
        "annotations": [{"id": i, **a, "area": a["bbox"][2] * a["bbox"][3]} for i, a in enumerate(annotations)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES, start=1)],
    }


def _write(path: Path, plain: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain))
    return path


@pytest.fixture(scope="module")
def coco_cache(tmp_path_factory: pytest.TempPathFactory) -> CocoCache:
    root = tmp_path_factory.mktemp("data")
    generate_plates(root / "images", 10, SIZE_PX, 0, None, (3, 8))
    for part, numbers in {"train": range(1, 9), "val": range(9, 11)}.items():
        _write(root / "cache" / "coco" / f"{part}.json", _coco(root / "images", numbers))
    _write(root / "cache" / "dataset.json", {"images_dir": str(root / "images"), "class_names": list(CLASS_NAMES)})
    return CocoCache(root / "cache")


@pytest.fixture
def bbox_report(tmp_path: Path) -> BboxReport:
    _write(tmp_path / "report" / "report.json", {"ok": True})
    return BboxReport(tmp_path / "report")


@pytest.fixture
def passed_smoke(tmp_path: Path) -> SmokeRun:
    _write(tmp_path / "smoke" / "smoke.json", {"ok": True})
    return SmokeRun(tmp_path / "smoke")


def small(*overrides: str) -> ExperimentConfig:
    limits = ["data.input_size=96", "data.batch_size=2", "trainer.max_steps=3", "trainer.accelerator=cpu"]
    return load_experiment("tiny_steps", [*limits, "trainer.log_every_n_steps=1", *overrides])


def _empty(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_smoke_run_proves_a_round_trip_and_leaves_three_files(
    tmp_path: Path, coco_cache: CocoCache, bbox_report: BboxReport
) -> None:
    out_dir = _empty(tmp_path, "out")
    smoke_run.build(small().smoke_run, out_dir, print, coco_cache, bbox_report)
    assert sorted(path.name for path in out_dir.iterdir()) == ["machine.json", "profile.json", "smoke.json"]
    smoke, profile = SmokeRun(out_dir).smoke(), SmokeRun(out_dir).profile()
    assert smoke["ok"]
    assert smoke["steps"] == 1
    assert smoke["checkpoint_round_trip"]
    assert smoke["class_names"] == list(CLASS_NAMES)
    assert all(np.isfinite(value) for value in profile["losses"].values())
    assert re.match(r"(data|compute)-bound: \d+% of a step waits for photos; .*\d", profile["verdict"])
    assert [line.split()[0] for line in profile["chart"]] == list(profile["measured"]["seconds"])
    assert profile["forecast"]["steps"] == 3, "of the training, not of the smoke step"
    assert profile["forecast"]["disk_bytes"] > 1e6
    assert profile["forecast"]["peak_memory_bytes"] > 1e8
    columns = read_coco(coco_cache.json_path("train"))
    of_all = say_choice(fit_config(small().smoke_run, columns), columns)
    assert smoke["data"] == of_all, "of all of train, not of the images of the step"
    assert of_all.startswith("photos scaled to 96 px: a colony is ")
    again = _empty(tmp_path, "again")  # of a longer training, for which the same smoke run stands
    smoke_run.build(small("trainer.max_steps=30").smoke_run, again, print, coco_cache, bbox_report)
    assert (again / "smoke.json").read_bytes() == (out_dir / "smoke.json").read_bytes()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_bf16_trains_with_either_optimizer_on_a_cpu_that_has_it(
    optimizer: str, tmp_path: Path, coco_cache: CocoCache, bbox_report: BboxReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agar_pipeline.detection.loading.devices.has_bf16", lambda: True)
    config = small(f"optimizer={optimizer}", "trainer.precision=bf16-mixed", "optimizer.clip_norm=1.0").smoke_run
    out_dir = _empty(tmp_path, "out")
    smoke_run.build(config, out_dir, print, coco_cache, bbox_report)
    assert SmokeRun(out_dir).profile()["precision"] == "bf16-mixed"


def test_smoke_run_obeys_the_bbox_report(tmp_path: Path, coco_cache: CocoCache) -> None:
    _write(tmp_path / "report.json", {"ok": False, "findings": {}})
    with pytest.raises(GateError, match="refuses"):
        smoke_run.build(small().smoke_run, tmp_path, print, coco_cache, BboxReport(tmp_path))


@pytest.fixture(scope="module")
def trained(coco_cache: CocoCache, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingRun, list[str]]:
    folder = tmp_path_factory.mktemp("trained") / "demo" / "training_run" / "0123"
    folder.mkdir(parents=True)
    smoke = SmokeRun(_write(folder.parent / "smoke.json", {"ok": True}).parent)
    lines: list[str] = []
    overrides = ["trainer.max_steps=8", "trainer.val_every_n_epochs=1", "model.score_floor=0"]
    training_run.build(small(*overrides).training_run, folder, lines.append, coco_cache, smoke)
    return TrainingRun(folder), lines


def test_training_run_leaves_its_files_and_reports(trained: tuple[TrainingRun, list[str]]) -> None:
    run, lines = trained
    found = sorted(str(path.relative_to(run.root)) for path in run.root.rglob("*") if path.is_file())
    assert found == sorted((*TrainingRun.files, "machine.json", "pictures.json")), (
        "the curves for the web UI are beside them"
    )
    metrics = run.metrics()
    assert {"step", "epoch", "train_loss", "lr", "val_map_50_95", "val_map_50"} <= set(metrics.columns)
    assert metrics["train_loss"].notna().sum() == 8
    assert metrics["val_map_50"].notna().sum() == 2
    assert run.experiment()["last"]["step"] == 8
    assert run.experiment()["config"]["data"]["input_size"] == 96
    assert any("loss" in line and "val map_50" in line for line in lines)
    for name in ("best", "last"):
        content = torch.load(run.root / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert content["class_names"] == list(CLASS_NAMES)


def test_evaluation_scores_the_best_checkpoint(
    tmp_path: Path, coco_cache: CocoCache, trained: tuple[TrainingRun, list[str]]
) -> None:
    config = ScoringConfig(accelerator="cpu", pictures=2)
    evaluation.build(config, tmp_path, print, coco_cache, trained[0])
    assert {*Evaluation.files, "machine.json", "pictures.json"} == {path.name for path in tmp_path.iterdir()}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    best = trained[0].experiment()["best"]["val"]
    assert metrics["map"] == pytest.approx(best["map_50_95"], abs=1e-6)
    assert metrics["score_threshold"]["chosen_on"] == "val"
    assert metrics["num_images"] == 2
    assert {"mae", "me", "smape", "within_10_percent", "per_density"} <= set(metrics["counting"])
    assert metrics["training"]["seed"] == 0
    predictions = json.loads((tmp_path / "predictions.json").read_text())
    assert len(predictions) == metrics["num_predictions"]
    with pytest.raises(ArtifactError, match=r"evaluation\.part=test"):
        evaluation.build(dataclasses.replace(config, part="test"), tmp_path, print, coco_cache, trained[0])


def test_a_training_says_how_good_its_model_is_and_why_it_has_no_score(
    tmp_path: Path, coco_cache: CocoCache, passed_smoke: SmokeRun
) -> None:
    _write(tmp_path / "cache" / "coco" / "train.json", json.loads(coco_cache.json_path("train").read_text()))
    nothing = json.loads(coco_cache.json_path("val").read_text()) | {"annotations": []}
    _write(tmp_path / "cache" / "coco" / "val.json", nothing)
    _write(tmp_path / "cache" / "dataset.json", coco_cache.dataset() | {"images_dir": str(coco_cache.images_dir)})
    lines: list[str] = []
    config = small("trainer.max_epochs=null", "trainer.max_steps=1").training_run
    training_run.build(config, tmp_path / "run", lines.append, CocoCache(tmp_path / "cache"), passed_smoke)
    trained = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert trained["best"]["reason"] == "no annotation"
    assert "val has no score: no annotation" in lines
    assert "annotate photos of the part val" in closing_lines(trained, "agar predict")[-1]
    trained["best"]["reason"] = "on 1 image the model reaches its limit of detections"
    said = "\n".join(closing_lines(trained, "agar predict"))
    assert "limit of detections\nnext: train it longer (1 step until now): raise trainer.max_seconds" in said
    assert "agar predict" not in said
    trained["best"]["val"] |= {"map_50": 0.9, "map_50_95": 0.6}
    assert closing_lines(trained, "agar predict")[-1] == "next: agar predict photos/ --out-dir counted"


def test_tiles_train_on_crops_and_are_judged_on_whole_plates(
    tmp_path: Path, coco_cache: CocoCache, passed_smoke: SmokeRun
) -> None:
    root = tmp_path / "demo" / "training_run" / "0123"
    root.mkdir(parents=True)
    lines: list[str] = []
    config = small("data.tiles={size: 64, overlap: 8}", "data.scale=null", "model.score_floor=0").training_run
    training_run.build(config, root, lines.append, coco_cache, passed_smoke)
    assert any("set data.tiles.overlap=" in line for line in lines), "the largest colony is larger than 4 px"
    run = TrainingRun(root)
    assert run.experiment()["model"]["input_size"] == 64
    assert run.experiment()["model"]["tile_overlap"] == 8
    scoring = ScoringConfig(accelerator="cpu", pictures=1)
    evaluation.build(scoring, tmp_path, print, coco_cache, run)
    best = run.experiment()["best"]["val"]["map_50_95"]
    assert json.loads((tmp_path / "metrics.json").read_text())["map"] == pytest.approx(best, abs=1e-6)
    everything = CountingConfig(threshold="fixed", fixed_threshold=0.001)
    evaluation.build(dataclasses.replace(scoring, counting=everything), tmp_path, print, coco_cache, run)
    predictions = pd.DataFrame(json.loads((tmp_path / "predictions.json").read_text()))
    far_ends = np.array([[x + w, y + h] for x, y, w, h in predictions["bbox"]])
    assert far_ends.max() > 80, "tiles of 64 px are put together to plates of 96"


def test_the_same_seed_trains_the_same_weights(tmp_path: Path, coco_cache: CocoCache, passed_smoke: SmokeRun) -> None:
    weights = []
    for name in ("one", "two"):
        training_run.build(small().training_run, _empty(tmp_path, name), print, coco_cache, passed_smoke)
        content = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        weights.append(content["state_dict"])
    assert all(torch.allclose(weights[0][key], weights[1][key], atol=1e-5) for key in weights[0])


def test_a_time_budget_ends_training(tmp_path: Path, coco_cache: CocoCache, passed_smoke: SmokeRun) -> None:
    config = small("trainer.max_steps=null", "trainer.max_seconds=4", "trainer.log_every_n_steps=1").training_run
    with threads_restored():
        torch.set_num_threads(many := count_cores() + 1)  # a number that the measurement of threads never chooses
        training_run.build(config, tmp_path, print, coco_cache, passed_smoke)
        assert torch.get_num_threads() == many, "else the next training in this process has other last bits"
    rates = pd.read_csv(tmp_path / "metrics.csv")["lr"].dropna().to_numpy()
    assert len(rates) > 3
    assert rates[-1] < rates.max() / 2
    assert json.loads((tmp_path / "experiment.json").read_text())["seconds"]["train"] < 8


def test_a_loss_that_is_not_finite_names_the_images(
    tmp_path: Path, coco_cache: CocoCache, passed_smoke: SmokeRun
) -> None:
    config = small("optimizer.lr=1e30", "optimizer.clip_norm=null", "trainer.max_steps=20").training_run
    with pytest.raises(TrainingError, match=r"\d\.jpg"):
        training_run.build(config, tmp_path, print, coco_cache, passed_smoke)


def test_val_without_boxes_still_leaves_a_best_checkpoint(
    tmp_path: Path, coco_cache: CocoCache, passed_smoke: SmokeRun
) -> None:
    train = json.loads(coco_cache.json_path("train").read_text())
    bare = {**json.loads(coco_cache.json_path("val").read_text()), "annotations": []}
    _write(tmp_path / "cache" / "coco" / "train.json", train)
    _write(tmp_path / "cache" / "coco" / "val.json", bare)
    _write(tmp_path / "cache" / "dataset.json", coco_cache.dataset())
    out_dir = _empty(tmp_path, "out")
    training_run.build(small().training_run, out_dir, print, CocoCache(tmp_path / "cache"), passed_smoke)
    assert TrainingRun(out_dir).best_checkpoint.is_file()
    _write(tmp_path / "cache" / "coco" / "train.json", bare)
    with pytest.raises(TrainingError, match="0 boxes"):
        training_run.build(small().training_run, out_dir, print, CocoCache(tmp_path / "cache"), passed_smoke)


def test_a_photo_of_another_size_stops_training(tmp_path: Path, coco_cache: CocoCache, passed_smoke: SmokeRun) -> None:
    train = json.loads(coco_cache.json_path("train").read_text())
    for image in train["images"]:
        image["width"] = 200
    _write(tmp_path / "cache" / "coco" / "train.json", train)
    _write(tmp_path / "cache" / "coco" / "val.json", json.loads(coco_cache.json_path("val").read_text()))
    _write(tmp_path / "cache" / "dataset.json", coco_cache.dataset())
    with pytest.raises(ImageFileError, match="200×96"):
        training_run.build(small().training_run, tmp_path, print, CocoCache(tmp_path / "cache"), passed_smoke)


def test_devices_that_were_not_started_are_refused(
    tmp_path: Path, coco_cache: CocoCache, passed_smoke: SmokeRun
) -> None:
    with pytest.raises(ComputeError, match="is 2"):
        training_run.build(small("trainer.devices=2").training_run, tmp_path, print, coco_cache, passed_smoke)


TWO_RANKS = """
import json, os, sys
from pathlib import Path
from agar_pipeline.artifacts import CocoCache, Evaluation, SmokeRun
from agar_pipeline.config import TrainingConfig, from_plain
from agar_pipeline.detection.training.lightning_module import DetectorModule
from agar_pipeline.steps import training_run

def note_images(self, batch, batch_index, step=DetectorModule.training_step):
    with open(f"{sys.argv[1]}.{os.environ['RANK']}", "a") as seen:
        print(self.progress.epoch, *(target["image_id"] for target in batch[1]), file=seen)
    return step(self, batch, batch_index)

DetectorModule.training_step = note_images
request = json.loads(Path(sys.argv[1]).read_text())
config = from_plain(TrainingConfig, request["config"], "request")
say = print if os.environ["RANK"] == "0" else (lambda text: None)
out_dir, cache, smoke = (Path(request[name]) for name in ("out_dir", "cache", "smoke"))
training_run.build(config, out_dir, say, CocoCache(cache), SmokeRun(smoke))
"""


def test_two_ranks_train_one_model_and_see_each_image_once_an_epoch(
    tmp_path: Path, coco_cache: CocoCache, passed_smoke: SmokeRun
) -> None:
    out_dir, seven = _empty(tmp_path, "out"), json.loads(coco_cache.json_path("train").read_text())
    seven["images"] = seven["images"][:7]
    image_ids = [image["id"] for image in seven["images"]]
    seven["annotations"] = [one for one in seven["annotations"] if one["image_id"] in image_ids]
    _write(tmp_path / "cache" / "coco" / "train.json", seven)
    _write(tmp_path / "cache" / "coco" / "val.json", json.loads(coco_cache.json_path("val").read_text()))
    _write(tmp_path / "cache" / "dataset.json", coco_cache.dataset())
    request = {
        "config": to_plain(small("trainer.devices=2", "data.batch_size=4", "trainer.max_steps=5").training_run),
        "out_dir": str(out_dir),
        "cache": str(tmp_path / "cache"),
        "smoke": str(passed_smoke.root),
    }
    (tmp_path / "ranks.py").write_text(TWO_RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(tmp_path / "ranks.py"), str(_write(tmp_path / "request.json", request))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    experiment = TrainingRun(out_dir).experiment()
    assert experiment["world_size"] == 2
    assert experiment["last"]["step"] == 5
    steps = [
        [[int(word) for word in line.split()] for line in (tmp_path / f"request.json.{rank}").read_text().splitlines()]
        for rank in range(2)
    ]
    assert [len(rank_steps) for rank_steps in steps] == [5, 5]
    for epoch, ids in enumerate([image_ids, image_ids]):
        seen = [image_id for rank_steps in steps for at, *of_step in rank_steps if at == epoch for image_id in of_step]
        assert sorted(seen) == ids, "each image once, though 7 divide neither by 4 nor by 2"
    assert sorted(str(p.relative_to(out_dir)) for p in out_dir.rglob("*") if p.is_file()) == sorted(
        (*TrainingRun.files, "machine.json", "pictures.json")
    )


def test_a_predictor_refuses_a_detector_that_is_elsewhere(coco_cache: CocoCache) -> None:
    """Lightning leaves a trained model on the CPU, whatever it was trained on."""
    detector = build_detector(make_spec(ModelConfig(), 3, 96, np.array([16.0]), 10))
    with pytest.raises(ComputeError, match="the detector is on cpu, but its images would go to cuda"):
        Predictor(detector, None, "cuda", "32-true")  # type: ignore[arg-type]


def states_of(*folders: Path) -> list[dict[str, torch.Tensor]]:
    return [torch.load(one / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for one in folders]


ON_TIMM = ("retinanet", "fasterrcnn")


def words_of(name: str, weights: Path, **changes: Any) -> list[str]:
    """The config's words of a small model with random weights; those of a DETR are saved in the folder."""
    if name in ON_TIMM:
        return [f"model.name={name}", "model.backbone=timm/test_resnet.r160_in1k", "model.smallest_anchor=32"]
    torch.manual_seed(0)
    save_small(name, weights, **changes)
    return [f"model.name={name}", f"model.weights={weights}"]


@pytest.fixture
def quick() -> Iterator[None]:
    with one_thread():
        yield


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", [*SMALL, *ON_TIMM])
def test_a_modern_detector_passes_smoke_and_resumes_bit_for_bit_in_tiles(
    name: str,
    tmp_path: Path,
    coco_cache: CocoCache,
    bbox_report: BboxReport,
    passed_smoke: SmokeRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [*words_of(name, tmp_path / "weights"), "data.tiles={size: 64, overlap: 8}"]
    floor = 0 if name in SMALL else 0.05  # of untrained heads all boxes would be above 0, and none has one above 0.05
    config = small(
        *words, "data.scale=null", "optimizer.ema_decay=0.9", f"model.score_floor={floor}", "trainer.max_steps=3"
    )
    smoke_run.build(config.smoke_run, _empty(tmp_path, "smoke_out"), print, coco_cache, bbox_report)
    assert SmokeRun(tmp_path / "smoke_out").smoke()["checkpoint_round_trip"]
    lines: list[str] = []
    whole, parts = _empty(tmp_path, "whole"), _empty(tmp_path, "parts")
    training_run.build(config.training_run, whole, lines.append, coco_cache, passed_smoke)
    assert any("tensors of the head start at random" in line for line in lines) == (name in SMALL), "its classes differ"
    step = DetectorModule.training_step

    def stop_after_two(self: DetectorModule, batch: Any, batch_index: int) -> Any:
        if self.progress.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_index)

    work_dir = tmp_path / "work"
    (coco_cache.root / "photos.parquet").write_bytes(b"part of what a resumed training must find unchanged")
    monkeypatch.setattr(DetectorModule, "training_step", stop_after_two)
    with pytest.raises(StoppedError, match="step 2"):
        training_run.build(config.training_run, parts, print, coco_cache, passed_smoke, work_dir)
    monkeypatch.undo()
    training_run.build(config.training_run, parts, print, coco_cache, passed_smoke, work_dir)
    one, two = states_of(whole, parts)
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", [*SMALL, *ON_TIMM])
def test_two_ranks_train_the_detector_that_one_trains(
    name: str, tmp_path: Path, coco_cache: CocoCache, passed_smoke: SmokeRun
) -> None:
    """Without random denoising queries."""
    words = [*words_of(name, tmp_path / "weights", num_denoising=0), "optimizer=sgd", "data.batch_size=4"]
    request = {
        "config": to_plain(small(*words, "trainer.devices=2").training_run),
        "out_dir": str(_empty(tmp_path, "pair")),
        "cache": str(coco_cache.root),
        "smoke": str(passed_smoke.root),
    }
    (tmp_path / "ranks.py").write_text(TWO_RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(tmp_path / "ranks.py"), str(_write(tmp_path / "request.json", request))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    alone = _empty(tmp_path, "alone")
    training_run.build(small(*words).training_run, alone, print, coco_cache, passed_smoke)
    one, two = states_of(alone, tmp_path / "pair")
    assert max(float((one[key].float() - two[key].float()).abs().max()) for key in one) < 1e-4
