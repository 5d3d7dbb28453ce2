"""Puts the photos of all parts into a COCO cache, records the origin of each, and scales boxes to smaller copies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agar_pipeline.artifacts import MEDIA_TABLE
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.files.disk import show_bytes
from agar_pipeline.media.copy_photos import place_photos
from agar_pipeline.media.former_caches import IMAGES, find_known
from agar_pipeline.media.photo import OWN_MEDIA, Photo, PlacedPhotos
from agar_pipeline.media.shrink import shrunk_sizes
from agar_pipeline.progress import Log, progress_bar
from agar_pipeline.text.plurals import plural

DONE = {"link": "linked", "copy": "copied", "resize": "resized"}


@dataclass(frozen=True)
class OwnPhotos:
    """The photos in a cache."""

    known_files: dict[str, dict[str, Any]]
    """Path in the artifact → size_bytes, mtime_ns, sha256, so that the files need not be read for the manifest."""
    counts: dict[str, int]
    """size_bytes of all photos, and the numbers of photos made and reused."""


def take_photos(
    parts: Mapping[str, CocoColumns],
    images: pd.DataFrame,
    source_dir: Path,
    out_dir: Path,
    media: OWN_MEDIA,
    earlier: Sequence[Path],
    log: Log,
) -> OwnPhotos:
    """Put the photos of all parts into `out_dir/images`, and record in `media.parquet` how each was made.

    Args:
        parts: Part → its images, with the sizes that their copies will have.
        images: Table with image_id, sha256 and size_bytes of at least these images, from the snapshot.
        source_dir: Folder to which `file_name` is relative.
        media: Whether photos are linked, copied or resized.
        earlier: Folders of earlier caches, whose files are reused if photo and recipe are the same.

    Raises:
        DatasetError, ImageFileError, StorageError: See `place_photos`.
    """
    photos = [photo for columns in parts.values() for photo in _photos(columns, images.set_index("image_id"))]
    with progress_bar(f"photos {DONE[media]}", log) as progress:
        placed = place_photos(photos, source_dir, out_dir / IMAGES, media, find_known(earlier), progress)
    origins = [(photo.name, *photo.origin(media)) for photo in photos]
    table = pd.DataFrame(origins, columns=["file_name", "source_sha256", "recipe"])
    table.to_parquet(out_dir / MEDIA_TABLE, index=False)
    log(_in_words(placed, media))
    known_files = {f"{IMAGES}/{name}": file.to_manifest() for name, file in placed.files.items()}
    counts = {"size_bytes": placed.size_bytes, "made": placed.made, "reused": placed.reused}
    return OwnPhotos(known_files, counts)


def scale_columns(columns: CocoColumns, max_side: int) -> CocoColumns:
    """Return the images with sizes reduced to a longer side of at most `max_side` pixels, and boxes scaled to them."""
    sizes_wh = shrunk_sizes(columns.sizes_wh, max_side)
    scaled = dataclasses.replace(columns, sizes_wh=sizes_wh)
    order, starts = columns.rows_of_images()
    factors = np.repeat(scaled.scale_xywh(), np.diff(starts), axis=0)
    boxes_xywh = columns.boxes_xywh.copy()
    boxes_xywh[order] *= factors
    return dataclasses.replace(scaled, boxes_xywh=boxes_xywh)


def _photos(columns: CocoColumns, images: pd.DataFrame) -> list[Photo]:
    chosen = images.loc[columns.image_ids]
    return [
        Photo(name, sha256, int(size_bytes), tuple(size_wh), tuple(target_wh))
        for name, sha256, size_bytes, size_wh, target_wh in zip(
            columns.file_names.tolist(),
            chosen["sha256"],
            chosen["size_bytes"],
            columns.original_sizes_wh.tolist(),
            columns.sizes_wh.tolist(),
            strict=True,
        )
    ]


def _in_words(placed: PlacedPhotos, media: OWN_MEDIA) -> str:
    words = f"{plural(placed.made, 'photo')} {DONE[media]}"
    if placed.not_linked:
        copied = plural(placed.not_linked, "photo was", "photos were")
        words = f"{copied} copied, because no hard links are possible from here"
    return f"{words}, {placed.reused} reused; {show_bytes(placed.size_bytes)} in all"
