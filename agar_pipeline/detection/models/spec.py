"""The plain values from which a detector is built; every checkpoint contains them.

Here: the spec. Not here: choosing it for some data (`model_fitting`), building from it (`families`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DetectorSpec:
    """Plain values from which a detector is built; every checkpoint contains them."""

    name: str
    num_classes: int
    """K, without a background class."""
    input_size: int
    """Longer side of the images that the model was trained on, pixels: a whole plate, or a crop of it."""
    detections_per_image: int
    """Maximum number of detections; an image that reaches it may have lost detections."""
    score_floor: float
    anchor_sizes: dict[int, tuple[float, ...]]
    """For `tiny` and on backbones of timm: stride → sides. For other Faster R-CNNs and RetinaNets: the smallest side
    under the key 0. Else empty."""
    tile_overlap: int | None = None
    """None: plates are predicted in one pass. Else: in tiles of side `input_size` with this overlap, pixels."""
    pretrained_backbone: bool = False
    """Whether training started from pretrained backbone weights; torchvision then builds some layers differently."""
    photo_side: int | None = None
    """Side to which photos are scaled before crops or tiles are cut from them, pixels.

    None: whole plates are scaled to `input_size`, and tiles are cut from photos at their own size.
    """
    architecture: dict[str, Any] | None = None
    """JSON-ready sizes of layers that the name does not determine. None: the name determines all of them."""

    @property
    def image_side(self) -> int | None:
        """Side to which photos are scaled; None: they keep their size."""
        whole = self.input_size if self.tile_overlap is None else None
        return whole if self.photo_side is None else self.photo_side

    def to_plain(self) -> dict[str, Any]:
        """Inverse of `from_plain`. An `architecture` of None is left out, as in checkpoints of earlier versions."""
        plain = dataclasses.asdict(self)
        if self.architecture is None:
            del plain["architecture"]
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> DetectorSpec:
        sizes = {int(stride): tuple(sides) for stride, sides in plain["anchor_sizes"].items()}
        return cls(**{**plain, "anchor_sizes": sizes})
