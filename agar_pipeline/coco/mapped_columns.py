"""Stores the content of a COCO file as mapped columns beside it, which open in a millisecond.

Processes share the mapped columns. Other programs read `train.json`; training reads `train.columns/`. The columns state
the hash of the JSON that they were made from. If the JSON differs, they are ignored, so that a file edited by hand is
read as it is; its columns are then made anew in the home folder. Not here: the meaning of a COCO file (`columns`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.mapped_arrays import TextColumn, open_array, save_array
from agar_pipeline.config import agar_home
from agar_pipeline.errors import StorageError
from agar_pipeline.files.disk import sha256_of
from agar_pipeline.ownership.scratch_folders import scratch_folder

FORMAT = 2
"""Raised whenever the columns on disk change; columns of another format are ignored."""
SOURCE = "source.json"
OF_IMAGES = ("image_ids", "sizes_wh", "original_sizes_wh", "labelled")
OF_ANNOTATIONS = ("annotation_ids", "annotation_image_ids", "annotation_category_ids", "boxes_xywh", "iscrowd")
ARRAYS = (*OF_IMAGES, *OF_ANNOTATIONS, "category_ids")


_WORTH_KEEPING_BYTES = 1_000_000
"""Reading a smaller JSON takes less time than looking for its columns."""


def find_columns(json_path: Path) -> tuple[dict[str, Any] | None, str | None]:
    """Open the columns beside a COCO file, or those that `keep_columns` made from the same content.

    Returns:
        The fields, or None; and the hash of the JSON if its columns are worth keeping, else None.
    """
    beside = open_columns(columns_folder(json_path), json_path)
    if beside is not None or not json_path.is_file() or json_path.stat().st_size < _WORTH_KEEPING_BYTES:
        return beside, None
    sha256 = sha256_of(json_path)
    return open_columns(_kept_folder(sha256), json_path, sha256), sha256


def keep_columns(json_path: Path, sha256: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """Write the columns of a JSON that has none beside it into the home folder, for later readers and other ranks.

    Returns:
        The fields, mapped; None if the file changed since it was hashed, or the home folder cannot be written.
    """
    try:
        if sha256_of(json_path) != sha256:
            return None
        folder = _kept_folder(sha256)
        with scratch_folder(agar_home(), "columns-") as scratch:
            write_columns(scratch / "draft", json_path, fields)
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists():  # an older format, damaged, or written by another rank
                folder.rename(scratch / "old")
            (scratch / "draft").rename(folder)
        return open_columns(folder, json_path, sha256)
    except (OSError, StorageError):
        return None


def _kept_folder(sha256: str) -> Path:
    return agar_home() / "columns" / sha256[:32]


def columns_folder(json_path: Path) -> Path:
    """Folder of the columns of a COCO file."""
    return json_path.with_suffix(".columns")


def write_columns(folder: Path, json_path: Path, fields: Mapping[str, Any]) -> None:
    """Write the columns of a COCO file that has just been read.

    Args:
        folder: It is deleted and made anew; usually `columns_folder(json_path)`.
        json_path: The JSON from which they were made.
        fields: Fields of `CocoColumns`, by name.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in OF_ANNOTATIONS:
        save_array(folder / f"{name}.npy", fields[name])
    finish_columns(folder, json_path, fields)


def finish_columns(folder: Path, json_path: Path, fields: Mapping[str, Any]) -> None:
    """Write all other columns after those of the annotations are in the folder; see `write_columns`."""
    for name in (*OF_IMAGES, "category_ids"):
        save_array(folder / f"{name}.npy", fields[name])
    names = TextColumn.of(fields["file_names"])
    save_array(folder / "file_names.utf8.npy", names.utf8)
    save_array(folder / "file_names.ends.npy", names.ends)
    found = json_path.stat()
    source = {
        "format": FORMAT,
        "size_bytes": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "sha256": sha256_of(json_path),
        "class_names": list(fields["class_names"]),
    }
    (folder / SOURCE).write_text(json.dumps(source, indent=1))


def open_columns(folder: Path, json_path: Path, sha256: str | None = None) -> dict[str, Any] | None:
    """The fields of `CocoColumns`, mapped; None if there are none, or they were made from another JSON.

    Args:
        json_path: The JSON. It must have the same size and mtime as when the columns were made, or the same size and
            hash, as after a move to another disk.
        sha256: Hash of the JSON, if it is known.
    """
    try:
        source = json.loads((folder / SOURCE).read_bytes())
        if source["format"] != FORMAT or not _was_made_from(source, json_path, sha256):
            return None
        fields = {name: open_array(folder / f"{name}.npy") for name in ARRAYS}
        utf8, ends = (open_array(folder / f"file_names.{name}.npy") for name in ("utf8", "ends"))
        fields["file_names"] = TextColumn(utf8, ends)  # type: ignore[assignment]
        return {**fields, "class_names": tuple(source["class_names"])} if _fit(fields) else None
    except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: the JSON is read instead
        return None


def _was_made_from(source: Mapping[str, Any], json_path: Path, sha256: str | None) -> bool:
    found = json_path.stat()
    if found.st_size != source["size_bytes"]:
        return False
    return found.st_mtime_ns == source["mtime_ns"] or (sha256 or sha256_of(json_path)) == source["sha256"]


def _fit(fields: Mapping[str, Any]) -> bool:
    """Whether the columns have matching lengths, shapes and types; a truncated file cannot even be opened."""
    images = {len(fields[name]) for name in (*OF_IMAGES, "file_names")}
    annotations = {len(fields[name]) for name in ARRAYS if name.startswith("annotation")}
    annotations |= {len(fields["boxes_xywh"]), len(fields["iscrowd"])}
    shapes_fit = fields["boxes_xywh"].shape[1:] == (4,) and fields["sizes_wh"].shape[1:] == (2,)
    return len(images) == len(annotations) == 1 and shapes_fit and fields["boxes_xywh"].dtype == np.float64
