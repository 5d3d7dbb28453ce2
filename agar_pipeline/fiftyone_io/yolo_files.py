"""YOLO: one text file per image, read by FiftyOne's own parser. Runs where FiftyOne may be imported.

Rows are checked first, since that parser takes an unknown class number for a name, and a negative one for the last
class. FiftyOne's importers are not used as a whole: they find labels by base names.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from agar_pipeline.detection.image_paths import IMAGE_SUFFIXES
from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotated import (
    AnnotatedImage,
    ImportSource,
    Progress,
    Reading,
    finite_number,
    image_metadata,
)
from agar_pipeline.fiftyone_io.file_pairs import by_stem, find_files, pair_by_stem, relative_stem
from agar_pipeline.fiftyone_io.yolo_classes import ClassNames, find_class_names

_NOT_LABELS = frozenset({"classes", "train", "val", "valid", "test", "labels", "obj", "readme", "requirements"})
"""Text files that lie about in such folders and hold no boxes."""
_LARGEST_SHARE = 2.0
_IMAGES, _LABELS = f"{os.sep}images{os.sep}", f"{os.sep}labels{os.sep}"


def read_folder(source: ImportSource, progress: Progress) -> Reading:
    """Images with a text file of their name beside them, in the `labels/` that mirrors `images/`, or in a folder given.

    Raises:
        DatasetError: no image has one, or there are no names for the classes.
    """
    images_dir = Path(source.images_dir)
    if not images_dir.is_dir():
        raise DatasetError(f"{images_dir} is not a folder: give the folder that holds the images")
    annotations = Path(source.annotations) if source.annotations is not None else None
    labels_dir = annotations if annotations is not None and annotations.is_dir() else None
    reading = Reading()
    images = by_stem(find_files(images_dir, IMAGE_SUFFIXES, reading), images_dir)
    labels = _find_labels(images_dir, labels_dir, set(images), reading)
    pairs = pair_by_stem(images, labels, images_dir, reading)
    if not pairs and not reading.problems:
        raise DatasetError(
            f"{images_dir} holds {len(images)} images, and none has a text file of its name beside it, in labels/ "
            "in place of images/, or in --annotations\n"
            "give the folder of the images, and --annotations with the folder of the text files"
        )
    names = find_class_names(images_dir, annotations, [path for _, path in pairs])
    reading.read_each([partial(_read_image, image, path, images_dir, names) for image, path in pairs], progress)
    return reading


def _find_labels(images_dir: Path, labels_dir: Path | None, stems: set[str], reading: Reading) -> dict[str, Path]:
    """Relative name of an image, without suffix → its text file."""
    roots = [images_dir] if labels_dir is None else [labels_dir]
    if labels_dir is None and _IMAGES in f"{images_dir}{os.sep}":  # labels/ stands beside images/
        mirrored = Path(_mirrored(f"{images_dir}{os.sep}", _IMAGES, _LABELS))
        roots += [mirrored] if mirrored.is_dir() else []
    labels: dict[str, Path] = {}
    for root in roots:
        for path in find_files(root, {".txt"}, reading):
            stem = relative_stem(path, root)
            if root == images_dir:
                stem = _mirrored(f"{os.sep}{stem}", _LABELS, _IMAGES).removeprefix(os.sep)
            if stem in stems or _may_hold_boxes(path):
                labels[stem] = path
    return labels


def _mirrored(path: str, old: str, new: str) -> str:
    return new.join(path.rsplit(old, 1))


def _may_hold_boxes(path: Path) -> bool:
    return path.stem.lower() not in _NOT_LABELS and not path.stem.lower().startswith("readme")


def _read_image(image_path: Path, txt_path: Path, images_dir: Path, names: ClassNames) -> AnnotatedImage:
    import fiftyone.utils.yolo as fouy

    _check_rows(txt_path, names)
    metadata = image_metadata(image_path)
    detections = fouy.load_yolo_annotations(str(txt_path), names.names).detections
    return AnnotatedImage(
        path=image_path,
        name=str(image_path.relative_to(images_dir)),
        metadata=metadata,
        labels=[detection.label for detection in detections],
        boxes_rel_xywh=[[float(side) for side in detection.bounding_box] for detection in detections],
        attributes=[{} if each.confidence is None else {"confidence": each.confidence} for each in detections],
    )


def _check_rows(path: Path, names: ClassNames) -> None:
    """Raises AnnotationError for the first row that is no box or polygon of a known class."""
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise AnnotationError(f"{path} is not text: mend it, or remove it with its image") from None
    for number, (class_number, *numbers) in enumerate(rows, start=1):
        what = _wrong_row(class_number, numbers, names)
        if what:
            raise AnnotationError(f"{path}: row {number} {what}: mend the file, or remove it with its image")


def _wrong_row(class_number: str, numbers: list[str], names: ClassNames) -> str | None:
    if len(numbers) not in (4, 5) and (len(numbers) < 6 or len(numbers) % 2):
        return (
            f"has {len(numbers) + 1} columns, it must have 5 (class, x and y of the centre, width, height), 6 with a "
            "confidence, or a class and the points of a polygon"
        )
    if not (class_number.isascii() and class_number.isdigit() and int(class_number) < len(names.names)):
        return f"has the class {class_number[:20]!r}, {names.path} names 0 to {len(names.names) - 1}"
    for text in numbers:
        share = _number(text)
        if share is None or abs(share) > _LARGEST_SHARE:
            return f"has the value {text[:20]!r}, it must be a share of the image, 0 to 1"
    return None


def _number(text: str) -> float | None:
    try:
        return finite_number(float(text))
    except ValueError:
        return None
