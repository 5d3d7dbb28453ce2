"""Determines the size of each image, and converts boxes of photos that EXIF data turns.

The size in the file's header takes precedence; FiftyOne's metadata is used if the file cannot be read. Boxes in pixels
from a COCO file belong to the size that the COCO file declares. All resulting sizes and boxes refer to the photo as
displayed, as all loaders of this project show it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from agar_pipeline.coco.box_formats import rel_xywh_to_xywh, turn_rel_xywh
from agar_pipeline.config import ExifPolicy
from agar_pipeline.errors import ImageFileError, remedy
from agar_pipeline.progress import Log
from agar_pipeline.snapshot_files.file_hashes import FileHashes
from agar_pipeline.snapshot_files.source_columns import Columns
from agar_pipeline.text.plurals import plural

_SHOWN = 3


class _Noted:
    """Counts images and stores the first three names."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, paths: pa.Array, rows: np.ndarray) -> None:
        at = np.flatnonzero(rows)
        self.count += len(at)
        self.first += [paths[int(row)].as_py() for row in at[: _SHOWN - len(self.first)]]

    def names(self) -> str:
        return ", ".join(repr(path) for path in self.first) + (" …" if self.count > len(self.first) else "")


class ImageSizes:
    """Determines sizes and boxes batch by batch, and finally reports or refuses what was found."""

    def __init__(self, exif: ExifPolicy, declared_by: str = "FiftyOne's metadata", *, in_pixels: bool = False) -> None:
        """Create an object for one source.

        Args:
            exif: Policy for photos with an EXIF rotation.
            declared_by: Name, in messages, of what declares the sizes.
            in_pixels: Whether the source has boxes in pixels. Then a declared size that differs from the file's is
                used, and the rule `image_size_mismatch` handles it later.
        """
        self._exif, self._declared_by, self._in_pixels = exif, declared_by, in_pixels
        self._absent, self._unknown, self._differing, self._turned, self._contrary = (_Noted() for _ in range(5))

    def settle(self, columns: Columns, files: FileHashes) -> np.ndarray:
        """Return (S, 2) int64 displayed sizes; 0, 0 if neither the file nor the source states a size."""
        in_file_known = np.all(files.sizes_wh > 0, axis=1)
        in_metadata_known = np.all(columns.sizes_wh > 0, axis=1)  # False for NaN
        metadata = np.where(in_metadata_known[:, None], columns.sizes_wh, 0).astype(np.int64)
        both = in_file_known & in_metadata_known
        quarter_turned = files.orientations >= 5
        contrary = both & quarter_turned & np.all(metadata == files.sizes_wh[:, ::-1], axis=1)
        contrary &= files.sizes_wh[:, 0] != files.sizes_wh[:, 1]
        self._absent.add(columns.paths, files.size_bytes < 0)
        self._unknown.add(columns.paths, (files.size_bytes >= 0) & ~in_file_known & ~in_metadata_known)
        differing = both & ~contrary & np.any(files.sizes_wh != metadata, axis=1)
        self._differing.add(columns.paths, differing)
        self._turned.add(columns.paths, files.orientations != 1)
        self._contrary.add(columns.paths, contrary)
        file_counts = in_file_known & ~differing if self._in_pixels else in_file_known
        return np.where(file_counts[:, None], files.sizes_wh, metadata)

    def place(self, columns: Columns, files: FileHashes, sizes_wh: np.ndarray) -> np.ndarray:
        """Return (B, 4) boxes in pixels of the displayed photo; NaN for shares of a photo of unknown size."""
        per_sample, as_written = columns.boxes_per_sample, columns.boxes.boxes_xywh
        sizes_of_boxes = np.repeat(np.where(sizes_wh > 0, sizes_wh, np.nan), per_sample, axis=0)
        scaled = rel_xywh_to_xywh(self._turn(columns, files), sizes_of_boxes)
        if as_written is None:
            return scaled
        turned = np.repeat(files.orientations != 1, per_sample) & (self._exif == "stored")
        return np.where(turned[:, None], scaled, as_written)

    def _turn(self, columns: Columns, files: FileHashes) -> np.ndarray:
        """Return (B, 4) boxes as shares of the displayed photo."""
        boxes = columns.boxes.boxes_rel_xywh
        if self._exif != "stored" or (files.orientations == 1).all():
            return boxes
        return turn_rel_xywh(boxes, np.repeat(files.orientations, columns.boxes_per_sample))

    def report(self, log: Log) -> None:
        """Log the photos that were turned, missing, unreadable or of another size, or refuse turned ones.

        Raises:
            ImageFileError: Photos are turned by EXIF, and the policy refuses them or the declared sizes contradict it.
        """
        if self._turned.count and self._exif == "refuse":
            raise ImageFileError(
                f"{plural(self._turned.count, 'photo is', 'photos are')} turned by EXIF data: {self._turned.names()}",
                next_step=remedy(
                    "set snapshot.exif to what their boxes were drawn on, displayed or stored; or save them upright",
                    option="give --exif displayed or --exif stored, as their boxes were drawn; or save them upright",
                ),
            )
        if self._contrary.count and self._exif == "displayed":
            raise ImageFileError(
                f"{plural(self._contrary.count, 'photo lies on its side', 'photos lie on their side')} by EXIF, but "
                f"{self._declared_by} has the size as stored, so that boxes may be turned against the photo: "
                f"{self._contrary.names()}",
                next_step=remedy("set snapshot.exif: stored", option="give --exif stored")
                + f" if the boxes were drawn so, else correct the sizes in {self._declared_by}",
            )
        if self._turned.count:
            log(
                f"{plural(self._turned.count, 'photo is', 'photos are')} turned by EXIF data; boxes are taken as drawn "
                f"on the photo as {self._exif} (snapshot.exif): {self._turned.names()}"
            )
        if self._differing.count:
            what = self._differing.names() if self._in_pixels else "the size in the file is used"
            differ = plural(self._differing.count, "image is", "images are")
            log(f"{differ} of another size than {self._declared_by} says: {what}")
        if self._absent.count:
            absent = plural(self._absent.count, "image file is", "image files are")
            log(f"{absent} missing or cannot be opened: {self._absent.names()}")
        if self._unknown.count:
            log(f"no image can be read from {plural(self._unknown.count, 'file')}: {self._unknown.names()}")
