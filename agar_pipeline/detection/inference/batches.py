"""From batches of images to detections in photo pixels, with limits that rise for images that reach them.

Here: a detector and batches. Not here: loading a checkpoint or a photo (`predict`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from agar_pipeline.coco.box_formats import model_xyxy_to_xywh
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import HIGHEST_FLOOR, Detections
from agar_pipeline.detection.loading.dataset import Batch
from agar_pipeline.detection.loading.devices import autocast, send
from agar_pipeline.detection.models.detector import Detector

CAP_FACTOR = 4
"""Factor by which a limit rises each time."""
MOST_DETECTIONS = 20_000
"""Maximum for one photo: more would take too much time and memory."""


def predict_batches(
    detector: Detector, batches: Iterable[Batch], category_ids: np.ndarray, accelerator: str, precision: str
) -> Detections:
    """Run a detector over batches.

    Args:
        detector: Already on its device; it is left in evaluation mode.
        batches: As `build_loader` yields them; of the targets only `image_id` and `size_wh` are read.
        category_ids: (K,) ascending; label l stands for `category_ids[l - 1]`.
        precision: As resolved for the accelerator.
    """
    return _predict(detector, batches, category_ids, accelerator, precision)[0]


@torch.inference_mode()
def _predict(
    detector: Detector,
    batches: Iterable[Batch],
    category_ids: np.ndarray,
    accelerator: str,
    precision: str,
    down_to: float = 0.0,
) -> tuple[Detections, dict[int, float]]:
    """Same as `predict_batches`; also returns which images may have lost detections to a limit.

    Returns:
        The detections; and id of an image → score up to which some of its detections may be missing, if that score is
        `down_to` or more.
    """
    detector.eval()
    device = next(detector.parameters()).device
    pieces, cut = [], {}
    for images, targets in batches:
        moved = [send(image, device) for image in images]
        with autocast(precision, accelerator):
            answers = _of_equal_shape(detector, moved)
        for image, target, answer in zip(images, targets, answers, strict=True):
            pieces.append(_to_photo(answer, target, image.shape[1:], category_ids))
            if answer["cut_at"] is not None and answer["cut_at"] >= down_to:
                cut[target["image_id"]] = float(answer["cut_at"])
    return Detections.concatenate(pieces), cut


def _of_equal_shape(detector: Detector, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Answers in the order of the images; the model gets images of one shape at a time.

    An image would be padded to the size of a larger one in the same batch, and its detections would depend on that.
    """
    answers: list[Any] = [None] * len(images)
    for shape in dict.fromkeys(image.shape for image in images):
        places = [place for place, image in enumerate(images) if image.shape == shape]
        for place, answer in zip(places, detector([images[place] for place in places]), strict=True):
            answers[place] = answer
    return answers


def predict_uncapped(
    detector: Detector,
    batches: Iterable[Batch],
    category_ids: np.ndarray,
    accelerator: str,
    precision: str,
    *,
    most: int,
    down_to: float = 0.0,
    highest_floor: float = HIGHEST_FLOOR,
) -> Detections:
    """Same as `predict_batches`, but images that reach a limit are predicted again with higher limits.

    The limits on detections and on candidates before NMS rise together, until no image reaches one. From the second
    rise on, detections with scores up to `highest_floor` are left out: a model that still reaches a limit then has
    learnt little, and the time of NMS grows with the square of its candidates. On 13 plates, after 111 steps,
    prediction takes 56 s in place of 184 s, and the mAP@50 is 0.071 in place of 0.073.

    Args:
        batches: Iterated again each time the limits rise; only the images at a limit are predicted, one at a time.
        most: Maximum for the limit on detections. A model that has learnt little reports too many colonies to find all
            in reasonable time and memory; `complete_from` of the result then says which scores are known.
        down_to: Score from which no detection may be lost.
        highest_floor: Score up to which detections may be left out on all images, if a model has learnt little.
    """
    cap, floor, left_out = detector.detections_per_image, detector.score_floor, 0.0
    detections, cut = _predict(detector, batches, category_ids, accelerator, precision, down_to)
    try:
        while cut and detector.detections_per_image < most:
            if detector.detections_per_image > cap and floor < highest_floor:
                left_out = highest_floor
            detector.set_limits(min(most, CAP_FACTOR * detector.detections_per_image), max(floor, left_out))
            done = detections.take(np.flatnonzero(~np.isin(detections.image_ids, list(cut))))
            again, cut = _predict(detector, _only(batches, cut), category_ids, accelerator, precision, down_to)
            detections = Detections.concatenate([done, again])
    finally:
        detector.set_limits(cap, floor)
    return dataclasses.replace(detections, complete_from=max(left_out, *cut.values(), 0.0)).without_incomplete()


def most_to_expect(detector: Detector, columns: CocoColumns) -> int:
    """Maximum number of detections to allow for an image if its ground truth is known.

    For a model whose candidates cost time, such as the proposals of Faster R-CNN, it is eight times the boxes of the
    fullest image or four times the model's own limit, whichever is more; for other models it is `MOST_DETECTIONS`.
    """
    if not detector.family.candidates_are_costly:
        return MOST_DETECTIONS
    fullest = int(np.diff(columns.rows_of_images()[1]).max(initial=0))
    return CAP_FACTOR * max(detector.detections_per_image, 2 * fullest)


def _only(batches: Iterable[Batch], image_ids: Collection[int]) -> Iterator[Batch]:
    for images, targets in batches:
        for image, target in zip(images, targets, strict=True):
            if target["image_id"] in image_ids:
                yield [image], [target]


def _to_photo(
    answer: dict[str, torch.Tensor], target: dict[str, Any], shape_hw: Sequence[int], category_ids: np.ndarray
) -> Detections:
    """One image's detections, converted from model pixels to photo pixels and clipped; degenerate ones are dropped."""
    boxes_xywh = model_xyxy_to_xywh(answer["boxes"].cpu().double().numpy(), target["size_wh"], shape_hw)
    detections = Detections(
        np.full(len(boxes_xywh), target["image_id"], dtype=np.int64),
        category_ids[answer["labels"].cpu().numpy() - 1],
        boxes_xywh,
        answer["scores"].cpu().double().numpy(),
    )
    return detections.take(np.flatnonzero((boxes_xywh[:, 2:] > 0).all(axis=1)))
