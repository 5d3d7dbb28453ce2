"""COCO: one JSON file for all images, its entries read by FiftyOne's own parser. Runs where FiftyOne may be imported.

FiftyOne's importer is not used as a whole: it takes images from wherever `file_name` points, keeps the last of two
images with one id, passes over annotations of unknown images, and stops at the first entry that is broken.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from agar_pipeline.detection.image_paths import IMAGE_SUFFIXES
from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotated import (
    AnnotatedImage,
    ImportSource,
    Progress,
    Reading,
    finite_number,
    image_metadata,
    pixels_to_shares,
    plain_attributes,
    require_size,
)
from agar_pipeline.fiftyone_io.file_pairs import find_files
from agar_pipeline.ownership.made import is_for_our_own_use

_SHOWN = 5


def read_folder(source: ImportSource, progress: Progress) -> Reading:
    """The images that a COCO file lists, below the images' folder.

    Raises:
        AnnotationError: the file is not COCO, or uses an id twice.
        DatasetError: there is no such file, or it lists no image.
    """
    images_dir = Path(source.images_dir)
    if not images_dir.is_dir():
        raise DatasetError(f"{images_dir} is not a folder: give the folder that the file_names are relative to")
    path = _find_file(images_dir, source.annotations)
    content = _CocoFile(path)
    reading = Reading()
    on_disk = {str(found.relative_to(images_dir)) for found in find_files(images_dir, IMAGE_SUFFIXES, reading)}
    reads, seen = [], set()
    for entry in content.images:
        name = _name(entry, content, reading)
        if name is None:
            continue
        if name in seen:
            reading.problems.append(f"{path}: several images are {name!r}: keep one")
        elif name not in on_disk:
            reading.annotations_without_image.append(name)
        else:
            reads.append(partial(_read_image, images_dir / name, name, entry, content))
        seen.add(name)
    reading.problems += content.orphans()
    reading.images_without_annotation = sorted(on_disk - seen)
    if not reads and not reading.problems:
        raise DatasetError(
            f"{path} lists {len(content.images)} images, and none of them is in {images_dir} "
            f"(which holds {len(on_disk)} images)\ngive the folder that its file_names are relative to"
        )
    reading.read_each(reads, progress)
    return reading


def _find_file(images_dir: Path, annotations: str | None) -> Path:
    if annotations is not None:
        if not Path(annotations).is_file():
            raise DatasetError(f"--annotations {annotations} is not a file: give the COCO file")
        return Path(annotations)
    found = sorted(path for path in images_dir.glob("*.json") if not is_for_our_own_use(path.relative_to(images_dir)))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:_SHOWN]) or "none"
        raise DatasetError(
            f"{images_dir} must hold one COCO file where --annotations does not name it; JSON files there: {names}\n"
            "give it: --annotations FILE.json"
        )
    return found[0]


class _CocoFile:
    """A COCO file whose lists, ids and categories were checked; what its images and boxes hold was not."""

    def __init__(self, path: Path) -> None:
        import fiftyone.utils.coco as fouc

        self.path = path
        plain = _load(path)
        self.images, annotations, categories = (
            self._entries(plain, key) for key in ("images", "annotations", "categories")
        )
        self._require_unique("images", [entry.get("id") for entry in self.images])
        self._require_unique("categories", [entry.get("id") for entry in categories])
        for entry in categories:
            if not isinstance(entry.get("name"), str) or not entry["name"]:
                raise AnnotationError(f"{path}: category {entry['id']} has no name: mend it")
        self.class_names, _ = fouc.parse_coco_categories(categories)
        self.annotations: dict[Any, list[dict[str, Any]]] = {}
        for entry in annotations:
            image_id = entry.get("image_id")
            self.annotations.setdefault(image_id if isinstance(image_id, int | str) else None, []).append(entry)

    def _entries(self, plain: dict[str, Any], key: str) -> list[dict[str, Any]]:
        entries = plain.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise AnnotationError(f"{self.path} is not a COCO file: {key!r} must be a list of objects")
        return entries

    def _require_unique(self, key: str, ids: list[Any]) -> None:
        wrong = [each for each in ids if isinstance(each, bool) or not isinstance(each, int | str)]
        if wrong:
            raise AnnotationError(
                f"{self.path}: an id in {key!r} is {str(wrong[0])[:40]!r}, it must be a number or text"
            )
        twice = [str(each) for each, count in Counter(ids).items() if count > 1]
        if twice:
            raise AnnotationError(
                f"{self.path}: ids used more than once in {key!r}: {', '.join(twice[:_SHOWN])}; mend it"
            )

    def orphans(self) -> list[str]:
        """Annotations of images that the file does not list."""
        unknown = self.annotations.keys() - {entry["id"] for entry in self.images}
        lost = [(str(image_id), str(entry.get("id"))) for image_id in unknown for entry in self.annotations[image_id]]
        return [
            f"{self.path}: annotation {annotation_id} is of image {image_id}, which the file does not list"
            for image_id, annotation_id in sorted(lost)
        ]


def _load(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
        try:
            plain = orjson.loads(data)
        except ValueError:  # orjson refuses NaN and Infinity, which Python's json and so other exporters write
            plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path} is not JSON ({error}): mend it, or give another with --annotations") from error
    if not isinstance(plain, dict):
        raise AnnotationError(f"{path} holds a {type(plain).__name__}, a COCO file is an object: give another")
    return plain


def _name(entry: dict[str, Any], content: _CocoFile, reading: Reading) -> str | None:
    """The image's path below the folder; None, and a problem, where it would lead out."""
    name = entry.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name or not _storable(name):
        reading.problems.append(f"{content.path}: image {entry['id']} has no usable file_name: mend it")
        return None
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        reading.problems.append(
            f"{content.path}: image {entry['id']} has the file_name {name!r}, it must be relative and stay inside the "
            "images folder: mend it"
        )
        return None
    return str(PurePosixPath(name))


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_image(path: Path, name: str, entry: dict[str, Any], content: _CocoFile) -> AnnotatedImage:
    metadata = image_metadata(path)
    require_size((entry.get("width"), entry.get("height")), metadata, f"{content.path}: image {entry['id']} ({name})")
    found = [_box(each, name, content) for each in content.annotations.get(entry["id"], [])]
    return AnnotatedImage(
        path=path,
        name=name,
        metadata=metadata,
        labels=[label for label, _, _ in found],
        boxes_rel_xywh=pixels_to_shares([box for _, box, _ in found], metadata),
        attributes=[attributes for _, _, attributes in found],
    )


def _box(entry: dict[str, Any], name: str, content: _CocoFile) -> tuple[str, list[float], dict[str, Any]]:
    """Label, box in pixels and attributes of an annotation, by FiftyOne's reading of it."""
    import fiftyone.utils.coco as fouc

    where = f"{content.path}: annotation {entry.get('id')} of {name}"
    try:
        found = fouc.COCOObject.from_anno_dict(dict(entry))
        label, attributes = found._get_object_label_and_attributes(content.class_names, None, False)
    except (TypeError, ValueError, KeyError) as error:
        known = isinstance(entry.get("category_id"), int | str) and entry["category_id"] in content.class_names
        what = str(error) if known else f"has the category {entry.get('category_id')!r}, which the file does not list"
        raise AnnotationError(f"{where} {what}: mend it, the image is left out") from error
    sides = [finite_number(side) for side in found.bbox] if isinstance(found.bbox, list) else []
    box = [side for side in sides if side is not None]
    if len(box) != 4 or len(sides) != 4:
        raise AnnotationError(f"{where} has the bbox {str(found.bbox)[:60]}, it must be four numbers: mend it")
    if found.iscrowd not in (None, 0, 1):
        raise AnnotationError(f"{where} has iscrowd {str(found.iscrowd)[:20]!r}, it must be 0 or 1: mend it")
    kept = plain_attributes({**found.attributes, **attributes})
    score = finite_number(found.score)
    return label, box, kept if score is None else {**kept, "confidence": score}
