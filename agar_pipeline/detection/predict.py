"""From photos to detections in pixels of the photo: for validation in training, evaluation and `agar predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agar_pipeline.detection.checkpoint import CheckpointFacts, load_checkpoint
from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.detection.dataset import Batch, DetectionDataset, build_loader, choose_workers
from agar_pipeline.detection.detections import Detections
from agar_pipeline.detection.devices import autocast, fit_threads, resolve_accelerator, resolve_precision
from agar_pipeline.detection.images import load_image
from agar_pipeline.detection.model import Detector

CAP_FACTOR = 4


@torch.inference_mode()
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
    detector.eval()
    device = next(detector.parameters()).device
    pieces = []
    for images, targets in batches:
        moved = [image.to(device, non_blocking=True) for image in images]
        with autocast(precision, accelerator):
            answers = detector(moved)
        for image, target, answer in zip(images, targets, answers, strict=True):
            pieces.append(_to_photo(answer, target, (image.shape[2], image.shape[1]), category_ids))
    return Detections.concatenate(pieces)


def predict_uncapped(
    detector: Detector, batches: Iterable[Batch], category_ids: np.ndarray, accelerator: str, precision: str
) -> Detections:
    """As `predict_batches`, and no detection is lost to the model's cap: it rises until no image reaches it.

    Args:
        batches: Gone through again, for the images at the cap only, each time it rises.
    """
    detections = predict_batches(detector, batches, category_ids, accelerator, precision)
    while capped := find_capped_images(detections, detector.detections_per_image):
        detector.set_limits(CAP_FACTOR * detector.detections_per_image)
        again = predict_batches(detector, _only(batches, set(capped)), category_ids, accelerator, precision)
        kept = detections.take(np.flatnonzero(~np.isin(detections.image_ids, capped)))
        detections = Detections.concatenate([kept, again])
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


def find_capped_images(detections: Detections, cap: int) -> list[int]:
    """Ids of the images with as many detections as the model may give: some may be missing there."""
    ids, counts = np.unique(detections.image_ids, return_counts=True)
    return ids[counts >= cap].tolist()


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
        if accelerator == "cpu":
            fit_threads()
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
        dataset = DetectionDataset(columns, images_dir, self.facts.spec.input_size)
        loader = build_loader(dataset, batch_size, choose_workers(num_workers, len(dataset)))
        if log:
            log(f"predicting {len(dataset)} images")
        predict = predict_uncapped if cap_may_rise else predict_batches
        return predict(self.detector, loader, self.category_ids, self.accelerator, self.precision)

    def predict_image(self, path: Path) -> Detections:
        """Detections of one photo, under image_id 0.

        Raises:
            ImageFileError: it cannot be read.
        """
        pixels, scale = load_image(Path(path), self.facts.spec.input_size)
        height, width = pixels.shape[:2]
        image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        target = {"image_id": 0, "size_wh": (width / scale, height / scale)}
        return predict_batches(
            self.detector, [([image], [target])], self.category_ids, self.accelerator, self.precision
        )
