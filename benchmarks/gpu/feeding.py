"""Images a second that reach the card: by loader processes, from photos and from a cache of small copies, and decoded
on the card itself.

A photo is a JPEG of twice the model's side (2,048 px), a copy one of the model's side, as `media: resize` leaves it.
"""

from __future__ import annotations

import io
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.gpu.card import BATCH, DEVICE, QUICK, REHEARSAL, SIDE, Photos, experiment, seconds_of
from benchmarks.image_feed import columns_of

ROUNDS = 1 if REHEARSAL or QUICK else 3
REPEATED = 1 if REHEARSAL else 8
"""An epoch holds each photo so many times, so that the start of the processes does not count."""
WORKERS = (0, 1) if REHEARSAL else (1, 4, 8, 16)


def run(folder: Path, photos: Photos) -> list[dict[str, Any]]:
    """A row for each way: images a second, and the ratio to our loader of as many processes from photos."""
    copies = folder / "copies"
    copies.mkdir(exist_ok=True)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: _copy(folder / "photos" / name, copies / name), photos))
    rows = []
    for workers in [w for w in WORKERS if w <= len(os.sched_getaffinity(0))]:
        for source, place, side in (("photos", folder / "photos", 2 * SIDE), ("copies", copies, SIDE)):
            rate = _rate(_loader(place, photos, side, workers), REPEATED * len(photos))
            rows.append({"way": "loader", "workers": workers, "from": source, "images_per_s": round(rate)})
    if DEVICE == "cuda":
        for source, place in (("photos", folder / "photos"), ("copies", copies)):
            rate = _rate(_decoder_on_card(place, photos), REPEATED * len(photos))
            rows.append({"way": "decoded on the card", "workers": 0, "from": source, "images_per_s": round(rate)})
    return rows


def _rate(feed: Callable[[], None], images: int) -> float:
    feed()
    return images / statistics.median([seconds_of(feed) for _ in range(ROUNDS)])


def _copy(photo: Path, copy: Path) -> None:
    from PIL import Image

    from agar_pipeline.photos.load_and_resize import load_image

    buffer = io.BytesIO()
    Image.fromarray(load_image(photo, SIDE)[0]).save(buffer, "JPEG", quality=95)
    copy.write_bytes(buffer.getvalue())


def _loader(place: Path, photos: Photos, side: int, workers: int) -> Callable[[], None]:
    """The loader of training, augmentation included, and the transfer."""
    import numpy as np

    from agar_pipeline.detection.loading.data_loader import build_loader
    from agar_pipeline.detection.loading.dataset import DetectionDataset
    from agar_pipeline.detection.loading.sampling import PlainBatches

    columns = columns_of(photos, side, side / (2 * SIDE))
    dataset = DetectionDataset(columns, place, SIDE, experiment("tiny", "32-true").data, 0)
    dataset._rows = np.tile(dataset._rows, REPEATED)
    loader = build_loader(dataset, PlainBatches(len(dataset), BATCH), workers, pin_memory=DEVICE == "cuda")

    def feed() -> None:
        for images, _ in loader:
            for image in images:
                image.to(DEVICE, non_blocking=True)

    return feed


def _decoder_on_card(place: Path, photos: Photos) -> Callable[[], None]:
    """Files read by threads, decoded by the card's decoder, and scaled there."""
    import torch
    from torchvision.io import decode_jpeg, read_file

    names = [place / name for name in photos] * REPEATED

    def feed() -> None:
        with ThreadPoolExecutor(4) as pool:
            read = pool.map(lambda path: read_file(str(path)), names)
            for _ in range(len(names) // BATCH):
                for image in decode_jpeg([next(read) for _ in range(BATCH)], device="cuda"):
                    if image.shape[-1] != SIDE:
                        torch.nn.functional.interpolate(image[None].float(), SIDE, mode="bilinear", antialias=True)

    return feed
