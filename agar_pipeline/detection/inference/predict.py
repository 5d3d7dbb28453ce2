"""Loads a trained detector from its checkpoint and predicts, for evaluation, `agar predict` and the smoke step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import HIGHEST_FLOOR, Detections
from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.detection.inference.batches import MOST_DETECTIONS, most_to_expect, predict_batches, predict_uncapped
from agar_pipeline.detection.loading.data_loader import build_loader, choose_workers
from agar_pipeline.detection.loading.dataset import DetectionDataset
from agar_pipeline.detection.loading.devices import resolve_accelerator, resolve_precision
from agar_pipeline.detection.loading.sampling import PlainBatches
from agar_pipeline.detection.models.checkpoint import CheckpointFacts, load_checkpoint
from agar_pipeline.detection.models.detector import Detector
from agar_pipeline.errors import ComputeError
from agar_pipeline.photos.load_and_resize import read_photo
from agar_pipeline.progress import Log
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.text.plurals import plural


@dataclass(frozen=True)
class LoadedPhoto:
    """One photo, ready for a model."""

    image: torch.Tensor
    """(3, H, W) uint8, at the model's scale."""
    size_wh: tuple[int, int]
    """Size of the photo itself, pixels, as displayed."""
    notes: tuple[str, ...] = ()
    """As in `PlainPhoto`."""

    @property
    def pixels_hwc(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self.image.permute(1, 2, 0).numpy()


@dataclass(frozen=True)
class Predictor:
    """A trained detector on its device."""

    detector: Detector
    facts: CheckpointFacts
    accelerator: str
    precision: str

    def __post_init__(self) -> None:
        device = next(self.detector.parameters()).device.type
        if device != self.accelerator:
            raise ComputeError(
                f"the detector is on {device}, but its images would go to {self.accelerator}",
                next_step="report this bug, with the command",
            )

    @classmethod
    def load(cls, checkpoint: Path, accelerator: str = "auto") -> Predictor:
        """Load a detector; the checkpoint contains everything that is needed.

        Raises:
            ArtifactError: it is not a checkpoint of this project.
            ComputeError: there is no such device.
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
        log: Log | None = None,
        batch_size: int = 4,
        *,
        cap_may_rise: bool = True,
        counted_from: float | None = None,
    ) -> Detections:
        """Detections of all images of a COCO file; limits rise for images that reach one (`predict_uncapped`).

        Args:
            counted_from: Score from which detections are counted, none of which is left out; None: not chosen yet.

        Raises:
            ImageFileError: an image cannot be read, or does not have the size that the COCO file states.
        """
        dataset = DetectionDataset(columns, images_dir, self.facts.spec.image_side)
        batches = PlainBatches(len(dataset), batch_size)
        workers = choose_workers(num_workers, len(dataset))
        loader = build_loader(dataset, batches, workers, pin_memory=self.accelerator == "cuda")
        if log:
            log(f"predicting {plural(len(dataset), 'image')}")
        place = self.category_ids, self.accelerator, self.precision
        if not cap_may_rise:
            return predict_batches(self.detector, loader, *place)
        most, highest_floor = most_to_expect(self.detector, columns), HIGHEST_FLOOR
        if counted_from is not None and counted_from <= highest_floor:
            highest_floor = 0.0
        return predict_uncapped(self.detector, loader, *place, most=most, highest_floor=highest_floor)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of `category_ids`."""
        return self.facts.class_names

    @property
    def calibration(self) -> Calibration:
        """The checkpoint's own: all classes count, from the threshold that the training chose on val."""
        chosen = self.facts.score_threshold
        return Calibration(CountRule() if chosen is None else CountRule(chosen, "val", "count_error"))

    def read(self, path: Path) -> LoadedPhoto:
        """A photo at the model's scale.

        Raises:
            ImageFileError: it cannot be read.
        """
        photo = read_photo(Path(path), self.facts.spec.image_side)
        image = torch.from_numpy(photo.pixels.copy()).permute(2, 0, 1)  # a view: to rearrange the pixels takes 7 ms
        return LoadedPhoto(image, photo.size_wh, photo.notes)

    def detect(self, photo: LoadedPhoto, score_threshold: float) -> Detections:
        """Detections of one photo, with image_id 0; none with a score of the threshold or more is lost to a limit.

        Raises:
            ComputeError: the photo has more such detections than any plate.
        """
        batches = [([photo.image], [{"image_id": 0, "size_wh": photo.size_wh}])]
        place = self.category_ids, self.accelerator, self.precision
        found = predict_uncapped(
            self.detector, batches, *place, most=MOST_DETECTIONS, down_to=score_threshold, highest_floor=0.0
        )
        if found.complete_from:
            raise ComputeError(
                f"more than {MOST_DETECTIONS:,} boxes on one photo have a score of {score_threshold:g} or more",
                next_step="raise --score-threshold, or train the model further",
            )
        return found
