"""Reads what a snapshot and a COCO cache hold of photos with suspect labels.

Here: the photos. Not here: their suspects in FiftyOne (`reviewing`).
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from agar_pipeline.artifacts import CocoCache, Snapshot
from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.coco.columns import read_coco
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.writing.suspect_labels import ReviewedPhoto
from agar_pipeline.photos.exif_orientation import read_orientation


def read_photos(snapshot: Snapshot, cache: CocoCache, image_ids: list[int]) -> dict[int, ReviewedPhoto]:
    """Return image_id → the photo, with its boxes in the snapshot and its size in the cache.

    Raises:
        DatasetError: the boxes were drawn on photos as stored, and one of these cannot be opened.
    """
    images = snapshot.images().set_index("image_id").loc[image_ids].reset_index()
    boxes = snapshot.boxes()
    boxes = boxes[boxes["image_id"].isin(image_ids)]
    of_image = boxes.groupby("image_id").groups
    reviewed_wh = _reviewed_sizes(cache)
    folder = Path(snapshot.dataset()["images_dir"])
    as_stored = snapshot.manifest.config.get("exif") == "stored"
    photos = {}
    for image in images.to_dict("records"):
        rows = boxes.loc[of_image.get(image["image_id"], [])]
        photos[int(image["image_id"])] = ReviewedPhoto(
            sample_id=str(image["sample_id"]),
            path=str(image["path"]),
            size_wh=(float(image["width"]), float(image["height"])),
            reviewed_wh=reviewed_wh[int(image["image_id"])],
            first_box_id=int(rows["box_id"].min()) if len(rows) else 0,
            labels=[None if label is None else str(label) for label in rows["label"]],
            boxes_xywh=rows[XYWH_COLUMNS].to_numpy(float),
            orientation=find_orientation(folder / str(image["path"])) if as_stored else 1,
        )
    return photos


def _reviewed_sizes(cache: CocoCache) -> dict[int, tuple[float, float]]:
    sizes: dict[int, tuple[float, float]] = {}
    for part in cache.parts():
        columns = read_coco(cache.json_path(part))
        for image_id, (width, height) in zip(columns.image_ids.tolist(), columns.sizes_wh.tolist(), strict=True):
            sizes[image_id] = (float(width), float(height))
    return sizes


def find_orientation(path: Path) -> int:
    """Return the EXIF orientation of a photo whose boxes were, or will be, drawn on it as stored.

    Raises:
        DatasetError: it cannot be opened.
    """
    try:
        with Image.open(path) as photo:
            return read_orientation(photo)
    except OSError as error:
        raise DatasetError(
            f"cannot be opened ({error}), so it is not known how its boxes are turned",
            where=path,
            next_step="put the photo back",
        ) from error
