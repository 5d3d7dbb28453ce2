"""AGAR's own annotation files: `N.json` beside `N.jpg`. Pure reading and checking, no database."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from agar_pipeline.detection.boxes import xywh_to_rel_xywh
from agar_pipeline.errors import AnnotationError, DatasetError, ImageFileError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_MIME_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}


@dataclass(frozen=True)
class Plate:
    """One photo and what AGAR says about it."""

    path: Path
    name: str
    """Relative to the images' folder, the same on every machine."""
    digest: str
    """Hash of the annotation and of the image's metadata: the plate changed when it did."""
    metadata: dict[str, Any]
    """size_bytes, mime_type, width, height, num_channels."""
    labels: list[str]
    boxes_rel_xywh: list[list[float]]
    uncountable: bool
    """AGAR counted colonies, or gave up counting them, without marking any: no ground truth for a detector."""
    background: str | None
    sample_id: str | None


@dataclass
class AgarFolder:
    """The pairs in a folder, and the files that lack their other half (relative paths, sorted)."""

    pairs: list[tuple[Path, Path]] = field(default_factory=list)
    missing_annotations: list[str] = field(default_factory=list)
    missing_images: list[str] = field(default_factory=list)


def find_pairs(images_dir: Path) -> AgarFolder:
    """Images and annotations of one name in one folder, in the whole tree below `images_dir`.

    Raises:
        DatasetError: there is no such folder, or no pair in it.
    """
    if not images_dir.is_dir():
        raise DatasetError(f"{images_dir} is not a folder: give the folder that holds AGAR's N.jpg and N.json")
    images: dict[Path, Path] = {}
    annotations: dict[Path, Path] = {}
    for folder, _, names in os.walk(images_dir):
        for name in sorted(names):
            path = Path(folder, name)
            _require_utf8(path)
            if path.suffix.lower() in IMAGE_SUFFIXES:
                images[path.with_suffix("")] = path
            elif path.suffix.lower() == ".json":
                annotations[path.with_suffix("")] = path
    stems = sorted(images.keys() & annotations.keys())
    if not stems:
        raise DatasetError(
            f"{images_dir} holds {len(images)} images and {len(annotations)} JSON files, but no image with a JSON file "
            "of its name beside it: give the folder of AGAR's N.jpg and N.json"
        )
    return AgarFolder(
        [(images[stem], annotations[stem]) for stem in stems],
        [str(images[stem].relative_to(images_dir)) for stem in sorted(images.keys() - annotations.keys())],
        [str(annotations[stem].relative_to(images_dir)) for stem in sorted(annotations.keys() - images.keys())],
    )


def _require_utf8(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise AnnotationError(f"the name of {path!r} is not UTF-8, no database can hold it: rename the file") from None


def read_plate(image_path: Path, json_path: Path, images_dir: Path) -> Plate:
    """Read and check one pair.

    Raises:
        AnnotationError: the JSON cannot be understood; names file and key.
        ImageFileError: the image has no readable header.
    """
    text = json_path.read_bytes()
    try:
        plain = orjson.loads(text)
    except ValueError as error:
        raise AnnotationError(f"{json_path} is not JSON ({error}): mend it, or remove it with its image") from error
    if not isinstance(plain, dict):
        raise AnnotationError(f"{json_path} holds a {type(plain).__name__}, AGAR's format is an object: mend it")
    metadata = _metadata(image_path)
    labels, boxes_xywh, uncountable = _annotation(plain, json_path)
    size_wh = np.array([metadata["width"], metadata["height"]])
    boxes_rel_xywh = xywh_to_rel_xywh(np.array(boxes_xywh, dtype=np.float64).reshape(-1, 4), size_wh)
    return Plate(
        path=image_path,
        name=str(image_path.relative_to(images_dir)),
        digest=hashlib.sha256(orjson.dumps([plain, metadata], option=orjson.OPT_SORT_KEYS)).hexdigest(),
        metadata=metadata,
        labels=labels,
        boxes_rel_xywh=boxes_rel_xywh.tolist(),
        uncountable=uncountable,
        background=_optional_text(plain.get("background")),
        sample_id=_optional_text(plain.get("sample_id")),
    )


def _annotation(plain: dict[str, Any], path: Path) -> tuple[list[str], list[list[float]], bool]:
    """Labels, boxes in pixels, and whether the plate is uncountable."""
    entries = plain.get("labels", [])
    if not isinstance(entries, list):
        raise _wrong(path, "labels", entries, "a list")
    if not entries:
        number = plain.get("colonies_number")
        if not isinstance(number, int) or isinstance(number, bool):
            raise _wrong(path, "colonies_number", number, "a whole number, as there are no labels")
        return [], [], number != 0
    labels: list[str] = []
    boxes_xywh: list[list[float]] = []
    for index, entry in enumerate(entries):
        where = f"labels[{index}]"
        if not isinstance(entry, dict):
            raise _wrong(path, where, entry, "an object")
        if not isinstance(entry.get("class"), str):
            raise _wrong(path, f"{where}.class", entry.get("class"), "a text")
        labels.append(entry["class"])
        boxes_xywh.append([_side(entry, key, path, where) for key in ("x", "y", "width", "height")])
    return labels, boxes_xywh, False


def _side(entry: dict[str, Any], key: str, path: Path, where: str) -> float:
    value = entry.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(path, f"{where}.{key}", value, "a number of pixels")
    return float(value)


def _wrong(path: Path, key: str, value: object, expected: str) -> AnnotationError:
    what = "is missing" if value is None else f"is {str(value)[:60]!r}"
    return AnnotationError(f"{path}: {key} {what}, it must be {expected}: mend the file, or remove it with its image")


def _metadata(path: Path) -> dict[str, Any]:
    from PIL import Image

    from agar_pipeline.fiftyone_io.file_hashes import displayed_size

    width, height = displayed_size(str(path))
    if not width or not height:
        raise ImageFileError(f"{path} cannot be read as an image: replace it, or remove it together with its JSON file")
    with Image.open(path) as image:
        channels = len(image.getbands())
    return {
        "size_bytes": path.stat().st_size,
        "mime_type": _MIME_TYPES[path.suffix.lower()],
        "width": width,
        "height": height,
        "num_channels": channels,
    }


def _optional_text(value: object) -> str | None:
    return None if value is None else str(value)
