"""From photos to detections in pixels of the photo: for validation in training, evaluation and `agar predict`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from agar_pipeline.detection.checkpoint import CheckpointFacts, load_checkpoint
from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.detection.counting import DEFAULT_THRESHOLD
from agar_pipeline.detection.dataset import Batch, DetectionDataset, build_loader, choose_workers
from agar_pipeline.detection.detections import Detections
from agar_pipeline.detection.devices import autocast, resolve_accelerator, resolve_precision
from agar_pipeline.detection.images import load_image
from agar_pipeline.detection.model import Detector
from agar_pipeline.detection.orientation import displayed_wh
from agar_pipeline.detection.sampling import PlainBatches
from agar_pipeline.errors import ComputeError

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
    """As `predict_batches`; also the ids of the images that may have lost some, from a score of `down_to` on, to the
    model's cap."""
    detector.eval()
    device = next(detector.parameters()).device
    pieces, capped = [], set()
    for images, targets in batches:
        moved = [image.to(device, non_blocking=True) for image in images]
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
    """As `predict_batches`, but the model's cap rises until no image reaches it, for those images alone.

    Args:
        batches: Gone through again, for the images at the cap only and one at a time, each time it rises.
        most: How far it may rise. A model that has learnt little sees colonies all over the place, for which there is
            neither time nor memory: such images are then `cut`.
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
    boxes_xyxy = answer["boxes"].double().cpu().numpy()
    width, height = target["size_wh"]
    boxes_xyxy = boxes_xyxy * np.array([width / model_wh[0], height / model_wh[1]] * 2)
    boxes_xyxy = np.clip(boxes_xyxy, 0, [width, height, width, height])
    boxes_xywh = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
    detections = Detections(
        np.full(len(boxes_xywh), target["image_id"], dtype=np.int64),
        category_ids[answer["labels"].cpu().numpy() - 1],
        boxes_xywh,
        answer["scores"].double().cpu().numpy(),
    )
    return detections.take(np.flatnonzero((boxes_xywh[:, 2:] > 0).all(axis=1)))


@dataclass(frozen=True)
class LoadedPhoto:
    """One photo, ready for a model."""

    image: torch.Tensor
    """(3, H, W) uint8, at the model's scale."""
    size_wh: tuple[int, int]
    """Of the photo itself, pixels, as displayed."""


@dataclass(frozen=True)
class Predictor:
    """A trained detector on its device."""

    detector: Detector
    facts: CheckpointFacts
    accelerator: str
    precision: str

    @classmethod
    def load(cls, checkpoint: Path, accelerator: str = "auto") -> Predictor:
        """From a checkpoint alone.

        Raises:
            ArtifactError: no checkpoint of ours. ComputeError: no such device.
        """
        accelerator = resolve_accelerator(accelerator)
        detector, facts = load_checkpoint(checkpoint)
        if facts.channels_last:
            detector = detector.to(memory_format=torch.channels_last)
        return cls(detector.to(accelerator), facts, accelerator, resolve_precision(facts.precision, accelerator))

    @property
    def category_ids(self) -> np.ndarray:
        return np.array(self.facts.category_ids, dtype=np.int64)

    def predict(
        self,
        columns: CocoColumns,
        images_dir: Path,
        num_workers: int | None = None,
        log: Callable[[str], None] | None = None,
        batch_size: int = 4,
        *,
        cap_may_rise: bool = True,
    ) -> Detections:
        """Detections of all images of a COCO file; the cap rises where an image reaches it (`predict_uncapped`).

        Raises:
            ImageFileError: an image cannot be read, or is not of the size that the COCO file states.
        """
        dataset = DetectionDataset(columns, images_dir, self.facts.spec.image_side)
        batches = PlainBatches(len(dataset), batch_size)
        loader = build_loader(dataset, batches, choose_workers(num_workers, len(dataset)))
        if log:
            log(f"predicting {len(dataset)} images")
        place = self.category_ids, self.accelerator, self.precision
        if not cap_may_rise:
            return predict_batches(self.detector, loader, *place)
        return predict_uncapped(self.detector, loader, *place, most=most_to_expect(self.detector, columns))

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of `category_ids`."""
        return self.facts.class_names

    @property
    def score_threshold(self) -> float:
        """From which a detection counts as a colony."""
        return DEFAULT_THRESHOLD if self.facts.score_threshold is None else self.facts.score_threshold

    def chosen_threshold(self) -> dict[str, Any]:
        """`value` and `chosen_on`, as metrics.json has them."""
        chosen_on = "val" if self.facts.score_threshold is not None else "nothing: no val was scored, this is a default"
        return {"value": self.score_threshold, "chosen_on": chosen_on}

    def read(self, path: Path) -> LoadedPhoto:
        """A photo at the model's scale.

        Raises:
            ImageFileError: it cannot be read.
        """
        pixels, _ = load_image(Path(path), self.facts.spec.image_side)
        with Image.open(path) as photo:
            size_wh = displayed_wh(photo)
        return LoadedPhoto(torch.from_numpy(pixels.transpose(2, 0, 1).copy()), size_wh)

    def detect(self, photo: LoadedPhoto, score_threshold: float) -> Detections:
        """Detections of one photo, under image_id 0; none from the threshold on is lost to the cap.

        Raises:
            ComputeError: it has more of those than any plate.
        """
        batches = [([photo.image], [{"image_id": 0, "size_wh": photo.size_wh}])]
        place = self.category_ids, self.accelerator, self.precision
        found = predict_uncapped(self.detector, batches, *place, most=MOST_DETECTIONS, down_to=score_threshold)
        if found.cut:
            raise ComputeError(
                f"more than {MOST_DETECTIONS:,} boxes on one photo have a score of {score_threshold:g} and more\n"
                "raise --score-threshold; a model that was hardly trained sees colonies all over the place"
            )
        return found
