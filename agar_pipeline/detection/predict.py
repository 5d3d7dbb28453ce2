"""From photos to detections in pixels of the photo: for validation in training, evaluation and `agar predict`."""

from __future__ import annotations

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

CAP_FACTOR = 4


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
    detector: Detector, batches: Iterable[Batch], category_ids: np.ndarray, accelerator: str, precision: str
) -> tuple[Detections, set[int]]:
    """As `predict_batches`; also the ids of the images that may have lost detections to the model's cap."""
    detector.eval()
    device = next(detector.parameters()).device
    pieces, capped = [], set()
    for images, targets in batches:
        moved = [image.to(device, non_blocking=True) for image in images]
        with autocast(precision, accelerator):
            answers = _of_equal_shape(detector, moved)
        for image, target, answer in zip(images, targets, answers, strict=True):
            pieces.append(_to_photo(answer, target, (image.shape[2], image.shape[1]), category_ids))
            if answer["capped"]:
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
    detector: Detector, batches: Iterable[Batch], category_ids: np.ndarray, accelerator: str, precision: str
) -> Detections:
    """As `predict_batches`, and no detection is lost to the model's cap: it rises until no image reaches it.

    Args:
        batches: Gone through again, for the images at the cap only, each time it rises.
    """
    detections, capped = _predict(detector, batches, category_ids, accelerator, precision)
    while capped:
        detector.set_limits(CAP_FACTOR * detector.detections_per_image)
        done = detections.take(np.flatnonzero(~np.isin(detections.image_ids, list(capped))))
        again, capped = _predict(detector, _only(batches, capped), category_ids, accelerator, precision)
        detections = Detections.concatenate([done, again])
    return detections


def _only(batches: Iterable[Batch], image_ids: set[int]) -> Iterator[Batch]:
    for images, targets in batches:
        chosen = [i for i, target in enumerate(targets) if target["image_id"] in image_ids]
        if chosen:
            yield [images[i] for i in chosen], [targets[i] for i in chosen]


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
        """Detections of all images of a COCO file; none is lost to the cap, which rises where an image reaches it.

        Raises:
            ImageFileError: an image cannot be read, or is not of the size that the COCO file states.
        """
        dataset = DetectionDataset(columns, images_dir, self.facts.spec.image_side)
        batches = PlainBatches(len(dataset), batch_size)
        loader = build_loader(dataset, batches, choose_workers(num_workers, len(dataset)))
        if log:
            log(f"predicting {len(dataset)} images")
        predict = predict_uncapped if cap_may_rise else predict_batches
        return predict(self.detector, loader, self.category_ids, self.accelerator, self.precision)

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

    def detect(self, photo: LoadedPhoto) -> Detections:
        """Detections of one photo, under image_id 0; none is lost to the cap."""
        batches = [([photo.image], [{"image_id": 0, "size_wh": photo.size_wh}])]
        return predict_uncapped(self.detector, batches, self.category_ids, self.accelerator, self.precision)
