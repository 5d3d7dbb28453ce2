"""Checks that a model predicts the same after it was saved to a checkpoint and loaded again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agar_pipeline.errors import TrainingError
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    from agar_pipeline.coco.columns import CocoColumns
    from agar_pipeline.coco.detections import Detections
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.detection.training.train import TrainingOutcome

COMPARED_BOXES = 20
"""Number of best-scored boxes that are compared on a device whose results may differ in the last bits."""


def check_round_trip(
    outcome: TrainingOutcome, scratch: Path, few: CocoColumns, images_dir: Path, lr: float
) -> tuple[dict[str, Any], float]:
    """Check that the model predicts the same after it was saved to a checkpoint and loaded again.

    Returns:
        The metrics of the loaded model, and the seconds that one prediction of the images took.
    """
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.scoring.average_precision import coco_metrics

    detector = outcome.detector.to(outcome.accelerator)  # Lightning's teardown moves it to the CPU
    before = Predictor(detector, outcome.last, outcome.accelerator, outcome.precision)
    after = Predictor.load(scratch / "checkpoints" / "last.ckpt", outcome.accelerator)
    for predictor in (before, after):  # with a score floor of 0 even a model after one step has detections to compare
        predictor.detector.set_limits(outcome.spec.detections_per_image, score_floor=0.0)
    seen = before.predict(few, images_dir, num_workers=0, cap_may_rise=False)
    started_at = time.monotonic()
    seen_again = after.predict(few, images_dir, num_workers=0, cap_may_rise=False)
    look_s = time.monotonic() - started_at
    if not len(seen):
        raise TrainingError(
            "the model finds nothing at all after its first step, not even with a score of 0: "
            "the step changed the weights too much",
            next_step=f"lower optimizer.lr (now {lr:g})",
        )
    changed = find_changed_tensors(before.detector.state_dict(), after.detector.state_dict())
    alike = not changed and are_alike(seen, seen_again, exactly=outcome.accelerator == "cpu")
    if not changed and not alike and outcome.accelerator != "cpu":
        alike = are_alike(*(_look_on_cpu(predictor, few, images_dir) for predictor in (before, after)), exactly=True)
    if not alike:
        differ = plural(len(changed), "tensor differs", "tensors differ")
        what = f"{differ}, {changed[0]} first" if changed else "though all tensors are equal"
        raise TrainingError(
            f"the checkpoint predicts {plural(len(seen_again), 'box', 'boxes')}, and the model that it was saved from "
            f"{len(seen)}; they must be the same ({what})",
            next_step="report this bug, with the config of the experiment",
        )
    return coco_metrics(few, seen_again), look_s


def find_changed_tensors(saved: Mapping[str, Any], loaded: Mapping[str, Any]) -> list[str]:
    names = sorted({*saved, *loaded})
    return [n for n in names if n not in saved or n not in loaded or not saved[n].cpu().equal(loaded[n].cpu())]


def _look_on_cpu(predictor: Predictor, few: CocoColumns, images_dir: Path) -> Detections:
    """Predict one image in float32 on the CPU, where equal weights give equal bits.

    It decides if two predictions on a GPU differ: after one step all scores are nearly equal, and their last bits
    choose among thousands of candidates.
    """
    there = replace(predictor, detector=predictor.detector.cpu(), accelerator="cpu", precision="32-true")
    found = there.predict(few.take_images(few.image_ids[:1]), images_dir, num_workers=0, cap_may_rise=False)
    predictor.detector.to(predictor.accelerator)
    return found


def are_alike(seen: Detections, seen_again: Detections, *, exactly: bool) -> bool:
    """Return whether two predictions of the same images agree.

    A GPU chooses its kernels anew each time, and a score that changes in its last bit may change which of two boxes
    NMS keeps. So unless `exactly`, the `COMPARED_BOXES` best boxes must be found again within 0.5 pixels, and the
    numbers of boxes may differ by 2 %.
    """
    import numpy as np

    if exactly:
        return len(seen) == len(seen_again) and np.allclose(seen.boxes_xywh, seen_again.boxes_xywh, atol=0.01)
    best = np.argsort(-seen.scores, kind="stable")[:COMPARED_BOXES]
    for image_id, box in zip(seen.image_ids[best], seen.boxes_xywh[best], strict=True):
        others = seen_again.boxes_xywh[seen_again.image_ids == image_id]
        if not len(others) or np.abs(others - box).max(axis=1).min() > 0.5:
            return False
    return abs(len(seen) - len(seen_again)) <= 0.02 * max(len(seen), len(seen_again))
