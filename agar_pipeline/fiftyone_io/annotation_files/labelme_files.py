"""Reads labelme: one JSON file per image with rectangles, circles and polygons; FiftyOne has no reader for it.

X-AnyLabeling and AnyLabeling write the same format, with four points for a rectangle.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

from agar_pipeline.coco.foreign_formats import name_json
from agar_pipeline.config import is_blank
from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import (
    OR_REMOVE,
    AnnotatedImage,
    ImportSource,
    Reading,
    finite_number,
    image_metadata,
    plain_attributes,
)
from agar_pipeline.fiftyone_io.annotation_files.file_pairs import by_stem, find_files, find_photos, pair_by_stem
from agar_pipeline.fiftyone_io.annotation_files.turned_photos import TurnedPhotos
from agar_pipeline.progress import Progress
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.text_files import TextFileError, read_json

_OF_CORNERS = frozenset({"rectangle", "polygon", "mask", "rotation", "oriented_rectangle", "quadrilateral"})
"""Types of shapes whose box is the bounding box of their points."""


def read_folder(source: ImportSource, progress: Progress) -> Reading:
    """Read the images with a JSON file of the same name beside them, or in the folder `source.annotations`.

    Raises:
        DatasetError: A folder does not exist, or there is no such pair.
    """
    images_dir, json_root = Path(source.images_dir), Path(source.annotations or source.images_dir)
    for folder in (images_dir, json_root):
        if not folder.is_dir():
            raise DatasetError(
                "is not a folder",
                where=folder,
                next_step="give the folder of the images, and --annotations with the folder of labelme's JSON files",
            )
    reading = Reading()
    images = by_stem(find_photos(images_dir, reading), images_dir)
    annotations = by_stem(find_files(json_root, {".json"}, reading), json_root)
    pairs = pair_by_stem(images, {stem: paths[0] for stem, paths in annotations.items()}, images_dir, reading)
    if not pairs and not reading.problems:
        raise DatasetError(
            f"found {plural(len(images), 'image')} in {images_dir} and {plural(len(annotations), 'JSON file')} in "
            f"{json_root}, but no image has a JSON file of the same name",
            next_step="give the folder of the images, and --annotations with the folder of labelme's JSON files",
        )
    turns = TurnedPhotos(source.exif, "labelme's file")
    reading.read_each([partial(_read_image, image, path, images_dir, turns) for image, path in pairs], progress)
    turns.report(reading)
    return reading


def _read_image(image_path: Path, json_path: Path, images_dir: Path, turns: TurnedPhotos) -> AnnotatedImage:
    plain = _load(json_path)
    stated = plain.get("imagePath")
    named = PureWindowsPath(stated).name if isinstance(stated, str) else ""  # splits at / and at backslashes
    if named not in ("", image_path.name) and "\0" not in named and image_path.with_name(named).is_file():
        raise AnnotationError(
            f"has the name of {image_path.name}, but its imagePath is {stated!r}, another photo of this folder",
            where=json_path,
            next_step="correct imagePath, or rename the file",
        )
    shapes = [_shape(entry, f"{json_path}: shape {number}") for number, entry in enumerate(plain["shapes"], start=1)]
    name, metadata = str(image_path.relative_to(images_dir)), image_metadata(image_path)
    boxes_xywh, stated_wh = [box for _, box, _ in shapes], (plain.get("imageWidth"), plain.get("imageHeight"))
    return AnnotatedImage(
        path=image_path,
        name=name,
        metadata=metadata,
        labels=[label for label, _, _ in shapes],
        boxes_rel_xywh=turns.place(boxes_xywh, (image_path, name), metadata, stated_wh, str(json_path)),
        attributes=[attributes for _, _, attributes in shapes],
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        plain = read_json(path)
    except TextFileError as error:
        raise AnnotationError(**error.in_file(path, OR_REMOVE)) from error
    if isinstance(plain, dict) and isinstance(plain.get("shapes"), list):
        return plain
    if (foreign := name_json(plain)) is not None:
        raise AnnotationError(f"is not a labelme file, but {foreign.name}", where=path, next_step=foreign.next_step)
    raise AnnotationError(
        "is not a labelme file: it must be an object with a list of shapes",
        where=path,
        next_step="save it again with labelme, or remove it with its image",
    )


def _shape(entry: Any, where: str) -> tuple[str, list[float], dict[str, Any]]:
    """Return label, upright box in pixels (x, y, width, height), and attributes of a shape."""
    label = entry.get("label") if isinstance(entry, dict) else entry
    if not isinstance(entry, dict) or is_blank(label):
        raise AnnotationError(
            f"has the label {label!r:.40}, which is empty or not a text",
            where=where,
            next_step="correct the label in labelme",
        )
    kind, points = str(entry.get("shape_type") or "polygon"), _points(entry, where)
    if len(points) < 2 or (len(points) != 2 if kind == "circle" else kind not in _OF_CORNERS):
        raise AnnotationError(
            f"is of the type {kind} with {plural(len(points), 'point')}, which does not enclose a box",
            where=f"{where} ({label})",
            next_step="replace it by a rectangle, circle or polygon",
        )
    if kind == "circle":  # points: the centre, and one on the edge
        (x, y), radius = points[0], math.dist(*points)
        points = [(x - radius, y - radius), (x + radius, y + radius)]
    (left, right), (top, bottom) = ((min(sides), max(sides)) for sides in zip(*points, strict=True))
    flags = entry["flags"] if isinstance(entry.get("flags"), dict) else {}
    kept = {key: entry.get(key) for key in ("group_id", "description", "difficult", "score")}
    return str(label), [left, top, right - left, bottom - top], plain_attributes({**flags, **kept})


def _points(entry: dict[str, Any], where: str) -> list[tuple[float, float]]:
    points = []
    for point in entry["points"] if isinstance(entry.get("points"), list) else []:
        sides = [finite_number(side) for side in point] if isinstance(point, list) else []
        if len(sides) != 2 or sides[0] is None or sides[1] is None:
            raise AnnotationError(
                f"has the point {str(point)[:60]}, which is not a pair of numbers",
                where=where,
                next_step="draw the shape again, or remove it",
            )
        points.append((sides[0], sides[1]))
    return points
