"""Reads one Pascal VOC annotation file: its objects, and the name and size of its image.

FiftyOne's parser is not used: it truncates coordinates to whole pixels, and fails with a traceback for an empty object.
Here: the content of the file. Not here: the image that it belongs to (`voc_files`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from agar_pipeline.coco.foreign_formats import name_xml
from agar_pipeline.coco.rotated_boxes import degrees_of, upright_box, without_turn
from agar_pipeline.config import is_blank
from agar_pipeline.errors import AnnotationError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import OR_REMOVE, finite_number, plain_attributes
from agar_pipeline.text.text_files import TextFileError, read_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NOT_ATTRIBUTES = frozenset({"name", "bndbox", "attributes"})
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "": None}
_MEND = "correct the file, or remove it with its image"


@dataclass(frozen=True)
class VocAnnotation:
    """Content of a VOC annotation file."""

    stated_wh: tuple[int | None, int | None] = (None, None)
    """Width and height of the image that the boxes were drawn on."""
    file_name: str = ""
    """Name of its image in the file, with / between folders; empty if there is none."""
    labels: list[str] = field(default_factory=list)
    boxes_xywh: list[list[float]] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)


def read_voc(path: Path) -> VocAnnotation:
    """Read one file.

    Raises:
        OSError: The file cannot be read.
        AnnotationError: The file is not a valid VOC annotation; the message names the object and the value.
    """
    try:
        root = read_xml(path)
        if (foreign := name_xml(root.tag)) is not None:
            raise AnnotationError(
                f"is not a VOC annotation, but {foreign.name}", where=path, next_step=foreign.next_step
            )
        if root.tag != "annotation":
            raise AnnotationError(
                f"is not a VOC annotation: it holds <{root.tag[:40]}>, not <annotation>",
                where=path,
                next_step="export it again as Pascal VOC, or remove it with its image",
            )
        if not len(root):
            raise AnnotationError("is not a VOC annotation: its <annotation> is empty", where=path, next_step=_MEND)
    except TextFileError as error:
        raise AnnotationError(
            f"is not a VOC annotation: it {error.what}", where=path, next_step=error.next_step + OR_REMOVE
        ) from error
    read = VocAnnotation(_size(root, path), _image_name(root))
    for number, entry in enumerate(root.findall("object"), start=1):
        where = f"{path}: object {number}"
        read.labels.append(_label(entry, where))
        box, attributes = _box(entry, where), _attributes(entry)
        if degrees := degrees_of(attributes):
            box, attributes = upright_box(box, degrees), without_turn(attributes)
        read.boxes_xywh.append(box)
        read.attributes.append(plain_attributes(attributes))
    return read


def _text(parent: Element, tag: str) -> str:
    return (parent.findtext(tag) or "").strip()


def _size(root: Element, path: Path) -> tuple[int | None, int | None]:
    size = root.find("size")
    if size is None:
        return None, None
    width, height = (_whole(size, side, path) for side in ("width", "height"))
    return width, height


def _whole(size: Element, side: str, path: Path) -> int | None:
    text = _text(size, side)
    number = _number(text)
    if text and (number is None or not number.is_integer()):
        raise AnnotationError(
            f"has the {side} {text[:20]!r} in its size, which is not a number of pixels", where=path, next_step=_MEND
        )
    return int(number) if number else None


def _image_name(root: Element) -> str:
    """Return `<filename>`, or else the last part of `<path>`, with / or backslashes as separators."""
    written = _text(root, "filename").replace("\\", "/")
    return written or PurePosixPath(_text(root, "path").replace("\\", "/")).name


def _label(entry: Element, where: str) -> str:
    if not len(entry):
        raise AnnotationError(
            "is empty, but must hold a name and a bndbox", where=where, next_step="correct it, or remove the <object>"
        )
    label = _text(entry, "name")
    if is_blank(label):
        raise AnnotationError("has no name", where=where, next_step="write its class between <name> and </name>")
    return label


def _box(entry: Element, where: str) -> list[float]:
    """Return x, y, width and height of the first `bndbox`; the boxes of VOC's parts follow after it."""
    box = entry.find("bndbox")
    if box is None:
        raise AnnotationError(
            f"has no bndbox; it holds {', '.join(child.tag for child in entry)[:80]}",
            where=where,
            next_step="draw a box, or remove the object",
        )
    corners = []
    for corner in _CORNERS:
        text = _text(box, corner)
        if not text:
            raise AnnotationError(
                f"has no {corner} in its bndbox", where=where, next_step="add it, or remove the object"
            )
        number = _number(text)
        if number is None:
            raise AnnotationError(
                f"has the {corner} {text[:20]!r}, which is not a number",
                where=where,
                next_step="correct it, or remove the object",
            )
        corners.append(number)
    left, top, right, bottom = corners
    for low, high, names in ((left, right, ("xmin", "xmax")), (top, bottom, ("ymin", "ymax"))):
        if low > high:
            raise AnnotationError(
                f"has {names[0]} {low:g} beyond {names[1]} {high:g}: its corners are in reverse order, or are width "
                "and height",
                where=where,
                next_step="write the left upper corner as xmin and ymin, the right lower one as xmax and ymax",
            )
    return [left, top, right - left, bottom - top]


def _number(text: str) -> float | None:
    try:
        return finite_number(float(text))
    except ValueError:
        return None


def _attributes(entry: Element) -> dict[str, Any]:
    """Return an object's other values, including CVAT's list of named attributes."""
    found = {child.tag: _value(child.text) for child in entry if child.tag not in _NOT_ATTRIBUTES and not len(child)}
    for each in entry.iterfind("attributes/attribute"):
        found[_text(each, "name")] = _value(each.findtext("value"))
    return found


def _value(written: str | None) -> Any:
    text = (written or "").strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return _WORDS.get(text, text)
