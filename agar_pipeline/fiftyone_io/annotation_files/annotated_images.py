"""Types and checks that the readers of all annotation formats share: images with boxes, and problems of a folder.

Not here: finding the files (`file_pairs`), the database.
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
from agar_pipeline.errors import AnnotationError, PipelineError
from agar_pipeline.fiftyone_io.annotation_files.given_parts import GivenParts
from agar_pipeline.photos.folder_walk import PassedOver
from agar_pipeline.photos.formats import explain_unopened, open_image, refuse_format
from agar_pipeline.progress import Progress

_RESERVED = frozenset({"id", "tags", "label", "bounding_box", "mask", "mask_path", "confidence", "index", "attributes"})
"""Fields of FiftyOne's detections; an attribute with one of these names would overwrite the field."""
OR_REMOVE = ", or remove it with its image"
"""Ends the next step for an annotation file of one image."""
_EVERY = 100
_LARGEST_INTEGER = 2**63 - 1
Format = Literal["agar", "coco", "voc", "yolo", "labelme"]


@dataclass(frozen=True)
class ImportSource:
    """Format, folders and options of an import; JSON-ready."""

    format: Format
    images_dir: str
    annotations: str | None = None
    training_lists: str | None = None
    class_map: dict[str, int] = field(default_factory=dict)
    """Label → category id, used to replace labels by class names. If it is empty, labels are unchanged."""
    exif: ExifPolicy = "displayed"
    """Whether the boxes of photos with an EXIF rotation refer to the displayed or the stored photo, or are refused."""
    unlabelled: UnlabelledPolicy = "leave_out"
    """Treatment of images that nobody has labelled: `fail` refuses the folder, `leave_out` only lists them, `keep`
    imports them as samples without labels."""


@dataclass(frozen=True)
class AnnotatedImage:
    """One image with the content of its annotation."""

    path: Path
    name: str
    """Path relative to the images' folder, so that it is the same on every machine."""
    metadata: dict[str, Any]
    """Result of `image_metadata`: size_bytes, mime_type, width, height (pixels, as displayed), num_channels."""
    labels: list[str]
    boxes_rel_xywh: list[list[float]]
    attributes: list[dict[str, Any]]
    """Other values of each box, by name."""
    fields: dict[str, str | None] = field(default_factory=dict)
    """Name → value of the sample's text fields."""
    uncountable: bool = False
    """Whether the image shows objects that are not marked, so that it is no ground truth for a detector."""
    miscounted: bool = False
    """Whether the annotation states another number of objects than it has boxes."""
    labelled: bool = True
    """Whether somebody has labelled the image; a labelled image without boxes shows no object."""


class LeftOutError(Exception):
    """An image is left out and is not a problem of its own; the caller reports all images with this reason together."""


@dataclass
class Reading:
    """Images and problems that a reader found in a folder."""

    images: list[AnnotatedImage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """One line, with the next step, for each broken image or annotation file that was left out."""
    images_without_annotation: list[str] = field(default_factory=list)
    """Images without an annotation, and those whose annotation is marked as unfinished."""
    annotations_without_image: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences about images that were read, which the user should know."""
    parts: GivenParts | None = None
    """Parts of a split that the files assign to images."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Label as written → class name that replaced it."""
    unknown_labels: dict[str, int] = field(default_factory=dict)
    """Label that is not in the class map → number of its boxes."""
    passed_over: PassedOver = field(default_factory=PassedOver)

    def add_problem(self, error: PipelineError) -> None:
        """Add a problem unless it is already listed, because a folder may be walked more than once."""
        if error.in_one_line not in self.problems:
            self.problems.append(error.in_one_line)

    def read_each(self, reads: Sequence[Callable[[], AnnotatedImage]], progress: Progress) -> None:
        """Call one function per image and add its result; errors become problems."""
        for index, read in enumerate(reads, start=1):
            try:
                self.images.append(read())
            except LeftOutError:
                pass
            except PipelineError as error:
                self.add_problem(error)
            except OSError as error:
                self.add_problem(
                    AnnotationError(
                        f"cannot be read ({error.strerror})",
                        where=error.filename,
                        next_step="correct its permissions, and check the disk",
                    )
                )
            if index % _EVERY == 0 or index == len(reads):
                progress(index, len(reads))


def image_metadata(path: Path) -> dict[str, Any]:
    """Read size, type and number of channels from the header of the image file.

    Raises:
        ImageFileError: The file cannot be read as an image.
    """
    from agar_pipeline.snapshot_files.file_hashes import displayed_size

    width, height = displayed_size(str(path))
    if not width or not height:
        raise explain_unopened(path)
    with open_image(path) as image:
        channels = len(image.getbands())
        if error := refuse_format(path, image):
            raise error
    return {
        "size_bytes": path.stat().st_size,
        "mime_type": mimetypes.guess_type(path.name)[0],
        "width": width,
        "height": height,
        "num_channels": channels,
    }


def pixels_to_shares(boxes_xywh: list[list[float]], metadata: Mapping[str, Any]) -> list[list[float]]:
    """Convert boxes (x, y, width, height) from pixels to shares of their image.

    >>> pixels_to_shares([[10, 20, 30, 40]], {"width": 100, "height": 200})
    [[0.1, 0.1, 0.3, 0.2]]
    """
    size_wh = np.array([metadata["width"], metadata["height"]])
    return xywh_to_rel_xywh(np.array(boxes_xywh, dtype=np.float64).reshape(-1, 4), size_wh).tolist()


def require_size(stated_wh: tuple[object, object], metadata: Mapping[str, Any], where: str) -> None:
    """Refuse boxes that were drawn on an image of another size, for instance a turned one; unknown sizes are accepted.

    Raises:
        AnnotationError: The annotation states a size that differs from the file's size in `metadata`.
    """
    in_file = metadata["width"], metadata["height"]
    if all(isinstance(side, int) and side > 0 for side in stated_wh) and tuple(stated_wh) != in_file:
        stated = f"{stated_wh[0]}×{stated_wh[1]}"
        turned = " (turned)" if tuple(stated_wh) == in_file[::-1] else ""
        raise AnnotationError(
            f"has boxes that were drawn on {stated} pixels, but the image has {in_file[0]}×{in_file[1]}{turned}",
            where=where,
            next_step="put the original image back, or draw the boxes again",
        )


def finite_number(value: object) -> float | None:
    """Return the value as a float; None if it is not a number or not finite.

    >>> finite_number(3), finite_number("3"), finite_number(True), finite_number(math.inf)
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def plain_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Select the attributes that a FiftyOne detection can store: texts, numbers and booleans with a valid name."""
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
