"""D-FINE and RT-DETRv2 of `transformers`, called as torchvision's detectors are.

Here: from uint8 images and boxes in pixels to the network's inputs, and from its queries to detections. Not here: sizes
(`detr_sizes`), the family (`detr`).

The queries are the tokens of the encoder (cells of a feature map) with the best scores of its head. The size of no
layer depends on their number. The decoder runs in float32: bfloat16 has steps of 2.5 px near the right edge of 640 px.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad
from torchvision.ops import box_convert

from agar_pipeline.detection.models import ranks
from agar_pipeline.detection.models.candidate_boxes import NOTHING
from agar_pipeline.detection.models.family import to_float32

SIDE_DIVISOR = 32
"""Sides of the input are padded to a multiple of this, the largest stride."""
ENCODER_FLOOR = 0.1
"""A token below this score of the encoder's head counts as background, as a proposal does in `faster_rcnn`."""
MOST_DENOISED = 300
"""Boxes on an image from which a batch is trained without denoising queries.

`transformers` makes at least one group of two queries per box, and the time of attention grows with their square.
"""


class DetrModel(nn.Module):
    """The network of a config, with a limit on queries that is set by `DetrFamily.set_limits`."""

    def __init__(
        self, network: Any, normalization: Mapping[str, Sequence[float]] | None, backbone_lr_factor: float
    ) -> None:
        """Wrap a network; random weights are those that it has.

        Args:
            network: A `DFineForObjectDetection` or `RTDetrV2ForObjectDetection`.
            normalization: `mean` and `std` of each channel in [0, 1]. None: images are divided by 255 only, as the
                authors of both do.
            backbone_lr_factor: Learning rate of the backbone, as a share of that of the other layers.
        """
        super().__init__()
        self.network: Any = network
        config = network.config
        self.normalization, self.backbone_lr_factor = normalization, backbone_lr_factor
        self.most_queries, self.score_floor = int(config.num_queries), 0.0
        self.denoising_queries = int(config.num_denoising)
        inner = self.network.model
        for module in (*inner.decoder_input_proj, inner.enc_bbox_head, inner.decoder):
            _compute_in_float32(module, _InFloat32)
        _compute_in_float32(inner.enc_score_head, _ScoreHead)

    def forward(self, images: list[torch.Tensor], targets: list[dict[str, Any]] | None = None) -> Any:
        pixels = self._batch(images)
        inner = self.network.model
        padded = _padded_tokens(images, pixels, self._strides())
        inner.enc_score_head.padded = padded.to(pixels.device)
        tokens = padded.shape[1] - int(padded.sum(1).max())
        self.network.config.num_queries = min(self.most_queries, tokens)
        if self.training:
            assert targets is not None
            return self._losses(pixels, targets)
        self.network.config.num_denoising = self.denoising_queries
        found = self.network(pixel_values=pixels)
        return self._detections(found, images, pixels)

    def _strides(self) -> list[int]:
        config = self.network.config
        strides = list(config.feat_strides)
        while len(strides) < config.num_feature_levels:
            strides.append(strides[-1] * 2)
        return strides

    def _batch(self, images: list[torch.Tensor]) -> torch.Tensor:
        """(N, 3, H, W) float32: normalized, padded with zeros on the right and at the bottom."""
        height, width = (
            -(-max(image.shape[axis] for image in images) // SIDE_DIVISOR) * SIDE_DIVISOR for axis in (1, 2)
        )
        planes = [image.float() / 255 for image in images]
        if self.normalization is not None:
            mean, std = (
                torch.tensor(self.normalization[key], device=images[0].device)[:, None, None] for key in ("mean", "std")
            )
            planes = [(plane - mean) / std for plane in planes]
        return torch.stack([pad(plane, (0, width - plane.shape[2], 0, height - plane.shape[1])) for plane in planes])

    def _losses(self, pixels: torch.Tensor, targets: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Sums of each kind of loss over layers, weighted so that ranks agree with one process.

        The library divides by the boxes of this rank's batch.
        """
        height, width = pixels.shape[2:]
        size = torch.tensor([width, height, width, height], device=pixels.device)
        labels = [
            {"class_labels": target["labels"], "boxes": box_convert(target["boxes"], "xyxy", "cxcywh") / size}
            for target in targets
        ]
        counts = [len(target["labels"]) for target in targets]
        with_denoising = max(counts) <= MOST_DENOISED
        self.network.config.num_denoising = self.denoising_queries if with_denoising else 0
        parts = self.network(pixel_values=pixels, labels=labels).loss_dict
        losses: dict[str, torch.Tensor] = {}
        for name, value in parts.items():
            kind = name.removeprefix("loss_").partition("_")[0]
            losses[kind] = losses.get(kind, 0) + value
        if self.denoising_queries and not (with_denoising and max(counts)):
            # DDP expects a gradient for each parameter in each step
            losses["vfl"] = losses["vfl"] + 0 * self.network.model.denoising_class_embed.weight.sum()
        weight = ranks.weigh(sum(counts)) if ranks.world_size() > 1 else 1.0
        return {kind: value * weight for kind, value in losses.items()}

    def _detections(
        self, found: Any, images: list[torch.Tensor], pixels: torch.Tensor
    ) -> list[dict[str, torch.Tensor]]:
        """One class per query, the best; queries above the score floor, the best first."""
        height, width = pixels.shape[2:]
        boxes = box_convert(found.pred_boxes.float(), "cxcywh", "xyxy")
        boxes = boxes * torch.tensor([width, height, width, height], device=pixels.device)
        scores, labels = found.logits.float().sigmoid().max(-1)
        left_out = _best_left_out(found.enc_outputs_class, found.logits.shape[1])
        answers = []
        for row, image in enumerate(images):
            order = scores[row].argsort(descending=True, stable=True)
            order = order[scores[row][order] > self.score_floor]
            if len(order) == len(scores[row]):  # no token was left for another query
                left_out[row] = torch.maximum(left_out[row], scores[row].min())
            limits = torch.tensor([image.shape[2], image.shape[1]] * 2, device=pixels.device)
            answers.append(
                {
                    "boxes": boxes[row][order].clamp(min=0).minimum(limits),
                    "labels": labels[row][order],
                    "scores": scores[row][order],
                    "left_out": left_out[row],
                }
            )
        return answers


class _InFloat32(nn.Module):
    def forward(self, *arguments: Any, **named: Any) -> Any:
        device = next(self.parameters(), torch.empty(0)).device.type
        with torch.autocast(device, enabled=False):
            return super().forward(*to_float32(arguments), **to_float32(named))


class _ScoreHead(_InFloat32):
    """The encoder's score head, which never chooses a token of the padding as a query."""

    padded: torch.Tensor
    """(N, tokens) of the next batch."""

    def forward(self, *arguments: Any, **named: Any) -> torch.Tensor:
        logits: torch.Tensor = super().forward(*arguments, **named)
        return logits.masked_fill(self.padded[..., None], torch.finfo(logits.dtype).min)


def _compute_in_float32(module: nn.Module, mixin: type[nn.Module]) -> None:
    """Put `mixin` before a layer's class; a bound method in its place would be shared by copies of the model."""
    module.__class__ = type(f"{mixin.__name__}{type(module).__name__}", (mixin, type(module)), {})


def _padded_tokens(images: list[torch.Tensor], pixels: torch.Tensor, strides: list[int]) -> torch.Tensor:
    """(N, tokens) whether the middle of a token's cell is outside its image; on the CPU, because `forward` reads their
    number.
    """
    rows = []
    for image in images:
        levels = []
        for stride in strides:
            down, across = (
                (torch.arange(-(-side // stride)) + 0.5) * stride >= limit
                for side, limit in zip(pixels.shape[2:], image.shape[1:], strict=True)
            )
            levels.append((down[:, None] | across[None]).flatten())
        rows.append(torch.cat(levels))
    return torch.stack(rows)


def _best_left_out(encoder_logits: torch.Tensor, queries: int) -> torch.Tensor:
    """(N,) 1 if a token that is no query has a score of `ENCODER_FLOOR` or more, else -1.

    The score that the decoder would give it is not known.
    """
    scores = encoder_logits.float().sigmoid().amax(-1)
    if queries >= scores.shape[1]:
        return torch.full_like(scores[:, 0], NOTHING)
    best = scores.topk(queries + 1).values[:, -1]
    return torch.where(best >= ENCODER_FLOOR, torch.ones_like(best), torch.full_like(best, NOTHING))
