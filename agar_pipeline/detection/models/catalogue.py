"""Published figures of the detectors and what each needs, without importing torch.

Here: one row for each detector that has a published figure, and the example backbone of the others. Not here: what a
config may name (`config`), which of them suit this machine (`model_list`).
"""

from __future__ import annotations

from dataclasses import dataclass

from agar_pipeline.config.timm_backbones import EXAMPLE

TORCHVISION = "torchvision's weights meta data, COCO val2017"
_OF_TORCHVISION = "BSD-3-Clause; photos of COCO"
_DFINE = "Peng et al. 2024, D-FINE, arXiv 2410.13842"
_RTDETR = "Lv et al. 2024, RT-DETRv2, arXiv 2407.17140"
_APACHE = "Apache-2.0"
_CONVNEXT = "of a Mask R-CNN on ConvNeXt-T (ImageNet-1K), 3 × schedule: Liu et al. 2022, ConvNeXt, arXiv 2201.03545"


@dataclass(frozen=True)
class PublishedFigures:
    """What is known of a detector without building it."""

    parameters_m: float
    """Millions of parameters, with one class and colonies of 12 px."""
    coco_ap: float | None
    """AP@[.5:.95] on COCO val2017, per cent; None: not published."""
    source: str | None
    """Where `coco_ap` was published."""
    licence: str | None
    """Of the pretrained weights; None: there are none."""
    finest_stride: int
    """Pixels of the model's input per cell of its finest feature map, with colonies of 12 px."""
    step_s: float | None = None
    """Seconds of a training step of two images of 320 px on one core; None: not measured."""
    backbone: str | None = None
    """Example of `model.backbone`, to which the figures belong."""


def _torchvision(parameters_m: float, ap: float, stride: int, step_s: float | None = None) -> PublishedFigures:
    return PublishedFigures(parameters_m, ap, TORCHVISION, _OF_TORCHVISION, stride, step_s)


def _dfine(parameters_m: float, ap: float, stride: int = 8) -> PublishedFigures:
    return PublishedFigures(parameters_m, ap, _DFINE, _APACHE, stride)


def _rtdetr(parameters_m: float, ap: float) -> PublishedFigures:
    return PublishedFigures(parameters_m, ap, _RTDETR, _APACHE, 8)


PUBLISHED: dict[str, PublishedFigures] = {
    "tiny": PublishedFigures(0.2, None, None, None, 4, 0.1),
    "fasterrcnn_mobilenet_v3_large_320_fpn": _torchvision(18.9, 22.8, 32, 2.9),
    "fasterrcnn_mobilenet_v3_large_fpn": _torchvision(18.9, 32.8, 32),
    "fasterrcnn_resnet50_fpn": _torchvision(41.3, 37.0, 4),
    "fasterrcnn_resnet50_fpn_v2": _torchvision(43.3, 46.7, 4, 16.0),
    "fasterrcnn": PublishedFigures(43.9, 46.2, _CONVNEXT, _APACHE, 4, backbone=EXAMPLE),
    "fcos_resnet50_fpn": _torchvision(32.1, 39.2, 8, 3.7),
    "retinanet_resnet50_fpn": _torchvision(32.2, 36.4, 8, 3.5),
    "retinanet_resnet50_fpn_v2": _torchvision(36.3, 41.5, 8),
    "retinanet": PublishedFigures(34.1, None, None, _APACHE, 4, backbone=EXAMPLE),
    "ssd300_vgg16": _torchvision(23.8, 25.1, 8),
    "ssdlite320_mobilenet_v3_large": _torchvision(2.2, 21.3, 16, 0.36),
    "dfine_n": _dfine(3.7, 42.8, 16),
    "dfine_s": _dfine(10.2, 48.5),
    "dfine_m": _dfine(19.5, 52.3),
    "dfine_l": _dfine(31.1, 54.0),
    "dfine_x": _dfine(62.6, 55.8),
    "rtdetr_v2_r18": _rtdetr(20.1, 48.1),
    "rtdetr_v2_r34": _rtdetr(31.3, 49.9),
    "rtdetr_v2_r50": _rtdetr(42.8, 53.4),
    "rtdetr_v2_r101": _rtdetr(76.5, 54.3),
}
"""Detector of `config.DETECTORS` → its figures.

A backbone of timm has the licence of its own weights: `cc-by-nc-4.0` and others among them. `retinanet` and
`fasterrcnn` have figures for the example backbone, Apache-2.0.
"""
