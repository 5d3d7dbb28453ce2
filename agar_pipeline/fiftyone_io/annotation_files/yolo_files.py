"""Reads YOLO: one text file per image, with the image's name; parts in `data.yaml` or in lists become tags.

FiftyOne's parser is not used: it uses an unknown class number as a name, a negative one as the last class, and
keypoints as polygons, and it finds label files by their base names. Here: which text file belongs to which image. Not
here: its content (`yolo_rows`), the declarations of the data set (`yolo_classes`).
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from agar_pipeline.errors import DatasetError, PipelineError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import (
    AnnotatedImage,
    ImportSource,
    Reading,
    image_metadata,
)
from agar_pipeline.fiftyone_io.annotation_files.file_pairs import (
    by_stem,
    find_files,
    find_photos,
    pair_by_stem,
    relative_stem,
)
from agar_pipeline.fiftyone_io.annotation_files.turned_photos import TurnedPhotos
from agar_pipeline.fiftyone_io.annotation_files.yolo_classes import ClassNames, find_class_names, find_declared
from agar_pipeline.fiftyone_io.annotation_files.yolo_parts import find_parts
from agar_pipeline.fiftyone_io.annotation_files.yolo_rows import Row, RowReader, read_rows
from agar_pipeline.progress import Progress
from agar_pipeline.text.plurals import plural

_NOT_LABELS = frozenset({"classes", "train", "val", "valid", "test", "labels", "obj", "readme", "requirements"})
"""Stems of text files that are common in such folders and contain no boxes."""
_IMAGES, _LABELS = f"{os.sep}images{os.sep}", f"{os.sep}labels{os.sep}"


def read_folder(source: ImportSource, progress: Progress) -> Reading:
    """Read the images with a text file of the same name in `source.annotations`, beside them, or in `labels/`.

    `labels/` is a folder with the same structure as `images/`.

    Raises:
        DatasetError: No image has such a file, or there are no names for the classes.
    """
    images_dir = Path(source.images_dir)
    if not images_dir.is_dir():
        raise DatasetError("is not a folder", where=images_dir, next_step="give the folder that holds the images")
    annotations = Path(source.annotations) if source.annotations is not None else None
    labels_dir = annotations if annotations is not None and annotations.is_dir() else None
    reading = Reading()
    images = by_stem(find_photos(images_dir, reading), images_dir)
    labels = _find_labels(images_dir, labels_dir, set(images), reading)
    labels = {stem: path for stem, path in labels.items() if path != annotations}
    pairs = pair_by_stem(images, labels, images_dir, reading)
    if not pairs and not reading.problems:
        raise DatasetError(
            f"holds {plural(len(images), 'image')}, and none has a text file of the same name: beside it, in labels/ "
            "in place of images/, or in --annotations",
            where=images_dir,
            next_step="give the folder of the images, and --annotations with the folder of the text files",
        )
    names = find_class_names(images_dir, annotations, [path for _, path in pairs])
    declared = find_declared(images_dir, annotations, names)
    rows = [_read_rows(path, names) for _, path in pairs]
    reader = RowReader([each for each in rows if not isinstance(each, PipelineError | OSError)], declared)
    turns = TurnedPhotos(source.exif)
    read = partial(_read_image, images_dir=images_dir, names=names.names, reader=reader, turns=turns)
    reading.read_each([partial(read, *pair, each) for pair, each in zip(pairs, rows, strict=True)], progress)
    turns.report(reading)
    reading.notes += reader.notes()
    reading.parts = find_parts(images_dir, [str(image.relative_to(images_dir)) for image, _ in pairs], declared)
    return reading


def _find_labels(images_dir: Path, labels_dir: Path | None, stems: set[str], reading: Reading) -> dict[str, Path]:
    """Map the relative name of each image, without suffix, to its text file."""
    roots = [images_dir] if labels_dir is None else [labels_dir]
    if labels_dir is None and _IMAGES in f"{images_dir}{os.sep}":  # labels/ is beside images/
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


def _read_rows(path: Path, names: ClassNames) -> list[Row] | PipelineError | OSError:
    try:
        return read_rows(path, len(names.names), names.path)
    except (PipelineError, OSError) as error:
        return error


def _read_image(
    image_path: Path,
    txt_path: Path,
    rows: list[Row] | PipelineError | OSError,
    images_dir: Path,
    names: list[str],
    reader: RowReader,
    turns: TurnedPhotos,
) -> AnnotatedImage:
    if isinstance(rows, PipelineError | OSError):
        raise rows
    boxes = reader.boxes_of(txt_path, rows)
    name = str(image_path.relative_to(images_dir))
    return AnnotatedImage(
        path=image_path,
        name=name,
        metadata=image_metadata(image_path),
        labels=[names[number] for number in boxes.classes],
        boxes_rel_xywh=turns.place_shares(boxes.boxes_rel_xywh, (image_path, name)),
        attributes=[{} if confidence is None else {"confidence": confidence} for confidence in boxes.confidences],
    )
