"""The table of detector families, and building a model of any of them from a spec.

A new family is a module with a `Family`, and a row here; its models are rows of `config.DETECTORS`. Not here: the
protocol (`family`), choosing a spec for some data (`model_fitting`), the common interface (`detector`).
"""

from __future__ import annotations

from torch import nn

from agar_pipeline.config import DETECTORS, find_unknown_name
from agar_pipeline.detection.models.detr import DetrFamily
from agar_pipeline.detection.models.family import Family
from agar_pipeline.detection.models.faster_rcnn import FasterRCNNFamily
from agar_pipeline.detection.models.fcos import FCOSFamily
from agar_pipeline.detection.models.retinanet import RetinaNetFamily
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.models.ssd import SSDFamily, SSDLiteFamily
from agar_pipeline.detection.models.timm_family import FasterRCNNOnTimm, RetinaNetOnTimm
from agar_pipeline.detection.models.tiny import TinyFamily
from agar_pipeline.errors import ConfigError

FAMILIES: dict[str, Family] = {
    "tiny": TinyFamily(),
    "faster_rcnn": FasterRCNNFamily(),
    "faster_rcnn_on_timm": FasterRCNNOnTimm(),
    "fcos": FCOSFamily(),
    "retinanet": RetinaNetFamily(),
    "retinanet_on_timm": RetinaNetOnTimm(),
    "ssd": SSDFamily(),
    "ssdlite": SSDLiteFamily(),
    "detr": DetrFamily(),
}
"""`family` of a row of `config.DETECTORS` → the family."""


def family_of(name: str) -> Family:
    """The family of a model.

    Raises:
        ConfigError: there is no model of this name; the message names the most similar one.
    """
    if unknown := find_unknown_name(name):
        raise ConfigError(
            unknown.what, where=f"model.{unknown.where}", value=unknown.value, next_step=unknown.next_step
        )
    return FAMILIES[DETECTORS[name].family]


def build_model(spec: DetectorSpec, weights_backbone: str | None = None) -> nn.Module:
    """Build the model with random weights, or with the weights of a backbone.

    Nothing is downloaded unless a backbone is named.

    Raises:
        ConfigError: there is no such model, or it cannot work at this input size.
    """
    family, least_side = family_of(spec.name), DETECTORS[spec.name].least_side
    if spec.input_size < least_side:
        raise ConfigError(
            f"is too small for {spec.name}",
            where="data.input_size",
            value=spec.input_size,
            next_step=f"set {least_side} or more",
        )
    model = family.build(spec, weights_backbone)
    family.set_limits(model, spec.detections_per_image, spec.score_floor)
    return model
