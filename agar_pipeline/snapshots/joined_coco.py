"""Reads the COCO files of a snapshot as one table, and refuses broken ids, which the renumbering would hide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow as pa

from agar_pipeline.coco.box_formats import xywh_to_rel_xywh
from agar_pipeline.coco.columns import CocoColumns, parse_coco
from agar_pipeline.config import GIVEN_PART, CocoSnapshotConfig, Part
from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.labels.box_rules import find_box_findings
from agar_pipeline.labels.image_rules import find_image_findings, find_part_findings
from agar_pipeline.photos.image_paths import refuse_name
from agar_pipeline.photos.missing_photos import folder_of_names
from agar_pipeline.snapshot_files.file_hashes import stamp_files
from agar_pipeline.snapshot_files.image_ids import ImageColumns
from agar_pipeline.snapshot_files.source_columns import Boxes, Columns
from agar_pipeline.text.safe_text import as_command

REFUSED = (
    "duplicate_image_id",
    "duplicate_annotation_id",
    "duplicate_category",
    "unknown_image",
    "unknown_class",
    "negative_id",
)
"""Rules about ids. They are refused here, because a snapshot assigns new ids and would hide broken ones."""
_SHOWN = 3


@dataclass(frozen=True)
class JoinedCoco:
    """All parts in one table, images sorted by name."""

    columns: Columns
    image_columns: ImageColumns
    photos: list[str]
    """Absolute paths."""
    files: list[str]
    stamps: bytes
    """Stamps of the COCO files, taken before they were read."""


def read_joined(config: CocoSnapshotConfig) -> JoinedCoco:
    """Read and join the files of all parts.

    Raises:
        DatasetError: a file does not exist, there are no images, or an image is listed twice.
        AnnotationError: a file is no COCO file, or its ids contradict each other.
    """
    files = config.file_paths()
    for part, path in files.items():
        if not path.is_file():
            raise DatasetError(
                "is not a file",
                where=f"snapshot.files.{part}",
                value=path,
                next_step="correct the path in the pipeline file; a relative one begins at the folder of the configs",
            )
    stamps = stamp_files([str(path) for path in files.values()])
    parsed = {part: parse_coco(path) for part, path in files.items()}
    _refuse_broken_ids({files[part]: columns for part, columns in parsed.items()}, config.images_path())
    names, parts = _names(parsed, files, config.images_path())
    order = sorted(range(len(names)), key=names.__getitem__)
    names = [names[row] for row in order]
    return JoinedCoco(
        columns=_join(list(parsed.values()), names, np.array(order, dtype=np.int64)),
        image_columns=ImageColumns(
            {GIVEN_PART: [parts[row] for row in order]} if GIVEN_PART in config.image_columns else {}, ""
        ),
        photos=[f"{config.images_path()}/{name}" for name in names],
        files=[str(path) for path in files.values()],
        stamps=stamps,
    )


def _refuse_broken_ids(parsed: Mapping[Path, CocoColumns], images_dir: Path) -> None:
    said: list[str] = []
    look: list[str] = []
    for path, columns in parsed.items():
        finders = (find_part_findings, find_image_findings, find_box_findings)
        findings = pd.concat([find(columns, path.stem)[["rule", "value"]] for find in finders])
        found = {rule: findings.loc[findings["rule"] == rule, "value"].tolist() for rule in REFUSED}
        words = [f"{len(values)} {rule} ({', '.join(values[:_SHOWN])})" for rule, values in found.items() if values]
        if words:
            said.append(f"{path}: {', '.join(words)}")
            look = look or ["agar", "inspect-coco", "--json", str(path), "--images-dir", str(images_dir)]
    if said:
        raise AnnotationError(
            f"ids contradict each other in {'; '.join(said)}",
            next_step=f"correct these ids; this command lists all of them: {as_command(*look)}",
        )


def _names(
    parsed: Mapping[Part, CocoColumns], files: Mapping[Part, Path], images_dir: Path
) -> tuple[list[str], list[str]]:
    """Return name and part of each image, file by file.

    Raises:
        DatasetError: there are no images, an image is listed twice, or a name leads out of the folder.
    """
    part_of: dict[str, Part] = {}
    names: list[str] = []
    parts: list[str] = []
    for part, columns in parsed.items():
        before = folder_of_names(images_dir, files[part], columns.file_names.tolist())
        for written in columns.file_names.tolist():
            if refused := refuse_name(images_dir, written):
                raise DatasetError(
                    f"names a photo that cannot be in the folder: {refused.problem}",
                    where=files[part],
                    next_step="correct the file_name in that file",
                )
            name = before + str(PurePosixPath(written))
            if name in part_of:
                where = " and ".join(str(files[each]) for each in dict.fromkeys((part_of[name], part)))
                raise DatasetError(
                    f"is listed twice, in {where}",
                    where=f"image {name!r}",
                    next_step="keep one of the entries: an image can only be in one part",
                )
            part_of[name] = part
            names.append(name)
            parts.append(part)
    if not names:
        raise DatasetError(
            "list 0 images",
            where=", ".join(map(str, files.values())),
            next_step="name COCO files that list images as snapshot.files in the pipeline file",
        )
    return names, parts


def _join(parsed: list[CocoColumns], names: list[str], order: np.ndarray) -> Columns:
    """Return all images in this order, with their boxes in the order of their file."""
    rows_and_starts = [columns.rows_of_images() for columns in parsed]
    counts = np.concatenate([np.diff(starts) for _, starts in rows_and_starts])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    box_order = np.argsort(np.repeat(place, counts), kind="stable")
    labels: list[str] = []
    for columns, (rows, _) in zip(parsed, rows_and_starts, strict=True):
        name_of = dict(zip(columns.category_ids.tolist(), columns.class_names, strict=True))
        labels += [name_of[category_id] for category_id in columns.annotation_category_ids[rows].tolist()]

    def boxes_of(column: str) -> np.ndarray:
        found = [getattr(columns, column)[rows] for columns, (rows, _) in zip(parsed, rows_and_starts, strict=True)]
        return np.concatenate(found)[box_order]

    sizes_wh = np.concatenate([columns.sizes_wh for columns in parsed])[order].astype(np.float64)
    counts = counts[order]
    boxes_xywh = boxes_of("boxes_xywh")
    sizes_of_boxes = np.repeat(np.where(sizes_wh > 0, sizes_wh, np.nan), counts, axis=0)
    return Columns(
        sample_ids=pa.array(names, pa.string()),
        paths=pa.array(names, pa.string()),
        sizes_wh=sizes_wh,
        boxes_per_sample=counts,
        boxes=Boxes(
            labels=pa.array(labels, pa.string()).take(pa.array(box_order)),
            boxes_rel_xywh=xywh_to_rel_xywh(boxes_xywh, sizes_of_boxes),
            iscrowd=boxes_of("iscrowd"),
            attributes=pa.nulls(len(labels), pa.string()),
            boxes_xywh=boxes_xywh,
        ),
        labelled=np.concatenate([columns.labelled for columns in parsed])[order],
    )
