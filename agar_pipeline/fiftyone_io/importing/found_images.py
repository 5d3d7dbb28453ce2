"""Reads the images of a folder for an import, replaces labels by class names and treats unlabelled images.

Here: calling the reader of a format (`agar_files`, `coco_files` and so on) and all steps after it. No database is used.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections import Counter
from functools import partial
from pathlib import Path

import bson
from bson.errors import BSONError

from agar_pipeline.config import Spellings
from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import (
    AnnotatedImage,
    ImportSource,
    Reading,
    image_metadata,
)
from agar_pipeline.fiftyone_io.annotation_files.part_tags import Membership
from agar_pipeline.fiftyone_io.annotation_files.training_lists import read_membership
from agar_pipeline.fiftyone_io.importing.plan import box_contents
from agar_pipeline.photos.name_spellings import explain_names, without_suffix
from agar_pipeline.progress import Progress
from agar_pipeline.text.plurals import plural

_LARGEST_DOCUMENT = 16_000_000
"""Bytes; a little below MongoDB's own limit."""
_BESIDE_A_BOX = 100
"""Upper bound of the bytes that ids and empty fields add to each box."""


def read_source(source: ImportSource, progress: Progress) -> tuple[Reading, Membership]:
    """Read the folder's images, with class names as labels, and the training lists or parts that they are in.

    Raises:
        DatasetError, AnnotationError: As the reader of the format; DatasetError also if unlabelled images are refused.
    """
    reader = importlib.import_module(f"agar_pipeline.fiftyone_io.annotation_files.{source.format}_files")
    reading: Reading = reader.read_folder(source, progress)
    _explain_unpaired(source, reading)
    _treat_unlabelled(source, reading, progress)
    if source.class_map:
        _name_classes(reading, source.class_map)
    _leave_out_unstorable(reading)
    if source.format == "agar":
        return reading, read_membership(source, reading.images)
    imported = {image.name for image in reading.images}
    return reading, reading.parts.membership(imported) if reading.parts else Membership()


def _explain_unpaired(source: ImportSource, reading: Reading) -> None:
    """Add a note if images and annotations would match with another spelling of their names."""
    paired = source.format != "coco"  # one annotation file per image, with the image's name except for the suffix
    missing, there = reading.annotations_without_image, reading.images_without_annotation
    if paired:
        missing, there = (list(map(without_suffix, names)) for names in (missing, there))
    if hint := explain_names(missing, there, paired=paired):
        reading.notes.append(hint)


def _treat_unlabelled(source: ImportSource, reading: Reading, progress: Progress) -> None:
    names = reading.images_without_annotation
    if names and source.unlabelled == "fail":
        raise DatasetError(
            f"holds {plural(len(names), 'image')} that nobody has labelled, such as {names[0]!r}; nothing was imported",
            where=source.images_dir,
            next_step="annotate them, or choose what to do with them: --unlabelled leave_out, or --unlabelled keep",
        )
    if source.unlabelled == "keep":
        reading.images_without_annotation = []
        reading.read_each([partial(_without_labels, Path(source.images_dir), name) for name in names], progress)


def _without_labels(images_dir: Path, name: str) -> AnnotatedImage:
    path = images_dir / name
    return AnnotatedImage(path, name, image_metadata(path), labels=[], boxes_rel_xywh=[], attributes=[], labelled=False)


def _leave_out_unstorable(reading: Reading) -> None:
    """Remove images that cannot be stored as a Mongo document (invalid texts, too many boxes) and report them."""
    storable = []
    for image in reading.images:
        try:
            content = bson.encode({"filepath": str(image.path), "boxes": box_contents(image), **image.fields})
        except (BSONError, UnicodeError, OverflowError, ValueError) as error:
            problem = AnnotationError(
                f"has an annotation that cannot be stored ({error})", where=image.path, next_step="correct it"
            )
            reading.problems.append(problem.in_one_line)
            continue
        if len(content) + len(image.labels) * _BESIDE_A_BOX > _LARGEST_DOCUMENT:
            problem = AnnotationError(
                f"has {len(image.labels)} boxes, more than a document of MongoDB can hold",
                where=image.path,
                next_step="split the image",
            )
            reading.problems.append(problem.in_one_line)
            continue
        storable.append(image)
    reading.images = storable


def _name_classes(reading: Reading, class_map: dict[str, int]) -> None:
    """Replace labels by the names of their classes; renamed and unknown labels are recorded in the reading."""
    counted = Counter(label for image in reading.images for label in image.labels)
    match = Spellings(class_map).match(counted)
    names = {label: match.class_name(label) for label in counted}
    reading.renamed = {label: name for label, name in names.items() if name != label}
    reading.unknown_labels = {label: n for label, n in counted.items() if label not in match.category_ids}
    reading.images = [
        dataclasses.replace(image, labels=[names[label] for label in image.labels]) for image in reading.images
    ]
