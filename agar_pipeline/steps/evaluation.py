"""What a model, or a file of predictions, is worth on a COCO file: scores, predictions and a page of pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agar_pipeline.artifacts import CocoCache, TrainingRun
from agar_pipeline.config import EvaluationConfig
from agar_pipeline.errors import ArtifactError, TrainingError

if TYPE_CHECKING:
    from agar_pipeline.detection.coco import CocoColumns
    from agar_pipeline.detection.detections import Detections


def build(
    config: EvaluationConfig,
    out_dir: Path,
    log: Callable[[str], None],
    coco_cache: CocoCache,
    training_run: TrainingRun,
) -> None:
    """Write `metrics.json`, `predictions.json` and `report.html` for the best checkpoint.

    Raises:
        ArtifactError: the COCO cache has no such part.
        PipelineError: what images and checkpoints are refused for.
    """
    if config.part not in coco_cache.parts():
        raise ArtifactError(
            f"evaluation.part={config.part}, but {coco_cache.root} has {', '.join(coco_cache.parts())}: "
            "add a share for it to split.fractions"
        )
    title = f"{training_run.root.parent.parent.name} on {config.part}"
    evaluate_checkpoint(
        training_run.best_checkpoint,
        coco_cache.json_path(config.part),
        coco_cache.images_dir,
        out_dir,
        log,
        accelerator=config.accelerator,
        num_workers=config.num_workers,
        pictures=config.pictures,
        title=title,
    )


def evaluate_checkpoint(
    checkpoint: Path,
    coco_json: Path,
    images_dir: Path,
    out_dir: Path,
    log: Callable[[str], None],
    *,
    accelerator: str = "auto",
    num_workers: int | None = None,
    pictures: int = 12,
    title: str | None = None,
) -> dict[str, Any]:
    """Predict a COCO file's images and write the three files; returns the metrics.

    Raises:
        TrainingError: the model's classes are not those of the COCO file.
    """
    from agar_pipeline.detection.coco import read_coco
    from agar_pipeline.detection.predict import Predictor

    columns = read_coco(coco_json)
    predictor = Predictor.load(checkpoint, accelerator)
    unknown = sorted(set(predictor.facts.category_ids) - set(columns.category_ids.tolist()))
    if unknown:
        raise TrainingError(f"{checkpoint} knows the category ids {unknown}, {coco_json} does not: give its own data")
    detections = predictor.predict(columns, images_dir, num_workers, log)
    threshold = predictor.facts.score_threshold
    return write_evaluation(
        columns,
        detections,
        images_dir,
        out_dir,
        score_threshold=None if threshold is None else {"value": threshold, "chosen_on": "val"},
        pictures=pictures,
        title=title or f"{checkpoint.name} on {coco_json.stem}",
        log=log,
    )


def write_evaluation(
    columns: CocoColumns,
    detections: Detections,
    images_dir: Path,
    out_dir: Path,
    *,
    score_threshold: dict[str, Any] | None,
    pictures: int,
    title: str,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Write the three files for any detections; returns the metrics.

    Args:
        columns: The truth.
        detections: Of its images.
        images_dir: For the pictures.
        out_dir: Receives the files.
        score_threshold: `value` and `chosen_on`; None: chosen here, on these very images.
        pictures: Plates drawn.
        title: Of the page.
        log: Told the main figures.
    """
    from agar_pipeline.detection.counting import choose_score_threshold, counting_metrics
    from agar_pipeline.detection.metrics import coco_metrics
    from agar_pipeline.reports.evaluation_page import write_evaluation_page

    scores = coco_metrics(columns, detections)
    chosen = score_threshold or {"value": choose_score_threshold(columns, detections), "chosen_on": "these images"}
    counting = counting_metrics(columns, detections, chosen["value"])
    reasons = scores.pop("reasons")
    metrics = {
        **scores,
        "num_images": len(columns.image_ids),
        "num_annotations": int((~columns.iscrowd).sum()),
        "num_predictions": len(detections),
        "counting": counting,
        "score_threshold": chosen,
        "reasons": reasons,
    }
    predictions = detections.to_coco()
    (out_dir / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False))
    (out_dir / "predictions.json").write_text(json.dumps(predictions))
    write_evaluation_page(
        out_dir / "report.html", metrics, columns, predictions, images_dir, title, pictures, chosen["value"]
    )
    shown = "undefined" if metrics["map_50"] is None else f"{metrics['map_50']:.3f}"
    log(f"map_50 {shown} · {len(predictions)} predictions on {len(columns.image_ids)} images")
    return metrics
