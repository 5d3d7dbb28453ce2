"""Reads predictions from a COCO file, as `agar predict` writes them, for comparison with another COCO file.

Images are matched by file name and classes by class name, because each file has its own ids.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.coco.results_parse import parse_scored
from agar_pipeline.errors import AnnotationError
from agar_pipeline.scoring.class_agreement import agree_on_classes
from agar_pipeline.text.plurals import plural

_TRIED = 20
"""Number of images whose names are used to find a common folder."""


@dataclass(frozen=True)
class Predicted:
    """Predictions as detections on the images of a COCO file."""

    detections: Detections
    columns: CocoColumns
    """The file's columns; classes that only the model knows are added as further categories."""
    notes: tuple[str, ...]
    """Messages for the user, one sentence each."""


def is_predicted(path: Path) -> bool:
    """Whether a JSON file contains an object, as a COCO file does, and not a list of results."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"{")


def read_predicted(path: Path, coco_json: Path, columns: CocoColumns) -> Predicted:
    """Read the scored annotations of a COCO file as detections on the images of another one.

    Raises:
        AnnotationError: it is no such file, its ids contradict each other, or the files have no image in common.
        TrainingError: they have no class in common.
    """
    fields, scores = parse_scored(path)
    own = CocoColumns(**fields)
    agreement = agree_on_classes(path, own.class_names, own.category_ids, coco_json, columns)
    rows, known = own.image_rows()
    if not known.all() or not np.isin(own.annotation_category_ids, own.category_ids).all():
        raise AnnotationError(
            "has annotations of images or categories that it does not list, so it was cut or edited",
            where=path,
            next_step="predict again with `agar predict --json`",
        )
    id_of = dict(zip(columns.file_names.tolist(), columns.image_ids.tolist(), strict=True))
    names, shifted = _in_one_folder(own.file_names.tolist(), id_of)
    listed = np.array([name in id_of for name in names], dtype=bool)
    if not listed.any():
        there = repr(names[0]) if names else "no image"
        raise AnnotationError(
            f"has no image in common with {coco_json}: its first file_name is {there}, there {next(iter(id_of))!r}",
            where=path,
            next_step=f"predict the folder that the file_names of {coco_json} are relative to",
        )
    image_ids = np.array([id_of.get(name, 0) for name in names], dtype=np.int64)
    _require_sizes(path, own, image_ids, listed, coco_json, columns)
    found = Detections(image_ids[rows], own.annotation_category_ids, own.boxes_xywh, scores)
    detections = agreement.renumber(found).take(np.flatnonzero(listed[rows]))
    return Predicted(
        detections, agreement.columns, (*agreement.notes, *shifted, *_tell_images(coco_json, id_of, names))
    )


def _in_one_folder(names: list[str], listed: Collection[str]) -> tuple[list[str], list[str]]:
    """Adapt the predicted file names to the other file, if they differ only by a folder before all of them.

    `agar predict` writes names relative to the deepest folder that contains all photos. Returns the names, and the
    messages about the change.
    """
    if any(name in listed for name in names):
        return names, []
    some = names[:_TRIED]
    more = {known.removesuffix(name) for name in some for known in listed if known.endswith(f"/{name}")}
    less = {name.removesuffix(known) for name in some for known in listed if name.endswith(f"/{known}")}
    ways = [(folder, [folder + name for name in names]) for folder in more]
    ways += [(folder, [name.removeprefix(folder) for name in names]) for folder in less]
    fits = [sum(name in listed for name in spelled) for _, spelled in ways]
    if not ways or fits.count(max(fits)) > 1:
        return names, []
    folder, spelled = ways[fits.index(max(fits))]
    change = "added to" if folder in more else "removed from"
    images = plural(len(names), "predicted image is", "predicted images are")
    return spelled, [f"{max(fits)} of {images} listed if the folder {folder!r} is {change} the names"]


def _require_sizes(
    path: Path, own: CocoColumns, image_ids: np.ndarray, listed: np.ndarray, coco_json: Path, columns: CocoColumns
) -> None:
    """Check that images of the same name have the same size; otherwise they are different photos.

    Raises:
        AnnotationError: two images of the same name have different sizes.
    """
    size_of = dict(zip(columns.image_ids.tolist(), columns.original_sizes_wh.tolist(), strict=True))
    for row in np.flatnonzero(listed).tolist():
        size_wh, there = own.sizes_wh[row].tolist(), size_of[int(image_ids[row])]
        if size_wh != there:
            raise AnnotationError(
                f"has {size_wh[0]}×{size_wh[1]} pixels, but {coco_json} has {there[0]}×{there[1]} for this file_name",
                where=f"{path}: {own.file_names[row]!r}",
                next_step=f"predict the photos that {coco_json} lists",
            )


def _tell_images(coco_json: Path, listed: dict[str, int], predicted: list[str]) -> list[str]:
    absent, more = listed.keys() - set(predicted), set(predicted) - listed.keys()
    said = [f"not in {coco_json.name}, and not counted: {plural(len(more), 'predicted image')}"] if more else []
    if absent:
        missed = f"no prediction of {plural(len(absent), 'image')} of {coco_json.name}"
        said.append(f"{missed}, whose annotations count as missed; the first is {min(absent)!r}")
    return said
