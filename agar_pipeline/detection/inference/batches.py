"""From batches of images to detections in pixels of the photo, with caps that rise where an image reaches one.

Here: a detector and batches. Not here: loading a checkpoint or a photo (`predict`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.detection.loading.dataset import Batch
from agar_pipeline.detection.loading.devices import autocast, send
from agar_pipeline.detection.models.detector import Detector

CAP_FACTOR = 4
"""By which a cap rises at a time."""
MOST_DETECTIONS = 20_000
"""Of one photo: beyond it there is neither time nor memory."""


def predict_batches(
    detector: Detector, batches: Iterable[Batch], category_ids: np.ndarray, accelerator: str, precision: str
) -> Detections:
    """Run a detector over batches.

    Args:
        detector: On the device already; left in evaluation mode.
        batches: As `build_loader` yields them; of the targets only `image_id` and `size_wh` are read.
        category_ids: (K,) ascending; label l stands for `category_ids[l - 1]`.
        accelerator: Where the detector is.
        precision: As resolved for it.
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
) -> tuple[Detections, set[int]]:
    """As `predict_batches`; also the ids of the images that may have lost some, from a score of `down_to` on, to one of
    the model's caps."""
    detector.eval()
    device = next(detector.parameters()).device
    pieces, capped = [], set()
    for images, targets in batches:
        moved = [send(image, device) for image in images]
        with autocast(precision, accelerator):
            answers = _of_equal_shape(detector, moved)
        for image, target, answer in zip(images, targets, answers, strict=True):
            pieces.append(_to_photo(answer, target, (image.shape[2], image.shape[1]), category_ids))
            if answer["cut_at"] is not None and answer["cut_at"] >= down_to:
                capped.add(target["image_id"])
    return Detections.concatenate(pieces), capped


def _of_equal_shape(detector: Detector, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Answers in the order of the images, which meet the model with those of their own shape only.

    Among larger ones an image is padded, and its detections would depend on its neighbours in the batch.
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
) -> Detections:
    """As `predict_batches`, but the model's caps, on detections and on candidates before NMS, rise together until no
    image reaches one, for those images alone.

    Args:
        batches: Gone through again, for the images at a cap only and one at a time, each time they rise.
        most: Detections up to which they may rise. A model that has learnt little sees colonies all over the place, for
            which there is neither time nor memory: such images are then `cut`.
        down_to: Score from which all detections are asked for.
    """
    cap = detector.detections_per_image
    detections, cut = _predict(detector, batches, category_ids, accelerator, precision, down_to)
    try:
        while cut and detector.detections_per_image < most:
            detector.set_limits(min(most, CAP_FACTOR * detector.detections_per_image))
            done = detections.take(np.flatnonzero(~np.isin(detections.image_ids, list(cut))))
            again, cut = _predict(detector, _only(batches, cut), category_ids, accelerator, precision, down_to)
            detections = Detections.concatenate([done, again])
    finally:
        detector.set_limits(cap)
    return dataclasses.replace(detections, cut=frozenset(cut))


def most_to_expect(detector: Detector, columns: CocoColumns) -> int:
    """Detections that an image may have where the truth is known.

    Where each takes a pass through the head, eight times the boxes of the fullest image, or more; else what others may.
    """
    if not detector.has_proposals:
        return MOST_DETECTIONS
    fullest = int(np.diff(columns.rows_of_images()[1]).max(initial=0))
    return CAP_FACTOR * max(detector.detections_per_image, 2 * fullest)


def _only(batches: Iterable[Batch], image_ids: set[int]) -> Iterator[Batch]:
    for images, targets in batches:
        for image, target in zip(images, targets, strict=True):
            if target["image_id"] in image_ids:
                yield [image], [target]


def _to_photo(
    answer: dict[str, torch.Tensor], target: dict[str, Any], model_wh: tuple[int, int], category_ids: np.ndarray
) -> Detections:
    """One image's detections from the model's pixels to the photo's, clipped; degenerate ones are dropped."""
    boxes_xyxy = answer["boxes"].cpu().double().numpy()
    width, height = target["size_wh"]
    boxes_xyxy = boxes_xyxy * np.array([width / model_wh[0], height / model_wh[1]] * 2)
    boxes_xyxy = np.clip(boxes_xyxy, 0, [width, height, width, height])
    boxes_xywh = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
    detections = Detections(
        np.full(len(boxes_xywh), target["image_id"], dtype=np.int64),
        category_ids[answer["labels"].cpu().numpy() - 1],
        boxes_xywh,
        answer["scores"].cpu().double().numpy(),
    )
    return detections.take(np.flatnonzero((boxes_xywh[:, 2:] > 0).all(axis=1)))
