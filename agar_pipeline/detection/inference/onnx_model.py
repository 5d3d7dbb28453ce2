"""Runs a detector from an ONNX file with onnxruntime, without a checkpoint and without torch.

The graph handles one photo or tile of any size; scaling, tiles and conversion to photo pixels are done here, as
`predict` does for checkpoints. Not here: making such a file (`export_onnx`).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.box_formats import model_xyxy_to_xywh
from agar_pipeline.coco.detections import Detections
from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.detection.models.tile_merge import merge_tiles
from agar_pipeline.detection.models.tiles import TileGrid
from agar_pipeline.errors import ArtifactError, ComputeError
from agar_pipeline.photos.load_and_resize import read_photo
from agar_pipeline.scoring.count_rule import CountRule

FACTS_KEY = "agar_pipeline"
"""Key in the file's metadata; the value is JSON of `OnnxFacts`."""
DETECTION_COLUMNS = ("boxes", "scores", "labels")
OUTPUTS = (*DETECTION_COLUMNS, "left_out")
"""`left_out` is defined in `candidates`; files of earlier versions do not have it."""


@dataclass(frozen=True)
class OnnxFacts:
    """Facts about the detector, stored in the ONNX file."""

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    score_threshold: float
    input_size: int
    """Longer side of a tile, or of a whole photo, pixels."""
    tile_overlap: int | None
    """None: whole photos; else the overlap of the tiles, pixels."""
    max_detections: int
    """The graph's limit per photo or tile."""
    image_side: int | None = None
    """Side to which photos are scaled, pixels; None: they keep their size."""
    calibration: dict[str, Any] | None = None
    """How detections become counts, a plain `Calibration`."""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> OnnxFacts:
        plain: dict[str, Any] = json.loads(text)
        lists: dict[str, Any] = {name: tuple(plain[name]) for name in ("class_names", "category_ids")}
        if "image_side" not in plain:  # written by a version without a scale for tiled photos
            plain["image_side"] = plain["input_size"] if plain["tile_overlap"] is None else None
        return cls(**{**plain, **lists})


@dataclass(frozen=True)
class OnnxPhoto:
    """One photo, ready for the graph."""

    pixels: np.ndarray
    """(3, H, W) uint8, contiguous: for the graph."""
    pixels_hwc: np.ndarray
    """The same (H, W, 3), for measuring the photo: to rearrange them back takes 7 ms."""
    size_wh: tuple[int, int]
    """Size of the photo itself, pixels, as displayed."""
    notes: tuple[str, ...] = ()
    """As in `PlainPhoto`."""


class OnnxModel:
    """A `PhotoModel` in an onnxruntime session."""

    def __init__(self, session: Any, facts: OnnxFacts) -> None:
        self._session, self.facts = session, facts

    @classmethod
    def load(cls, path: Path) -> OnnxModel:
        """Load a file that `agar export-model` made.

        Raises:
            ArtifactError: the file is missing, damaged, or not made by `agar export-model`.
        """
        import onnxruntime

        if not path.is_file():
            raise ArtifactError("does not exist", where=path, next_step="give a file that `agar export-model` made")
        onnxruntime.set_default_logger_severity(3)
        try:
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            facts = OnnxFacts.from_json(session.get_modelmeta().custom_metadata_map[FACTS_KEY])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                "does not name its classes, because another tool made it",
                where=path,
                next_step="make it with `agar export-model`",
            ) from error
        except Exception as error:  # onnxruntime's errors have no other common class
            raise ArtifactError(
                f"cannot be run by onnxruntime: {str(error).splitlines()[0]}",
                where=path,
                next_step="make it again with `agar export-model`",
            ) from error
        if tuple(output.name for output in session.get_outputs()) != OUTPUTS:
            raise ArtifactError(
                "was made by an earlier version, and does not report the detections that its limits cut off",
                where=path,
                next_step="make it again with `agar export-model`",
            )
        return cls(session, facts)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of `category_ids`."""
        return self.facts.class_names

    @property
    def category_ids(self) -> np.ndarray:
        """(K,) ascending."""
        return np.array(self.facts.category_ids, dtype=np.int64)

    @property
    def calibration(self) -> Calibration:
        """That of the export; a file of an earlier version has its threshold only."""
        plain = self.facts.calibration
        if plain is None:
            return Calibration(CountRule(self.facts.score_threshold, "val", "count_error"))
        return Calibration.from_plain(plain)

    def read(self, path: Path) -> OnnxPhoto:
        """A photo at the model's scale.

        Raises:
            ImageFileError: it cannot be read.
        """
        photo = read_photo(path, self.facts.image_side)
        planes = np.ascontiguousarray(photo.pixels.transpose(2, 0, 1))
        return OnnxPhoto(planes, photo.pixels, photo.size_wh, photo.notes)

    def detect(self, photo: OnnxPhoto, score_threshold: float) -> Detections:
        """Detections of one photo, with image_id 0, in pixels of the photo.

        Raises:
            ComputeError: the graph's limits cut off detections with a score of the threshold or more.
        """
        boxes_xyxy, scores, labels = self.run(photo.pixels, score_threshold)
        boxes_xywh = model_xyxy_to_xywh(boxes_xyxy, photo.size_wh, photo.pixels.shape[1:])
        ids = np.zeros(len(scores), dtype=np.int64)
        detections = Detections(ids, self.category_ids[labels - 1], boxes_xywh, scores)
        return detections.take(np.flatnonzero((boxes_xywh[:, 2:] > 0).all(axis=1)))

    def run(self, pixels: np.ndarray, score_threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(3, H, W) uint8 → (D, 4) xyxy in its pixels and (D,) scores, float64, and (D,) labels from 1.

        Raises:
            ComputeError: the graph's limits cut off detections with a score of the threshold or more.
        """
        if self.facts.tile_overlap is None:
            return self._run_once(pixels, score_threshold)
        size_wh = (pixels.shape[2], pixels.shape[1])
        grid = TileGrid.over(size_wh, self.facts.input_size, self.facts.tile_overlap)
        crops = [pixels[:, top:bottom, left:right] for left, top, right, bottom in grid.tiles_xyxy]
        seen = [self._run_once(crop, score_threshold) for crop in crops]
        tile_index = np.repeat(np.arange(len(seen)), [len(scores) for _, scores, _ in seen])
        boxes, scores, labels = (np.concatenate(column) for column in zip(*seen, strict=True))
        boxes = boxes + np.tile(grid.tiles_xyxy[tile_index, :2], 2)
        kept = merge_tiles(grid, tile_index, boxes, labels, scores)
        return boxes[kept], scores[kept], labels[kept]

    def _run_once(self, pixels: np.ndarray, score_threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        boxes, scores, labels, left_out = self._session.run(OUTPUTS, {"image": np.ascontiguousarray(pixels)})
        is_full = len(scores) >= self.facts.max_detections
        if max(float(left_out), float(scores.min()) if is_full else -1.0) >= score_threshold:
            raise ComputeError(
                f"the ONNX model finds {self.facts.max_detections} colonies on one photo or tile at most, "
                f"and cut off some with a score of {score_threshold:g} or more",
                next_step="predict with its checkpoint: `agar predict --checkpoint FILE`",
            )
        return boxes.astype(np.float64), scores.astype(np.float64), labels
