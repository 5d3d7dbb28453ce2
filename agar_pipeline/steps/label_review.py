"""label_review: ranks the labels of all parts that are probably wrong, and cross-validates the training.

Each image is predicted by a model that was not trained on it: val and test by the experiment's own best checkpoint,
train by one model for each fold, trained on the other folds. Here: training the folds, predicting, writing.
Not here: which photos are in a fold (`splitting.folds`), suspects (`review`), figures (`scoring.cross_validation`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.artifacts import CocoCache, Evaluation, Snapshot, Split, TrainingRun
from agar_pipeline.artifacts.former_folds import find_former_folds
from agar_pipeline.coco.columns import CocoColumns, read_coco
from agar_pipeline.coco.detections import Detections, read_detections
from agar_pipeline.config import CountingConfig, LabelReviewConfig, fingerprinted
from agar_pipeline.counting.calibration import calibrate
from agar_pipeline.counting.dish import Circle
from agar_pipeline.counting.photo_study import PhotoStudy, study_photos
from agar_pipeline.counting.region import Region, area_of, find_circles
from agar_pipeline.detection.inference.predict import Predictor
from agar_pipeline.files.disk import link_or_copy, remove
from agar_pipeline.processes.rank import World
from agar_pipeline.progress import Log
from agar_pipeline.reports.review_files import ReviewedPart, write_review
from agar_pipeline.review.overlaps import find_overlaps
from agar_pipeline.scoring.counting import count_per_image
from agar_pipeline.scoring.cross_validation import cross_validate
from agar_pipeline.scoring.suppression import suppress_across_classes
from agar_pipeline.scoring.usefulness import explain_uselessness
from agar_pipeline.splitting.folds import assign_folds
from agar_pipeline.step_code.machine import record_machine
from agar_pipeline.text.plurals import plural


def build(
    config: LabelReviewConfig,
    out_dir: Path,
    log: Log,
    snapshot: Snapshot,
    split: Split,
    coco_cache: CocoCache,
    training_run: TrainingRun,
    evaluation: Evaluation,
    work_dir: Path,
    earlier: Sequence[Path] = (),
) -> None:
    """Write the suspects with their page, the predictions, the models of the folds, and `cross_validation.json`.

    Under torchrun every rank calls this function, and only rank 0 predicts and writes. A fold that is trained is kept
    in `work_dir`, and a fold that was interrupted continues from its resume point.

    Args:
        earlier: Folders of former reviews; models of folds that would be trained in the same way are linked to.

    Raises:
        DatasetError: train has too few photos for two folds.
        PipelineError: any error of training or prediction.
    """
    train = read_coco(coco_cache.json_path("train"))
    folds = assign_folds(train, snapshot.image_ids(), split.duplicates(), config.group_by, config.folds, config.seed)
    if (many := int(folds.max()) + 1) < config.folds:
        log(f"note: {many} folds instead of {config.folds}: there are only {many} groups of photos")
    trained = work_dir / "folds"
    if former := find_former_folds(earlier, config, coco_cache, folds, train.image_ids):
        log(f"the {many} folds were trained in this way for an earlier review, whose models are used")
        trained = former.root / "folds"
    for fold in range(many if former is None else 0):
        _train_fold(config, train, folds, fold, coco_cache, trained, log)
    if not World.from_environment().is_first:
        return
    (out_dir / "folds").mkdir()
    for fold in range(many):
        link_or_copy(trained / f"{fold}.ckpt", out_dir / "folds" / f"{fold}.ckpt")
    detections = _predict_folds(config, train, folds, coco_cache.images_dir, out_dir / "folds", log)
    study = study_photos(config.counting, read_coco(coco_cache.json_path("val")), None, coco_cache.images_dir, log)
    circles = {"train": find_circles(study.region, train, coco_cache.images_dir, log), "val": study.circles}
    counts = _count(config.counting, train, detections, folds, replace(study, circles=circles["train"]))
    parts = [ReviewedPart("train", train, detections)]
    parts += _predict_own(config, coco_cache, training_run, evaluation, log)
    scores = {"part": "train", "seed": config.seed, **cross_validate(train, detections, folds, counts)}
    scores["warning"] = _warn(scores, int(counts[0].sum()), training_run, log)
    (out_dir / "cross_validation.json").write_text(json.dumps(scores, indent=2, allow_nan=False))
    _write_folds(out_dir / "folds.parquet", train, folds)
    together = Detections.concatenate([part.detections for part in parts])
    (out_dir / "predictions.json").write_text(json.dumps(together.to_coco()))
    title = f"Suspect labels, by {training_run.root.parent.parent.name}"
    inside = [_drop_outside_dish(study.region, part, circles.get(part.name), coco_cache, log) for part in parts]
    write_review(
        inside, coco_cache.images_dir, out_dir, pictures=config.pictures, title=title, log=log, cross_validation=scores
    )


def _warn(scores: Mapping[str, Any], found: int, training_run: TrainingRun, log: Log) -> str | None:
    """Why the number of wrong labels is not reliable, or None; `found`: number of colonies that were counted."""
    lesson = training_run.experiment().get("lesson")
    warning = explain_uselessness(scores["map_50"]["value"], found, lesson) or scores["reasons"].get("map_50")
    if warning:
        log(f"models and labels disagree too much to say how many labels are wrong: {warning}")
    return warning


def _train_fold(
    config: LabelReviewConfig,
    train_columns: CocoColumns,
    folds: np.ndarray,
    fold: int,
    coco_cache: CocoCache,
    work: Path,
    log: Log,
) -> None:
    """Train a model on all folds but one; its best checkpoint becomes `<fold>.ckpt` in `work`.

    The experiment's own checkpoint is no start for it: that has learnt the photos of this fold. Val chooses the best
    weights, as in a full training.
    """
    from agar_pipeline.detection.fitting.model_fitting import fit_config
    from agar_pipeline.detection.training.resume import ResumePoints
    from agar_pipeline.detection.training.train import train

    done, folder, title = work / f"{fold}.ckpt", work / str(fold), f"fold {fold + 1} of {folds.max() + 1}"
    if done.exists():
        log(f"{title} was trained before the interruption")
        return
    others = np.flatnonzero(folds != fold)
    log(f"{title}: training on {plural(len(others), 'photo')}, to predict {len(folds) - len(others)}")
    folder.mkdir(parents=True, exist_ok=True)
    points = ResumePoints(folder, {"config": fingerprinted(config), "fold": fold})
    settled, val_columns = fit_config(config, train_columns), read_coco(coco_cache.json_path("val"))
    own = train_columns.take_images(others)
    train(settled, own, val_columns, coco_cache.images_dir, folder, log, all_columns=train_columns, points=points)
    if World.from_environment().is_first:
        (folder / "checkpoints" / "best.ckpt").replace(done)
        remove(folder)


def _predict_folds(
    config: LabelReviewConfig, columns: CocoColumns, folds: np.ndarray, images_dir: Path, checkpoints: Path, log: Log
) -> Detections:
    """Return the detections on all photos of train, each by the model of its fold."""
    predictors = [
        Predictor.load(checkpoints / f"{fold}.ckpt", config.trainer.accelerator) for fold in range(int(folds.max()) + 1)
    ]
    parts = [columns.take_images(np.flatnonzero(folds == fold)) for fold in range(len(predictors))]
    found = Detections.concatenate(
        [
            predictor.predict(part, images_dir, config.data.num_workers, log)
            for predictor, part in zip(predictors, parts, strict=True)
        ]
    )
    record_machine(checkpoints.parent, predictors[0].accelerator, predictors[0].precision, config.model)
    return found


def _count(
    counting: CountingConfig, columns: CocoColumns, detections: Detections, folds: np.ndarray, study: PhotoStudy
) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted and the annotated colonies of each photo, both (N,).

    They are counted as the pipeline says; `study` has the circles of these photos. The score threshold of a fold is
    chosen on the photos of the other folds, and the place where colonies count on val, as in the evaluation.
    """
    colonies = suppress_across_classes(detections)
    predicted, truth = np.zeros(len(folds), np.int64), np.zeros(len(folds), np.int64)

    def take(mine: np.ndarray) -> tuple[CocoColumns, Detections, list[Circle | None]]:
        part = columns.take_images(np.flatnonzero(mine))
        own = colonies.take(np.flatnonzero(np.isin(colonies.image_ids, part.image_ids)))
        return part, own, [circle for circle, is_mine in zip(study.circles, mine, strict=True) if is_mine]

    for fold in range(int(folds.max()) + 1):
        others, found, places = take(folds != fold)
        calibration = calibrate(counting, others, found, "the other folds", replace(study, circles=places))
        held_out, found, places = take(folds == fold)
        rule = calibration.rule.within(area_of(places, held_out))
        counted = rule.colonies(rule.keep(found, held_out.names), held_out.names)
        predicted[folds == fold], truth[folds == fold] = count_per_image(rule.annotated(held_out), counted)
    return predicted, truth


def _drop_outside_dish(
    region: Region, part: ReviewedPart, circles: list[Circle | None] | None, coco_cache: CocoCache, log: Log
) -> ReviewedPart:
    """A part without the detections that are outside the dish and touch no annotation: they are no missed colonies.

    `circles`: those of the part's photos, if they are known already.
    """
    columns, found = part.columns, part.detections
    if circles is None:
        circles = find_circles(region, columns, coco_cache.images_dir, log)
    boxes, images = columns.boxes_xywh, columns.annotation_image_ids
    is_kept = area_of(circles, columns).holds(found.image_ids, found.boxes_xywh)
    is_kept[find_overlaps(boxes, images, found.boxes_xywh, found.image_ids).second] = True
    return replace(part, detections=found.take(np.flatnonzero(is_kept)))


def _predict_own(
    config: LabelReviewConfig, coco_cache: CocoCache, training_run: TrainingRun, evaluation: Evaluation, log: Log
) -> list[ReviewedPart]:
    """Val and test with the detections of the experiment's own model; those of the evaluation are used again."""
    scored, parts = evaluation.metrics()["part"], []
    for name in [name for name in coco_cache.parts() if name != "train"]:
        columns = read_coco(coco_cache.json_path(name))
        if name == scored:
            detections = read_detections(evaluation.root / "predictions.json")
        else:
            predictor = Predictor.load(training_run.best_checkpoint, config.trainer.accelerator)
            detections = predictor.predict(columns, coco_cache.images_dir, config.data.num_workers, log)
        parts.append(ReviewedPart(name, columns, detections))
    return parts


def _write_folds(path: Path, columns: CocoColumns, folds: np.ndarray) -> None:
    import pandas as pd

    pd.DataFrame({"image_id": columns.image_ids, "fold": folds}).to_parquet(path, index=False)
