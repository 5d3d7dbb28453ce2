"""Takes a snapshot from COCO files, one per part, and their images; the result has the form of one from FiftyOne.

Images are identified by their `file_name` and numbered in that order; boxes keep the order of the file.
Not here: parsing the files (`joined_coco`), judging boxes and images (`coco_cache`, `bbox_report`).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from agar_pipeline.config import CocoSnapshotConfig
from agar_pipeline.errors import DatasetError, DatasetMovedError
from agar_pipeline.photos.missing_photos import explain_missing, show_missing
from agar_pipeline.progress import Log, progress_bar
from agar_pipeline.snapshot_files.content_hash import ContentHash, ObservedData
from agar_pipeline.snapshot_files.file_hashes import FileHashes, FileMemory, stamp_files
from agar_pipeline.snapshot_files.image_ids import write_image_ids
from agar_pipeline.snapshot_files.image_sizes import ImageSizes
from agar_pipeline.snapshot_files.parquet_tables import (
    BOXES_SCHEMA,
    IMAGES_SCHEMA,
    LabelCounts,
    TableWriter,
    boxes_table,
    images_table,
)
from agar_pipeline.snapshots.joined_coco import JoinedCoco, read_joined
from agar_pipeline.text.plurals import plural


def observe_folder(config: CocoSnapshotConfig, home: Path) -> ObservedData:
    """Return the version of the files and images as they are now; writes nothing.

    Raises:
        DatasetError: files or images do not exist, or an image is listed twice.
        AnnotationError: a file is no COCO file, or its ids contradict each other.
    """
    folder = read_joined(config)
    content = _hash(folder, _look_at_photos(config, folder, home, lambda text: None))
    return ObservedData(folder.image_columns.version(content.version()), content.samples, content.boxes)


def read_folder(
    config: CocoSnapshotConfig, home: Path, out_dir: Path, log: Log, just_observed: str | None = None
) -> str:
    """Write `images.parquet`, `boxes.parquet`, `image_ids.parquet` and `dataset.json`; see `read_snapshot`.

    Raises:
        DatasetError, AnnotationError: as `observe_folder`.
        DatasetMovedError: a file or image changed while it was read.
        ImageFileError: images are rotated by EXIF, and `config.exif` refuses that or their declared size does not fit.
    """
    folder = read_joined(config)
    photos = _look_at_photos(config, folder, home, log)
    content = _hash(folder, photos)
    version = folder.image_columns.version(content.version())
    columns, sizes = folder.columns, ImageSizes(config.exif, "the COCO file", in_pixels=True)
    sizes_wh = sizes.settle(columns, photos)
    with (
        TableWriter(out_dir / "images.parquet", IMAGES_SCHEMA) as images_file,
        TableWriter(out_dir / "boxes.parquet", BOXES_SCHEMA) as boxes_file,
    ):
        images_file.write(images_table(columns, photos, sizes_wh, 1))
        boxes_file.write(boxes_table(columns, sizes.place(columns, photos, sizes_wh), 1, 1))
    sizes.report(log)
    names = columns.paths.to_pylist()
    absent = [names[row] for row in np.flatnonzero(photos.size_bytes < 0).tolist()]
    if hint := explain_missing(config.images_path(), absent, names):
        log(hint)
    write_image_ids(config.image_columns, out_dir, folder.image_columns)
    labels = LabelCounts()
    labels.add(columns.boxes.labels)
    plain = {
        "dataset": config.dataset,
        "images_dir": str(config.images_path()),
        "images": content.samples,
        "boxes": content.boxes,
        "unlabelled": content.unlabelled,
        "labels": labels.sorted(),
    }
    (out_dir / "dataset.json").write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    seen_again = stamp_files(folder.files), stamp_files(folder.photos)
    if version != just_observed and seen_again != (folder.stamps, photos.stamps):
        raise DatasetMovedError(
            "the COCO files or photos changed while they were read",
            next_step="wait until nobody edits or copies them any more, then run the command again",
        )
    return version


def _hash(folder: JoinedCoco, photos: FileHashes) -> ContentHash:
    content = ContentHash()
    content.update(folder.columns, photos.sha256)
    return content


def _look_at_photos(config: CocoSnapshotConfig, folder: JoinedCoco, home: Path, log: Log) -> FileHashes:
    total = len(folder.photos)
    with (
        progress_bar("looking at photos", log) as progress,
        FileMemory(home, on_read=lambda count: progress(count, total)) as memory,
    ):
        photos = memory.look_up(folder.photos)
    if photos.sha256.count(None) == total:
        raise DatasetError(
            f"none of {plural(total, 'image file')} can be read, not even {folder.photos[0]!r}: "
            f"{show_missing(config.images_path(), folder.columns.paths.to_pylist())}",
            next_step="correct snapshot.images_dir in the pipeline file, "
            f"the folder that the file_names of {folder.files[0]} are relative to",
        )
    return photos
