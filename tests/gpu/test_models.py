"""Each model in each precision: the smoke step, a training and an evaluation; and the same answers on card and CPU.

The tests of one model share its trainings, so they run in one process.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agar_pipeline.errors import TrainingError
from tests.gpu.conftest import ACCELERATOR, MODELS, PRECISIONS, REHEARSAL, SECONDS, Lab

SAME_MAP = 0.005
HALF_PX = 0.5

each_model = pytest.mark.parametrize("model", [pytest.param(m, marks=pytest.mark.xdist_group(m)) for m in MODELS])


@each_model
@pytest.mark.parametrize("precision", PRECISIONS)
def test_smoke_training_and_evaluation(lab: Lab, measured: dict[str, Any], model: str, precision: str) -> None:
    root = lab.train(model, precision)
    lab.checkpoints[model, precision] = checkpoint = root / "checkpoints" / "best.ckpt"
    run, losses = json.loads((root / "experiment.json").read_text()), losses_of(root / "metrics.csv")
    assert run["accelerator"] == ACCELERATOR
    assert REHEARSAL or run["precision"] == precision
    assert all(math.isfinite(loss) for loss in losses)
    assert len(losses) < 20 or np.mean(losses[-5:]) < np.mean(losses[:5]), f"nothing was learnt: {losses}"
    scores = lab.evaluate(checkpoint, f"scores-{model}-{precision}")
    assert scores["map"] == pytest.approx(run["best"]["val"]["map_50_95"], abs=SAME_MAP), "val said otherwise"
    if model == "tiny" and SECONDS >= 30:
        assert scores["map_50"] > 0.8
    measured |= {
        "model": model, "precision": run["precision"], "steps": run["last"]["step"], "seconds": run["seconds"]["train"],
        "images_per_s": round(4 * run["last"]["step"] / run["seconds"]["train"], 1),
        "map_50": scores["map_50"], "map": scores["map"], "loss": [losses[0], losses[-1]],
    }  # fmt: skip


def losses_of(path: Path) -> list[float]:
    import pandas as pd

    return [float(value) for value in pd.read_csv(path)["train_loss"].dropna()]


@each_model
def test_scores_on_the_card_are_those_of_the_cpu(lab: Lab, measured: dict[str, Any], model: str) -> None:
    checkpoint = lab.checkpoint(model)
    there = lab.evaluate(checkpoint, f"card-{model}")
    here = lab.evaluate(checkpoint, f"cpu-{model}", "cpu")
    measured |= {"model": model, "map_card": there["map"], "map_cpu": here["map"]}
    assert there["map"] == pytest.approx(here["map"], abs=SAME_MAP)
    assert there["map_50"] == pytest.approx(here["map_50"], abs=SAME_MAP)


@each_model
def test_boxes_in_mixed_precision_are_those_of_float32(lab: Lab, measured: dict[str, Any], model: str) -> None:
    checkpoint = lab.checkpoint(model)
    exact = boxes_of(lab, checkpoint, "32-true")
    for precision in PRECISIONS[1:]:
        shift = np.concatenate(
            [shifts(*pair) for pair in zip(exact, boxes_of(lab, checkpoint, precision), strict=True)]
        )
        if not len(shift) and REHEARSAL:
            pytest.skip(f"{model} detects nothing yet after {SECONDS:g} s")
        assert len(shift), f"no detection of {model} was found in both precisions"
        measured |= {"model": model, f"px_{precision}": float(shift.max()), f"median_px_{precision}": np.median(shift)}
        assert shift.max() <= HALF_PX, f"{precision}: {np.sort(shift)[-5:]} px, median {np.median(shift):.3f}"


Found = dict[str, np.ndarray]


def boxes_of(lab: Lab, checkpoint: Path, precision: str) -> list[Found]:
    """The hundred surest detections of each val image in a precision; (N, 4) xyxy in pixels, (N,) labels and scores."""
    import torch
    from PIL import Image

    from agar_pipeline.detection.loading.devices import autocast
    from agar_pipeline.detection.models.checkpoint import load_checkpoint

    detector, _ = load_checkpoint(checkpoint)
    detector = detector.to(ACCELERATOR).eval()
    found = []
    for name in [image["file_name"] for image in json.loads(lab.val_json.read_text())["images"]]:
        pixels = torch.from_numpy(np.asarray(Image.open(lab.images / name).convert("RGB")).copy()).permute(2, 0, 1)
        with torch.inference_mode(), autocast(precision, ACCELERATOR):
            (answer,) = detector([pixels.to(ACCELERATOR)])
        order = answer["scores"].float().cpu().numpy().argsort()[::-1][:100]
        found.append({key: answer[key].float().cpu().numpy()[order] for key in ("boxes", "labels", "scores")})
    return found


def shifts(exact: Found, mixed: Found) -> np.ndarray:
    """How far the sides of boxes that both found lie apart, pixels; their nearest counterparts of the same class."""
    if not len(exact["boxes"]) or not len(mixed["boxes"]):
        return np.zeros(0)
    apart = np.abs(exact["boxes"][:, None] - mixed["boxes"][None]).max(2)
    apart[exact["labels"][:, None] != mixed["labels"][None]] = np.inf
    nearest = apart.min(1)
    sides = (exact["boxes"][:, 2:] - exact["boxes"][:, :2]).min(1)
    return nearest[(nearest < sides / 4) & (exact["scores"] >= np.median(exact["scores"]))]


@each_model
def test_the_exported_model_finds_the_same(lab: Lab, measured: dict[str, Any], model: str) -> None:
    """`export_model` itself refuses a file that answers otherwise than the checkpoint on a CPU; then both count."""
    from agar_pipeline.detection.inference.export_onnx import export_model
    from agar_pipeline.detection.inference.onnx_model import OnnxModel
    from agar_pipeline.detection.inference.photo_folder import PhotoCount, count_photos
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.detection.models.families import family_of

    if REHEARSAL:
        pytest.skip(f"{model} detects nothing yet after {SECONDS:g} s")
    if reason := family_of(model.partition(" on ")[0]).why_not_exported():
        pytest.skip(reason)
    checkpoint, onnx = lab.checkpoint(model), lab.folder / f"{model}.onnx"
    photos = [lab.images / image["file_name"] for image in json.loads(lab.val_json.read_text())["images"][:2]]
    export_model(checkpoint, onnx, photos[:1], print)
    counts = []
    for counter in (Predictor.load(checkpoint, ACCELERATOR), OnnxModel.load(onnx)):
        answers = list(count_photos(counter, photos, counter.calibration))
        counts.append(sum(len(answer.detections.scores) for answer in answers if isinstance(answer, PhotoCount)))
    measured |= {"model": model, "count_card": counts[0], "count_onnx": counts[1]}
    assert abs(counts[0] - counts[1]) <= max(1, 0.01 * counts[0])


@each_model
def test_the_first_validation_of_a_new_head_fits_into_memory(lab: Lab, measured: dict[str, Any], model: str) -> None:
    """Two steps: its scores tell nothing yet, and candidates are many. A common card has 12 GB."""
    with at_most_gigabytes(11) as peak_gb:
        root = lab.train(model, "32-true", "trainer.max_steps=2", "trainer.max_seconds=null", "seed=4")
        run = json.loads((root / "experiment.json").read_text())
        measured |= {"model": model, "first_val_s": run["seconds"]["validation"], "peak_gb": peak_gb()}


@each_model
def test_too_large_a_batch_is_met_by_one_that_fits(lab: Lab, measured: dict[str, Any], model: str) -> None:
    """The card is given 4 GB; each refusal names a smaller batch or side, until one fits."""
    if REHEARSAL:
        pytest.skip("a CPU's memory is not filled for this")
    batch, tried = 64, []
    with at_most_gigabytes(2 if model.startswith(("tiny", "ssdlite")) else 8):
        while refusal := refusal_of(lab, model, batch):
            assert f"memory ran out at data.batch_size={batch}" in refusal
            advice = re.search(r"data\.batch_size=(\d+) or data\.input_size", refusal)
            assert advice, refusal
            tried.append(batch)
            batch = int(advice[1])
    measured |= {"model": model, "too_large": tried, "fits": batch}
    assert tried, "64 plates fitted: nothing was shown"


def refusal_of(lab: Lab, model: str, batch: int) -> str | None:
    """Why two steps with such batches cannot be trained."""
    words = ("trainer.max_steps=2", "trainer.max_seconds=null", f"data.batch_size={batch}")
    try:
        lab.train(model, "32-true", *words)
    except TrainingError as error:
        return str(error)
    return None


@contextlib.contextmanager
def at_most_gigabytes(gigabytes: float) -> Iterator[Callable[[], float | None]]:
    """As if the card had so much; yields what tells the most that was held."""
    if REHEARSAL:
        yield lambda: None
        return
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_per_process_memory_fraction(gigabytes * 2**30 / torch.cuda.get_device_properties(0).total_memory)
    try:
        yield lambda: round(torch.cuda.max_memory_reserved() / 2**30, 2)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
