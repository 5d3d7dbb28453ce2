"""Lists the detectors with their published figures, and which of them suit small colonies on this machine.

Here: the rows, and the rule of the recommendation. Not here: the figures (`catalogue`), trying a detector
(`model_check`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agar_pipeline.config import DETECTORS
from agar_pipeline.detection.models.catalogue import PUBLISHED, PublishedFigures
from agar_pipeline.errors import EXTRAS
from agar_pipeline.processes.devices import count_cores, visible_gpus
from agar_pipeline.text.plurals import plural

SMALL_STRIDE = 8
"""A colony of 12 px is 1.5 cells of such a feature map; on coarser ones, touching colonies share a cell."""
CPU_PARAMETERS_M = 1.0
"""Above it, a step on a core takes seconds, and a training from pretrained weights takes days."""
PARAMETERS_M_PER_GB = 7.0
"""Faster R-CNN v2 has 43 M parameters, and trains in 5.8 GB: batch 4, 1,024 px, bf16-mixed, on an H100."""

LEAST_AP = 45.0
"""AP on COCO from which a detector for a GPU is recommended; the best of torchvision has 46.7."""

_NO_FIGURES = "has the sizes of the folder that model.weights names"


@dataclass(frozen=True)
class Machine:
    """What decides which detector suits."""

    cores: int
    gpu_gb: float | None
    """Memory of the first visible GPU; None: there is none."""

    @classmethod
    def find(cls) -> Machine:
        """Look at this machine. torch is imported only if there is a GPU, to ask for its memory."""
        memory = None
        if visible_gpus():
            import torch

            if torch.cuda.is_available():
                memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        return cls(count_cores(), memory)

    def __str__(self) -> str:
        gpu = "no GPU" if self.gpu_gb is None else f"a GPU of {self.gpu_gb:.0f} GB"
        return f"{gpu}, {plural(self.cores, 'core')}"


def list_models(machine: Machine) -> list[dict[str, Any]]:
    """Return a row for each name that `model.name` may have, JSON-ready, in the order of `config.DETECTORS`."""
    return [_row(name, machine) for name in DETECTORS]


def _row(name: str, machine: Machine) -> dict[str, Any]:
    figures, row = PUBLISHED.get(name), DETECTORS[name]
    rule = f"{row.least_side} px or more; " if row.least_side > 1 else ""
    why_not = None if figures is None else find_obstacle(figures, machine)
    return {
        "name": name,
        "parameters_m": None if figures is None else figures.parameters_m,
        "coco_ap": None if figures is None else figures.coco_ap,
        "source": None if figures is None else figures.source,
        "licence_of_weights": None if figures is None else figures.licence,
        "extra": extra_of(name),
        "input": f"{rule}`data: auto` takes crops of {row.crop_side} px",
        "finest_stride": None if figures is None else figures.finest_stride,
        "backbone": None if figures is None else figures.backbone,
        "recommended": None if figures is None else why_not is None,
        "why": _NO_FIGURES if figures is None else _say_why(figures, why_not),
    }


def extra_of(name: str) -> str | None:
    """Return the extra of pyproject.toml that a detector needs; None: the package alone is enough."""
    return ",".join(sorted({EXTRAS[package] for package in DETECTORS[name].packages})) or None


def find_obstacle(figures: PublishedFigures, machine: Machine) -> str | None:
    """Return why a detector is not recommended for small colonies on a machine; None if it is.

    >>> find_obstacle(PUBLISHED["ssdlite320_mobilenet_v3_large"], Machine(2, None))
    'its finest stride is 16: small colonies that touch share a cell'
    >>> find_obstacle(PUBLISHED["fasterrcnn_resnet50_fpn_v2"], Machine(2, None))
    '43.3 M parameters: a step of two images of 320 px takes 16 s on a core'
    >>> find_obstacle(PUBLISHED["fasterrcnn_resnet50_fpn_v2"], Machine(16, 24.0)) is None
    True
    """
    if figures.finest_stride > SMALL_STRIDE:
        return f"its finest stride is {figures.finest_stride}: small colonies that touch share a cell"
    if machine.gpu_gb is None:
        if figures.parameters_m <= CPU_PARAMETERS_M:
            return None
        took = f": a step of two images of 320 px takes {figures.step_s:g} s on a core" if figures.step_s else ""
        return f"{figures.parameters_m:g} M parameters{took or ', for a GPU'}"
    if figures.parameters_m > PARAMETERS_M_PER_GB * machine.gpu_gb:
        return f"{figures.parameters_m:g} M parameters: likely too many for {machine.gpu_gb:.0f} GB"
    if figures.coco_ap is not None and figures.coco_ap < LEAST_AP:
        return f"{figures.coco_ap:g} % on COCO; others that fit reach {LEAST_AP:g} % or more"
    return None


def _say_why(figures: PublishedFigures, why_not: str | None) -> str:
    fits = f"stride {figures.finest_stride}, and {figures.coco_ap} % on COCO"
    if figures.coco_ap is None:
        fits = f"its strides follow the colonies, from {figures.finest_stride} px"
    return (why_not or fits) + (f" (with {figures.backbone})" if figures.backbone else "")
