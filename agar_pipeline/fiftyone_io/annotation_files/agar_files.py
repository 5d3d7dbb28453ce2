"""Reads AGAR's own annotation files, `N.json` beside `N.jpg`, for which FiftyOne has no reader."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from agar_pipeline.coco.foreign_formats import AGAR, name_json
from agar_pipeline.config import is_blank
from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import (
    OR_REMOVE,
    AnnotatedImage,
    ImportSource,
    Reading,
    finite_number,
    image_metadata,
)
from agar_pipeline.fiftyone_io.annotation_files.file_pairs import by_stem, find_files, find_photos, pair_by_stem
from agar_pipeline.fiftyone_io.annotation_files.training_lists import FOLDER
from agar_pipeline.fiftyone_io.annotation_files.turned_photos import TurnedPhotos
from agar_pipeline.progress import Progress
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.text_files import TextFileError, read_json


def read_folder(source: ImportSource, progress: Progress) -> Reading:
    """Read the images in the whole tree below the folder that have a JSON file of the same name beside them.

    Raises:
        DatasetError: The folder does not exist or has no such pair.
    """
    images_dir = Path(source.images_dir)
    if not images_dir.is_dir():
        raise DatasetError(
            "is not a folder", where=images_dir, next_step="give the folder that holds AGAR's N.jpg and N.json"
        )
    reading = Reading()
    lists = [images_dir / FOLDER, Path(source.training_lists or images_dir / FOLDER)]
    images = by_stem(find_photos(images_dir, reading, skip=lists), images_dir)
    annotations = by_stem(find_files(images_dir, {".json"}, reading, skip=lists), images_dir)
    pairs = pair_by_stem(images, {stem: paths[0] for stem, paths in annotations.items()}, images_dir, reading)
    if not pairs and not reading.problems:
        raise DatasetError(
            f"holds {plural(len(images), 'image')} and {plural(len(annotations), 'JSON file')}, but no image with a "
            "JSON file of the same name beside it",
            where=images_dir,
            next_step="give the folder that holds AGAR's N.jpg and N.json",
        )
    turns = TurnedPhotos(source.exif)
    reading.read_each([partial(_read_plate, image, path, images_dir, turns) for image, path in pairs], progress)
    turns.report(reading)
    return reading


def _read_plate(image_path: Path, json_path: Path, images_dir: Path, turns: TurnedPhotos) -> AnnotatedImage:
    """Read and check one pair.

    Raises:
        AnnotationError: The JSON cannot be understood; the message names the file and the key.
        ImageFileError: The image has no readable header.
    """
    try:
        plain = read_json(json_path)
    except TextFileError as error:
        raise AnnotationError(**error.in_file(json_path, OR_REMOVE)) from error
    foreign = name_json(plain)
    is_own = foreign is AGAR or (isinstance(plain, dict) and isinstance(plain.get("labels"), list))
    if foreign is not None and not is_own:
        raise AnnotationError(
            f"is not in AGAR's format, but {foreign.name}", where=json_path, next_step=foreign.next_step
        )
    if not isinstance(plain, dict):
        raise AnnotationError(
            f"holds a {type(plain).__name__}, but must hold an object",
            where=json_path,
            next_step="export it again in AGAR's format, or remove it with its image",
        )
    labels, boxes_xywh, uncountable = _annotation(plain, json_path)
    name, metadata = str(image_path.relative_to(images_dir)), image_metadata(image_path)
    return AnnotatedImage(
        path=image_path,
        name=name,
        metadata=metadata,
        labels=labels,
        boxes_rel_xywh=turns.place(boxes_xywh, (image_path, name), metadata),
        attributes=[{} for _ in labels],
        fields={
            "agar_background": _optional_text(plain.get("background")),
            "agar_sample_id": _optional_text(plain.get("sample_id")),
        },
        uncountable=uncountable,
        miscounted=bool(labels) and plain.get("colonies_number", len(labels)) != len(labels),
    )


def _annotation(plain: dict[str, Any], path: Path) -> tuple[list[str], list[list[float]], bool]:
    """Return labels, boxes in pixels (x, y, width, height), and whether the plate is uncountable."""
    entries = plain.get("labels", [])
    if not isinstance(entries, list):
        raise _wrong(path, "labels", entries, "a list")
    if "labels" not in plain and (other := _list_of_objects(plain)):
        raise AnnotationError(
            f"has no labels, but {other!r} with a list of objects",
            where=path,
            next_step="call that list labels, or export the file again in AGAR's format",
        )
    if not entries:
        number = plain.get("colonies_number")
        if not isinstance(number, int) or isinstance(number, bool):
            raise _wrong(path, "colonies_number", number, "a whole number, because the file has no labels")
        return [], [], number != 0
    labels: list[str] = []
    boxes_xywh: list[list[float]] = []
    for index, entry in enumerate(entries):
        where = f"labels[{index}]"
        if not isinstance(entry, dict):
            raise _wrong(path, where, entry, "an object")
        if is_blank(entry.get("class")):
            raise _wrong(path, f"{where}.class", entry.get("class"), "the name of a class")
        labels.append(entry["class"])
        boxes_xywh.append([_side(entry, key, path, where) for key in ("x", "y", "width", "height")])
    return labels, boxes_xywh, False


def _list_of_objects(plain: dict[str, Any]) -> str | None:
    """Return the first key with a list of objects, which may be the boxes under another name; None without one."""
    found = [key for key, value in plain.items() if isinstance(value, list) and any(isinstance(v, dict) for v in value)]
    return found[0] if found else None


def _side(entry: dict[str, Any], key: str, path: Path, where: str) -> float:
    number = finite_number(entry.get(key))
    if number is None:
        raise _wrong(path, f"{where}.{key}", entry.get(key), "a number of pixels")
    return number


def _wrong(path: Path, key: str, value: object, expected: str) -> AnnotationError:
    what = "is missing" if value is None else f"is {str(value)[:60]!r}"
    return AnnotationError(
        f"{what}; it must be {expected}",
        where=f"{path}: {key}",
        next_step="correct the file, or remove it with its image",
    )


def _optional_text(value: object) -> str | None:
    return None if value is None else str(value)
