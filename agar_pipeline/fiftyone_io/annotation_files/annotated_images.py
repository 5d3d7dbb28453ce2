"""Images with their boxes as annotation files state them, whatever the format, and what was wrong on the way there.

Here: what the readers of all formats share. Not here: finding the files (`file_pairs`), the database.
"""

from __future__ import annotations

import math
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agar_pipeline.coco.box_formats import xywh_to_rel_xywh
from agar_pipeline.config import ExifPolicy, UnlabelledPolicy
from agar_pipeline.errors import AnnotationError, ImageFileError, PipelineError
from agar_pipeline.fiftyone_io.annotation_files.given_parts import GivenParts
from agar_pipeline.photos.folder_walk import PassedOver
from agar_pipeline.photos.formats import open_image, why_not_read

_RESERVED = frozenset({"id", "tags", "label", "bounding_box", "mask", "mask_path", "confidence", "index", "attributes"})
"""Fields of FiftyOne's detections: an attribute of such a name would be taken for them."""
_EVERY = 100
_LARGEST_INTEGER = 2**63 - 1
Format = Literal["agar", "coco", "voc", "yolo", "labelme"]
Progress = Callable[[int, int], None]
"""Called with images done and images in all."""


@dataclass(frozen=True)
class ImportSource:
    """What is imported; plain and JSON-ready."""

    format: Format
    images_dir: str
    annotations: str | None = None
    training_lists: str | None = None
    class_map: dict[str, int] = field(default_factory=dict)
    """Label → category id: labels become the names of their classes. Empty: labels stay as they are."""
    exif: ExifPolicy = "displayed"
    """What the boxes of a photo with an EXIF rotation were drawn on."""
    unlabelled: UnlabelledPolicy = "leave_out"
    """What becomes of images that nobody has labelled: `fail` refuses the folder, `leave_out` names them, `keep`
    imports them as samples without labels."""


@dataclass(frozen=True)
class AnnotatedImage:
    """One image, and what its annotation says."""

    path: Path
    name: str
    """Relative to the images' folder, the same on every machine."""
    metadata: dict[str, Any]
    """size_bytes, mime_type, width, height, num_channels."""
    labels: list[str]
    boxes_rel_xywh: list[list[float]]
    attributes: list[dict[str, Any]]
    """What else each box has; plain values."""
    fields: dict[str, str | None] = field(default_factory=dict)
    """Text fields of the sample, by name."""
    uncountable: bool = False
    """Objects are there but not marked: no ground truth for a detector."""
    miscounted: bool = False
    """It states another number of objects than it has boxes."""
    labelled: bool = True
    """Somebody has looked; without boxes, nothing was there."""


class LeftOutError(AnnotationError):
    """An image is left out; whoever raises it says so once, for all that are left out for the same reason."""


@dataclass
class Reading:
    """What a reader found in a folder."""

    images: list[AnnotatedImage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """One sentence per image, or annotation file, that was left out since it is broken."""
    images_without_annotation: list[str] = field(default_factory=list)
    """Those that are marked as not done, too."""
    annotations_without_image: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What somebody should know of what was read all the same, a sentence each."""
    parts: GivenParts | None = None
    """The parts that the files say images are in."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Label as written → name of the class that it became."""
    unknown_labels: dict[str, int] = field(default_factory=dict)
    """Boxes of each label that the class map does not know."""
    passed_over: PassedOver = field(default_factory=PassedOver)

    def add_problem(self, problem: str) -> None:
        """Once, however often a folder is walked."""
        if problem not in self.problems:
            self.problems.append(problem)

    def read_each(self, reads: Sequence[Callable[[], AnnotatedImage]], progress: Progress) -> None:
        """Call one function per image; what cannot be read becomes a problem, the rest is kept."""
        for index, read in enumerate(reads, start=1):
            try:
                self.images.append(read())
            except LeftOutError:
                pass
            except PipelineError as error:
                self.problems.append(str(error))
            except OSError as error:
                self.problems.append(f"{error.filename} cannot be read: {error.strerror}")
            if index % _EVERY == 0 or index == len(reads):
                progress(index, len(reads))


def image_metadata(path: Path) -> dict[str, Any]:
    """Size, type and channels from the file's header.

    Raises:
        ImageFileError: it cannot be read as an image.
    """
    from agar_pipeline.snapshot_files.file_hashes import displayed_size

    width, height = displayed_size(str(path))
    if not width or not height:
        raise ImageFileError(f"{path} cannot be read as an image, it is {why_not_read(path)}")
    with open_image(path) as image:
        channels = len(image.getbands())
        if reason := why_not_read(path, image):
            raise ImageFileError(f"{path} cannot be read as an image, it is {reason}")
    return {
        "size_bytes": path.stat().st_size,
        "mime_type": mimetypes.guess_type(path.name)[0],
        "width": width,
        "height": height,
        "num_channels": channels,
    }


def pixels_to_shares(boxes_xywh: list[list[float]], metadata: Mapping[str, Any]) -> list[list[float]]:
    """Boxes in pixels as shares of their image."""
    size_wh = np.array([metadata["width"], metadata["height"]])
    return xywh_to_rel_xywh(np.array(boxes_xywh, dtype=np.float64).reshape(-1, 4), size_wh).tolist()


def require_size(stated_wh: tuple[object, object], metadata: Mapping[str, Any], where: str) -> None:
    """Refuse boxes that were drawn on an image of another size, a turned one for instance; an unknown size passes.

    Raises:
        AnnotationError: the annotation states another size than the file has, as `metadata` says.
    """
    in_file = metadata["width"], metadata["height"]
    if all(isinstance(side, int) and side > 0 for side in stated_wh) and tuple(stated_wh) != in_file:
        stated = f"{stated_wh[0]}×{stated_wh[1]}"
        turned = " (turned)" if tuple(stated_wh) == in_file[::-1] else ""
        raise AnnotationError(
            f"{where}: the boxes were drawn on {stated} pixels, the image has {in_file[0]}×{in_file[1]}{turned}: "
            "put the original image back, or draw them again"
        )


def finite_number(value: object) -> float | None:
    """The number, or None where it is none, or not a finite one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def plain_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Those that a detection can hold beside its own fields: texts, numbers and truth values under a plain name."""
    return {
        name: value
        for name, value in attributes.items()
        if isinstance(name, str)
        and name.isidentifier()
        and not name.startswith("_")
        and name not in _RESERVED
        and isinstance(value, str | int | float)
        and not (isinstance(value, int) and abs(value) > _LARGEST_INTEGER)
    }
