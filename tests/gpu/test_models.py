"""Each model in each precision: the smoke step, a training and an evaluation; and the same answers on card and CPU.

The tests of one model share its trainings, so they run in one process.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gpu.conftest import ACCELERATOR, MODELS, PRECISIONS, REHEARSAL, SECONDS, Lab

SAME_MAP = 0.005
HALF_PX = 0.5

each_model = pytest.mark.parametrize("model", [pytest.param(m, marks=pytest.mark.xdist_group(m)) for m in MODELS])


@each_model
@pytest.mark.parametrize("precision", PRECISIONS)
def test_smoke_training_and_evaluation(lab: Lab, measured: dict[str, Any], model: str, precision: str) -> None:
    built, said = lab.train(model, precision)
    lab.checkpoints[model, precision] = Path(built["checkpoint"])
    run = json.loads((Path(built["path"]) / "experiment.json").read_text())
    losses = losses_of(Path(built["path"]) / "metrics.csv")
    assert run["accelerator"] == ACCELERATOR, said
    assert REHEARSAL or run["precision"] == precision
    assert all(math.isfinite(loss) for loss in losses)
    assert len(losses) < 20 or np.mean(losses[-5:]) < np.mean(losses[:5]), f"nothing was learnt: {losses}"
    scores = lab.evaluate(Path(built["checkpoint"]), f"scores-{model}-{precision}")
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

    from agar_pipeline.detection.checkpoint import load_checkpoint
    from agar_pipeline.detection.devices import autocast

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
    """`agar export-model` itself refuses a file that answers otherwise than the checkpoint; then both count."""
    checkpoint, onnx = lab.checkpoint(model), lab.folder / f"{model}.onnx"
    photos = [str(lab.images / image["file_name"]) for image in json.loads(lab.val_json.read_text())["images"][:2]]
    lab.must("export-model", "--checkpoint", str(checkpoint), "--out", str(onnx), "--images-dir", str(lab.images))
    by_card = lab.must("predict", "--checkpoint", str(checkpoint), "--accelerator", ACCELERATOR, "--json", *photos)
    by_onnx = lab.must("predict", "--model", str(onnx), "--json", *photos)
    counts = [len(json.loads(done.stdout)["annotations"]) for done in (by_card, by_onnx)]
    measured |= {"model": model, "count_card": counts[0], "count_onnx": counts[1]}
    assert abs(counts[0] - counts[1]) <= max(1, 0.01 * counts[0])
