"""Fits what the config leaves to the data: scale and crops (by `data_choice`), anchors and detection limits.

Here: statistics of the training boxes. Not here: the models (`detector`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from agar_pipeline.coco.box_sizes import box_shares, largest_side
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import DataConfig, ModelConfig, TrainingConfig
from agar_pipeline.detection.fitting.data_choice import choose_data, sees_whole
from agar_pipeline.detection.models.families import family_of
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.models.tile_merge import largest_exact_side, least_overlap
from agar_pipeline.errors import ConfigError

LEAST_CAP = 300


def fit_config(config: TrainingConfig, columns: CocoColumns) -> TrainingConfig:
    """Choose what `data` leaves open; a settled config is returned with the same values.

    Args:
        columns: All of train, even if only a part of it is trained on.
    """
    return dataclasses.replace(config, data=choose_data(config, columns))


def fit_spec(
    config: TrainingConfig, train_columns: CocoColumns, val_columns: CocoColumns, most_boxes: int | None = None
) -> DetectorSpec:
    """The detector spec for a settled config: one class per category; anchors and limits fit the boxes.

    Args:
        config: As `fit_config` returns it.
        train_columns: Boxes to which anchors are fitted.
        val_columns: Used only to find the fullest image.
        most_boxes: Number of boxes in the fullest image to plan for; default: the maximum over both splits.

    Raises:
        ConfigError: there is no such model, or `smallest_anchor` is given for a model that has no anchors to set.
    """
    most = most_boxes or max(_most_boxes(train_columns), _most_boxes(val_columns))
    sides = box_sides(train_columns, config.data)
    data, classes = config.data, len(train_columns.category_ids)
    overlap = None if sees_whole(data) or data.windows is None else data.windows.overlap
    photo_side = data.image_side if data.windows else None
    return make_spec(config.model, classes, data.model_side, sides, most, tile_overlap=overlap, photo_side=photo_side)


def make_spec(
    model: ModelConfig,
    num_classes: int,
    input_size: int,
    box_sides: np.ndarray,
    most_boxes: int,
    tile_overlap: int | None = None,
    photo_side: int | None = None,
) -> DetectorSpec:
    """Build a spec; anchors and limits are fitted to the data where the config leaves them open.

    Args:
        model: Its name, score floor, and the given anchors and limits.
        num_classes: K.
        input_size: Longer side of the model's input, pixels.
        box_sides: (N,) square roots of the boxes' areas, pixels at the model's scale.
        most_boxes: Number of boxes in the fullest image of the data.
        tile_overlap: Overlap of tiles, pixels; None: whole plates.
        photo_side: Side to which photos are scaled before crops are cut from them, pixels.
    """
    cap = max(LEAST_CAP, -(-2 * most_boxes // 100) * 100)  # twice the fullest image, rounded up to hundreds
    return DetectorSpec(
        name=model.name,
        num_classes=num_classes,
        input_size=input_size,
        detections_per_image=cap if model.max_detections == "auto" else model.max_detections,
        score_floor=model.score_floor,
        anchor_sizes=_choose_anchors(model, box_sides),
        tile_overlap=tile_overlap,
        photo_side=photo_side,
        pretrained_backbone=model.weights_backbone is not None and model.weights is None,
        architecture=family_of(model.name).find_architecture(model),
    )


def _choose_anchors(model: ModelConfig, box_sides: np.ndarray) -> dict[int, tuple[float, ...]]:
    given = None if model.smallest_anchor == "auto" else model.smallest_anchor
    family = family_of(model.name)
    if given is not None and not family.has_anchors:
        raise ConfigError(
            f"cannot be set, because {model.name} has no anchors",
            where="model.smallest_anchor",
            value=f"{given:g}",
            next_step="set model.smallest_anchor=auto",
        )
    return family.fit_anchors(box_sides, given)


def warn_of_seams(data: DataConfig, columns: CocoColumns) -> str | None:
    """A warning if colonies are too large for the overlap of the tiles; else None."""
    if sees_whole(data) or data.windows is None or data.windows.overlap is None:
        return None
    overlap = data.windows.overlap
    largest, exact = largest_side(columns, data.image_side), largest_exact_side(overlap)
    if largest <= exact:
        return None
    wanted = least_overlap(largest)
    return (
        f"with data.tiles.overlap={overlap}, colonies of up to {exact:.0f} px are merged exactly at seams, but the "
        f"largest in train has {largest:.0f} px, and may be doubled or cut there: set data.tiles.overlap={wanted}"
        + (f" and data.tiles.size={2 * wanted} or more" if wanted > data.windows.size // 2 else "")
    )


def box_sides(columns: CocoColumns, data: DataConfig) -> np.ndarray:
    """(N,) square roots of the boxes' areas at the model's scale; boxes without area are left out."""
    if data.image_side is None:
        return box_shares(columns, of_image=False)
    return box_shares(columns) * data.image_side


def _most_boxes(columns: CocoColumns) -> int:
    counts = np.unique(columns.annotation_image_ids, return_counts=True)[1]
    return int(counts.max()) if len(counts) else 0
