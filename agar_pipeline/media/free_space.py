"""Estimates the disk space that the photos of a cache will take, and refuses to start without enough free space."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from agar_pipeline.errors import StorageError, remedy
from agar_pipeline.files.disk import show_bytes
from agar_pipeline.media.photo import OWN_MEDIA, Photo, PlacedPhotos

_FORECAST_MARGIN = 1.1


def forecast_bytes(rest: Sequence[Photo], probes: Sequence[Photo], placed: PlacedPhotos, media: OWN_MEDIA) -> int:
    """Estimate the bytes that the remaining photos will take.

    Links and copies take the size of the photos. For smaller copies, the bytes per pixel of the copies already made
    (`probes`) are multiplied by the pixels of the rest and by 1.1.
    """
    if media != "resize":
        return sum(photo.size_bytes for photo in rest)
    made = [photo for photo in probes if photo.name in placed.files]
    pixels = sum(photo.target_wh[0] * photo.target_wh[1] for photo in made)
    bytes_per_pixel = sum(placed.files[photo.name].size_bytes for photo in made) / pixels if pixels else 0.0
    return int(sum(p.target_wh[0] * p.target_wh[1] for p in rest) * bytes_per_pixel * _FORECAST_MARGIN)


def require_room(needed: int, photos: int, media: OWN_MEDIA, out_dir: Path) -> None:
    """Raise StorageError, with the bytes needed and free, if the disk has too little free space."""
    free = shutil.disk_usage(out_dir).free
    if needed > free:
        raise StorageError(
            f"has {show_bytes(free)} free, and media: {media} needs about {show_bytes(needed)} "
            f"for {photos} more photos",
            where=f"the disk of {out_dir.parent.parent}",
            next_step="free some space (agar clean), set AGAR_HOME to a folder on a larger disk, or "
            + remedy("set media: reference in the pipeline file", option="give --media reference"),
        )
