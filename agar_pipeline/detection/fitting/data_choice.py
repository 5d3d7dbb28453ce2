"""Chooses what `data: auto` leaves open, from the boxes of train: photo scale, crops and batch size.

It does not use torch. Not here: the rule for the scale (`labels.colony_scale`), anchors and limits (`model_fitting`),
the positions of crops (`models.tiles`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from agar_pipeline.coco.box_sizes import largest_side
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import DETECTORS, DataConfig, TilesConfig, TrainerConfig, TrainingConfig
from agar_pipeline.detection.models.tile_merge import least_overlap
from agar_pipeline.labels.colony_scale import ColonySizes, choose_scale, measure_sizes
from agar_pipeline.progress import say_duration
from agar_pipeline.text.plurals import plural

CROP_FACTOR = 1.5
"""A photo is divided into crops if its longer side is more than this many crops."""
BATCH_CROPS = 8
"""A batch has about as many pixels as this many of the model's crops."""
BATCH_SIZES = (2, 4, 8, 16)
WHOLE_SIDE = 2048
"""Maximum longer side of a scaled photo, pixels, for predicting a plate in one pass; above it, tiles save memory."""


def choose_data(config: TrainingConfig, columns: CocoColumns) -> DataConfig:
    """Choose each `auto` of `config.data`. Given values are kept, and the others are chosen to fit them.

    Args:
        config: As composed. The data of a config without any `auto` is returned unchanged.
        columns: All of train, even if only a part of it is trained on.
    """
    data, model = config.data, config.model.name
    sizes = measure_sizes(columns)
    if data.tiles is None:
        data = _settle(data, input_size=choose_scale(sizes) if data.input_size == "auto" else data.input_size)
    else:
        data = _settle_crops(data, sizes, DETECTORS[model].crop_side)
    if data.batch_size == "auto":
        world_size = config.trainer.devices * config.trainer.num_nodes
        data = _settle(data, batch_size=_choose_batch(data.model_side, model, world_size))
    if isinstance(data.tiles, TilesConfig) and data.tiles.overlap is None:
        overlap = min(least_overlap(largest_side(columns, data.image_side)), data.tiles.size // 2)
        data = _settle(data, tiles=dataclasses.replace(data.tiles, overlap=overlap))
    return _settle_unused(data)


def _settle_unused(data: DataConfig) -> DataConfig:
    """Replace an `auto` in an unused key by a fixed value, so that the config is settled even if the data changes."""
    if data.windows is None:
        return _settle(data, scale=None) if data.scale == "auto" else data
    return _settle(data, input_size=data.model_side) if data.input_size == "auto" else data


def _settle_crops(data: DataConfig, sizes: ColonySizes | None, crop_side: int) -> DataConfig:
    """Choose scale and tiles if tiles are `auto` or given. With `tiles: auto`, a given `input_size` means no tiles."""
    if data.tiles == "auto" and data.input_size != "auto" and not isinstance(data.scale, int):
        return _settle(data, scale=None, tiles=None)
    scale = data.scale
    if scale == "auto" or (scale is None and data.tiles == "auto"):
        scale = choose_scale(sizes)
    if data.tiles != "auto":
        return _settle(data, scale=scale)
    assert scale is not None
    large = 0.0 if sizes is None else sizes.large * scale
    side = max(crop_side, int(np.ceil(2 * large / 64)) * 64)  # large colonies are whole in most crops
    if scale <= CROP_FACTOR * side:
        return _settle(data, input_size=scale, scale=None, tiles=None)
    return _settle(data, scale=scale, tiles=TilesConfig(size=side))


def _settle(data: DataConfig, **values: object) -> DataConfig:
    return dataclasses.replace(data, **values)  # type: ignore[arg-type]


def _choose_batch(side: int, model: str, world_size: int) -> int:
    """The largest of `BATCH_SIZES` that fits into the pixels of a batch, rounded up to a multiple of the ranks."""
    room = BATCH_CROPS * DETECTORS[model].crop_side ** 2 / side**2
    largest = max(size for size in BATCH_SIZES if size <= max(BATCH_SIZES[0], room))
    return -(-largest // world_size) * world_size


def sees_whole(data: DataConfig) -> bool:
    """Whether plates are predicted in one pass, in validation, evaluation, `predict` and the ONNX file."""
    return data.windows is None or (data.image_side is not None and data.image_side <= WHOLE_SIDE)


def typical_side(data: DataConfig, columns: CocoColumns) -> float | None:
    """Side of the median colony, pixels at the model's scale; None if there are no colonies."""
    sizes = measure_sizes(columns)
    if sizes is None:
        return None
    return sizes.median * (sizes.photo_side if data.image_side is None else data.image_side)


def say_choice(config: TrainingConfig, columns: CocoColumns) -> str:
    """The input of the model in one sentence with figures, for a settled config."""
    data, sizes = config.data, measure_sizes(columns)
    words = ["photos keep their size" if data.image_side is None else f"photos scaled to {data.image_side:,} px"]
    if sizes is not None:
        side = sizes.photo_side if data.image_side is None else data.image_side
        words[0] += f": a colony is {sizes.median * side:.0f} px (the smallest tenth {sizes.small * side:.0f} or less)"
    size = data.batch
    if data.windows is None:
        words.append(f"trained on whole plates, {size} at a time")
    else:
        words.append(f"trained on crops of {data.windows.size} px, {size} at a time")
        words.append(
            "plates predicted in one pass"
            if sees_whole(data)
            else f"plates predicted in tiles that overlap by {data.windows.overlap} px"
        )
    return "; ".join(words)


def say_limit(trainer: TrainerConfig) -> str:
    """The limit of a training's length."""
    if trainer.max_seconds is not None:
        return say_duration(trainer.max_seconds)
    return plural(trainer.max_steps or 0, "step") if trainer.max_epochs is None else plural(trainer.max_epochs, "epoch")
