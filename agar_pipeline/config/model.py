"""The config group `model`: which detector is trained."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.detectors import find_unknown_name
from agar_pipeline.config.plain_values import STRICT, Share, collected
from agar_pipeline.config.timm_backbones import find_wrong_backbone


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """Which detector is trained."""

    by_content: ClassVar = {"weights", "weights_backbone"}
    fingerprinted_if_set: ClassVar = {"backbone"}

    name: str = "tiny"
    """`tiny`; a name from torchvision's registry of detectors; `retinanet` or `fasterrcnn`, with a `backbone`; or a
    size of D-FINE or RT-DETRv2 (`dfine_s`, `rtdetr_v2_r18`). `dfine` and `rtdetr_v2` have the sizes of the folder in
    `weights`."""
    backbone: str | None = None
    """null; or, for `retinanet` and `fasterrcnn`, the name of a backbone of timm:
    `timm/convnext_tiny.fb_in22k_ft_in1k`."""
    weights: str | None = None
    """null; a member of torchvision's weights enum (`COCO_V1`, `DEFAULT`), or for D-FINE and RT-DETRv2 a repository of
    the hub; a path to a local state dict, or to a folder that `save_pretrained` of transformers wrote."""
    weights_backbone: str | None = None
    """null; or a member of the weights enum of the backbone alone (`IMAGENET1K_V1`, `DEFAULT`). With a `backbone` of
    timm: `DEFAULT` for the weights of that name, or the path of a safetensors file or a state dict."""
    score_floor: Share = 0.05
    """Detections with a lower score are discarded."""
    smallest_anchor: Annotated[float, Field(ge=2, le=1024)] | Literal["auto"] = "auto"
    """Side of the smallest anchor, pixels at the model's scale. auto: from the training boxes."""
    max_detections: Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"] = "auto"
    """Maximum number of detections per image. auto: twice the number of boxes on the fullest plate. Prediction exceeds
    it if a plate needs more."""

    @model_validator(mode="after")
    @collected
    def _check_names(self) -> ModelConfig:
        wrong = find_unknown_name(self.name, self.weights_backbone) or find_wrong_backbone(self.name, self.backbone)
        if wrong:
            raise wrong
        return self
