"""Places boxes of photos with an EXIF rotation according to the photo on which they were drawn (displayed or stored).

Here: converting boxes while files are read, and one sentence for all photos with the same problem; the policies are
those of snapshots of COCO files. Not here: the EXIF tag (`exif_orientation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.box_formats import turn_rel_xywh
from agar_pipeline.config import ExifPolicy
from agar_pipeline.errors import AnnotationError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import (
    LeftOutError,
    Reading,
    pixels_to_shares,
    require_size,
)
from agar_pipeline.photos.exif_orientation import QUARTER_TURNS
from agar_pipeline.text.ids import quote
from agar_pipeline.text.plurals import plural

_SHOWN = 3
Boxes = list[list[float]]


@dataclass
class TurnedPhotos:
    """Converts the boxes of one import to shares of the displayed photo, and collects the turned photos."""

    exif: ExifPolicy
    declared_by: str = ""
    """Name, in messages, of the file that states the sizes of the photos; empty if none does."""
    turned: list[str] = field(default_factory=list)
    """Photos with an EXIF rotation."""
    contrary: list[str] = field(default_factory=list)
    """Photos whose stated size is that of the stored photo, although their boxes should refer to the displayed one."""
    refused: list[str] = field(default_factory=list)
    """Photos that were refused because of their EXIF rotation."""

    def place(
        self,
        boxes_xywh: Boxes,
        photo: tuple[Path, str],
        metadata: Mapping[str, Any],
        stated_wh: tuple[object, object] = (None, None),
        where: str = "",
    ) -> Boxes:
        """Convert boxes from pixels to shares of the photo as displayed.

        Args:
            boxes_xywh: Boxes in pixels, as in the annotation.
            photo: Path of the photo, and its name in messages.
            metadata: Result of `image_metadata`.
            stated_wh: Width and height in the annotation; None if they are missing.
            where: Name of the annotation in messages.

        Raises:
            LeftOutError: The photo is turned and refused, or its stated size is that of the stored photo; `report` adds
                one problem for all such photos.
            AnnotationError: The annotation states another size.
        """
        stated_wh = _whole(stated_wh[0], where), _whole(stated_wh[1], where)
        orientation = self._orientation(photo)
        shown_wh = metadata["width"], metadata["height"]
        stored_wh = shown_wh[::-1] if orientation in QUARTER_TURNS else shown_wh
        as_stored = self.exif == "stored" and orientation != 1
        if not as_stored and tuple(stated_wh) == stored_wh != shown_wh:
            self.contrary.append(photo[1])
            raise LeftOutError
        width, height = stored_wh if as_stored else shown_wh
        drawn_on = {"width": width, "height": height}
        require_size(stated_wh, drawn_on, where)
        return self._turn(pixels_to_shares(boxes_xywh, drawn_on), orientation)

    def place_shares(self, boxes_rel_xywh: Boxes, photo: tuple[Path, str]) -> Boxes:
        """Convert boxes in shares of the photo on which they were drawn to shares of the photo as displayed."""
        return self._turn(boxes_rel_xywh, self._orientation(photo))

    def _orientation(self, photo: tuple[Path, str]) -> int:
        from agar_pipeline.snapshot_files.file_hashes import measure_photo

        orientation = measure_photo(str(photo[0]))[2]
        if orientation == 1:
            return 1
        if self.exif == "refuse":
            self.refused.append(photo[1])
            raise LeftOutError
        self.turned.append(photo[1])
        return orientation

    def _turn(self, shares: Boxes, orientation: int) -> Boxes:
        if self.exif != "stored" or orientation == 1:
            return shares
        boxes_rel_xywh = np.array(shares, dtype=np.float64).reshape(-1, 4)
        return turn_rel_xywh(boxes_rel_xywh, np.full(len(boxes_rel_xywh), orientation)).tolist()

    def report(self, reading: Reading) -> None:
        """Add one problem or note to the reading for all refused, all contrary and all turned photos."""
        if self.refused:
            reading.add_problem(
                AnnotationError(
                    f"{plural(len(self.refused), 'photo is', 'photos are')} turned by EXIF data: "
                    f"{_names(self.refused)}",
                    next_step="give --exif displayed or --exif stored, as their boxes were drawn, or save the photos "
                    "upright",
                )
            )
        if self.contrary:
            reading.add_problem(
                AnnotationError(
                    f"{plural(len(self.contrary), 'photo is', 'photos are')} turned by a quarter by EXIF data, but "
                    f"{self.declared_by} states the size as stored, so that boxes may be misplaced: "
                    f"{_names(self.contrary)}",
                    next_step="give --exif stored if the boxes were drawn on the stored photos, otherwise correct the "
                    "sizes",
                )
            )
        turned = [name for name in self.turned if name not in set(self.contrary)]
        if turned:
            reading.notes.append(
                f"{plural(len(turned), 'photo is', 'photos are')} turned by EXIF data; boxes are read as drawn on the "
                f"photo as {self.exif} (--exif): {_names(turned)}"
            )


def _whole(side: object, where: str) -> int | None:
    """Check a width or height in an annotation; raises AnnotationError unless it is a whole number or None."""
    if side is None or (type(side) is int):
        return side
    if isinstance(side, float) and side.is_integer():
        return int(side)
    raise AnnotationError(
        f"states the size {quote(side)} of the image, which is not a whole number of pixels",
        where=where,
        next_step="correct width and height",
    )


def _names(names: list[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (" …" if len(names) > _SHOWN else "")
