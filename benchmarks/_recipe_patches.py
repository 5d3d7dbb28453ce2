"""Changes of the recipe that the product does not offer, put into its code for one run of `benchmarks.recipe`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision.models.detection import _utils
from torchvision.ops import generalized_box_iou_loss

from agar_pipeline.config import DETECTORS
from agar_pipeline.detection.fitting import data_choice
from agar_pipeline.detection.loading import dataset
from agar_pipeline.detection.models import ranks, tiny
from agar_pipeline.labels import colony_scale


def _batch(factor: float) -> Callable[[int], int]:
    def patch(steps: int) -> int:
        """As many images in all: the half of a batch, twice the steps."""
        data_choice.BATCH_CROPS *= factor  # type: ignore[assignment]
        data_choice.BATCH_SIZES = (1, 2, 4, 8, 16, 32)  # type: ignore[assignment]
        return round(steps / factor)

    return patch


def _colony(side: float) -> Callable[[int], int]:
    def patch(steps: int) -> int:
        colony_scale.SMALL_PX *= side / colony_scale.COLONY_PX
        colony_scale.COLONY_PX = side
        return steps

    return patch


def _crop(side: int) -> Callable[[int], int]:
    def patch(steps: int) -> int:
        DETECTORS["tiny"] = dataclasses.replace(DETECTORS["tiny"], crop_side=side)
        data_choice.BATCH_CROPS *= (320 / side) ** 2  # type: ignore[assignment]  # as many pixels in a batch
        return steps

    return patch


def _changed_model(change: Callable[[Any], None]) -> Callable[[int], int]:
    def patch(steps: int) -> int:
        build = tiny.build_tiny

        def build_changed(num_classes: int, anchor_sizes: Any) -> Any:
            model = build(num_classes, anchor_sizes)
            change(model)
            return model

        setattr(tiny, "build_tiny", build_changed)  # noqa: B010
        return steps

    return patch


def _use_group_norm(model: Any) -> None:
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(8, child.num_features))


def _match_looser(model: Any) -> None:
    model.proposal_matcher = _utils.Matcher(0.4, 0.3, allow_low_quality_matches=True)


def _use_giou(model: Any) -> None:
    model.head.regression_head._loss_type = "giou"


def _width(factor: float) -> Callable[[int], int]:
    def patch(steps: int) -> int:
        for stride, channels in tiny.CHANNELS.items():
            tiny.CHANNELS[stride] = int(channels * factor)
        tiny.PYRAMID_CHANNELS = int(tiny.PYRAMID_CHANNELS * factor)
        tiny.TinyBackbone.out_channels = tiny.PYRAMID_CHANNELS
        return steps

    return patch


def _deepen_head(steps: int) -> int:
    tiny.HEAD_CONVOLUTIONS = 2
    return steps


def _losses(classes: str, boxes: str) -> Callable[[int], int]:
    """Varifocal loss (Zhang et al. 2021), or RetinaNet's with smoothed targets; L1 or GIoU for boxes."""

    def compute(
        self: Any,
        targets: list[dict[str, torch.Tensor]],
        head_outputs: dict[str, torch.Tensor],
        anchors: list[torch.Tensor],
        matched_idxs: list[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        counts = [len(target["labels"]) for target in targets]
        matched = torch.cat([torch.where(m >= 0, m + sum(counts[:i]), m) for i, m in enumerate(matched_idxs)])
        true_boxes = torch.cat([target["boxes"] for target in targets])
        labels = torch.cat([target["labels"] for target in targets])
        logits = head_outputs["cls_logits"].flatten(0, 1).float()
        offsets = head_outputs["bbox_regression"].flatten(0, 1).float()
        all_anchors, found = torch.cat(anchors), matched >= 0
        number = found.sum().clamp(min=1)
        coder = self.regression_head.box_coder
        wanted = true_boxes[matched[found]]
        decoded = coder.decode_single(offsets[found], all_anchors[found])
        wish = torch.zeros_like(logits)
        rows, columns = found.nonzero()[:, 0], labels[matched[found]]
        if classes == "vfl":
            wish[rows, columns] = _iou(decoded.detach(), wanted).clamp(min=0)
        else:
            wish[rows, columns] = 0.95
        used = matched != -2
        logits, wish = logits[used], wish[used]
        chance = logits.sigmoid()
        entropy = functional.binary_cross_entropy_with_logits(logits, wish, reduction="none")
        if classes == "vfl":
            weight = torch.where(wish > 0, wish, 0.75 * chance.detach() ** 2)
        else:
            weight = torch.where(wish > 0, 0.25, 0.75) * (wish - chance).abs() ** 2
        if boxes == "giou":
            regression = generalized_box_iou_loss(decoded, wanted, reduction="sum") / number
        else:
            encoded = coder.encode_single(wanted, all_anchors[found])
            regression = functional.l1_loss(offsets[found], encoded, reduction="sum") / number
        return {"classification": (weight * entropy).sum() / number, "bbox_regression": regression}

    def patch(steps: int) -> int:
        assert ranks.world_size() == 1
        tiny.TinyHead.compute_loss = compute  # type: ignore[method-assign]
        return steps

    return patch


def _iou(a_xyxy: torch.Tensor, b_xyxy: torch.Tensor) -> torch.Tensor:
    """(N, 4) and (N, 4) → (N,)."""
    low, high = torch.maximum(a_xyxy[:, :2], b_xyxy[:, :2]), torch.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (a_xyxy, b_xyxy)]
    return common / (areas[0] + areas[1] - common).clamp(min=1e-6)


Shown = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(H, W, 3) pixels, (N, 4) boxes_xyxy, (N,) labels."""


def _changed_items(change: Callable[[Any, Shown, np.random.Generator], Shown]) -> Callable[[int], int]:
    def patch(steps: int) -> int:
        for name in ("_crop", "_scaled"):
            original = getattr(dataset.DetectionDataset, name)

            def changed(self: Any, row: int, rng: np.random.Generator, original: Any = original) -> Shown:
                return change(self, original(self, row, rng), rng)

            setattr(dataset.DetectionDataset, name, changed)
        return steps

    return patch


def _mosaic(data: Any, shown: Shown, rng: np.random.Generator) -> Shown:
    """A quarter of the image from each of four photos, at their scale, in one of two images."""
    if rng.random() < 0.5:
        return shown
    pixels = shown[0]
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    made = np.array(pixels)
    quarters = [(0, 0), (0, width), (height, 0), (height, width)]
    all_boxes: list[np.ndarray] = []
    all_labels: list[np.ndarray] = []
    for number, (top, left) in enumerate(quarters):
        source = shown
        if number:
            source = data._load(int(rng.integers(len(data.columns.image_ids))), data.input_size)
        from_pixels, from_boxes, from_labels = source
        window = _window(from_pixels, from_boxes, (width, height), rng)
        if window is None:
            window, from_pixels, from_boxes, from_labels = (left, top, left + width, top + height), *shown
        cut_pixels, cut_boxes, cut_labels = dataset.cut(from_pixels, from_boxes, from_labels, window)
        made[top : top + height, left : left + width] = cut_pixels
        all_boxes.append(cut_boxes + np.array([left, top, left, top], np.float32))
        all_labels.append(cut_labels)
    return made, np.concatenate(all_boxes).astype(np.float32), np.concatenate(all_labels)


def _window(
    pixels: np.ndarray, boxes: np.ndarray, size_wh: Sequence[int], rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
    width, height = size_wh
    if pixels.shape[1] < width or pixels.shape[0] < height:
        return None
    left, top = int(rng.integers(pixels.shape[1] - width + 1)), int(rng.integers(pixels.shape[0] - height + 1))
    if len(boxes) and rng.random() < 0.8:
        middle = boxes[int(rng.integers(len(boxes)))].reshape(2, 2).mean(axis=0)
        left = int(np.clip(middle[0] - rng.random() * width, 0, pixels.shape[1] - width))
        top = int(np.clip(middle[1] - rng.random() * height, 0, pixels.shape[0] - height))
    return left, top, left + width, top + height


def _favour_rare_classes(steps: int) -> int:
    """A photo is taken more often for its rarest class (Gupta et al. 2019, repeat factors), a box likewise."""
    start = dataset.DetectionDataset.__init__

    def begin(self: Any, *arguments: Any, **named: Any) -> None:
        start(self, *arguments, **named)
        if self.augment is None:
            return
        labels, photos = self._labels, len(self.columns.image_ids)
        present = np.zeros((photos, labels.max() + 1), bool)
        present[np.searchsorted(np.sort(self.columns.image_ids), self.columns.annotation_image_ids), labels] = True
        share = present.mean(axis=0)
        factor = np.sqrt(share.max() / np.maximum(share, 1e-9))
        of_photo = np.where(present, factor, 1).max(axis=1)[np.argsort(np.argsort(self.columns.image_ids))]
        counts = np.unique(self._rows, return_counts=True)[1]
        wanted = np.maximum(1, np.round(counts * of_photo * counts.sum() / (counts * of_photo).sum())).astype(int)
        self._rows = np.repeat(np.arange(photos), wanted)

    dataset.DetectionDataset.__init__ = begin  # type: ignore[method-assign]
    return steps


PATCHES: dict[str, Callable[[int], int]] = {
    "half_batch": _batch(0.5),
    "double_batch": _batch(2),
    "colony_16": _colony(16),
    "colony_26": _colony(26),
    "crop_224": _crop(224),
    "crop_448": _crop(448),
    "vfl": _losses("vfl", "l1"),
    "vfl_giou": _losses("vfl", "giou"),
    "giou": _changed_model(_use_giou),
    "looser_match": _changed_model(_match_looser),
    "label_smoothing": _losses("smooth", "l1"),
    "group_norm": _changed_model(_use_group_norm),
    "wide": _width(1.5),
    "narrow": _width(0.75),
    "deep_head": _deepen_head,
    "mosaic": _changed_items(_mosaic),
    "rare_classes": _favour_rare_classes,
}
"""Name → what changes the code and gives the steps to train for."""
