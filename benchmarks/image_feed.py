"""Photos of 2048 px to the model's 1024, on one core, against PIL → to_tensor → the model's own resize.

The alternative is what torchvision's detectors do to what `to_tensor` gives: `GeneralizedRCNNTransform`, which
normalizes before it resizes. Ours is the loader of training: it ends with uint8, which crosses to the device and
becomes floats there. A line without a ratio says what both come to where that device is the same core. The way through
a worker's shared memory, where the alternative sends 50 MB a photo and we send 3, is left out.
"""

from __future__ import annotations

import io
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._timing import by_turns, print_ratio

PHOTOS = 8
PHOTO_PX, MODEL_PX = 2048, 1024
ROUNDS = 7
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def main() -> None:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, copies = make_photos(folder / "photos", PHOTOS, PHOTO_PX), folder / "copies"
        _make_copies(folder / "photos", copies)
        naive = _naive(folder / "photos", photos)
        ours, ours_on_core = _ours(folder / "photos", photos, PHOTO_PX)
        cached, cached_on_core = _ours(copies, photos, MODEL_PX)
        seconds = by_turns(
            ROUNDS,
            clock=time.process_time,
            naive=naive,
            ours=ours,
            cached=cached,
            ours_on_core=ours_on_core,
            cached_on_core=cached_on_core,
        )
    rates = {name: PHOTOS / statistics.median(values) for name, values in seconds.items()}
    print(f"images a CPU second: {', '.join(f'{name} {rate:.1f}' for name, rate in rates.items())}")
    print(
        f"with our floats made on the same core: {rates['ours_on_core'] / rates['naive']:.1f} times the alternative, "
        f"{rates['cached_on_core'] / rates['naive']:.1f} from the cache"
    )
    print_ratio("image_feed", seconds["naive"], seconds["ours"], aim=15)
    print_ratio("image_feed_cached", seconds["naive"], seconds["cached"], aim=35)


def make_photos(
    folder: Path, count: int, side: int, colonies: tuple[int, int] = (10, 60)
) -> dict[str, list[list[float]]]:
    """Writes plates of this side; returns file name → boxes_xywh."""
    from agar_pipeline.plates.generate import generate_plates

    generate_plates(folder, count, side, seed=0, colonies_per_plate=colonies)
    boxes = {}
    for number in range(1, count + 1):
        labels = json.loads((folder / f"{number}.json").read_text())["labels"]
        boxes[f"{number}.jpg"] = [[label[key] for key in ("x", "y", "width", "height")] for label in labels]
    return boxes


def _make_copies(photos: Path, copies: Path) -> None:
    """What `media: resize` leaves in the cache: the same photos at the model's size, as JPEG of quality 95."""
    from PIL import Image

    from agar_pipeline.photos.load_and_resize import load_image

    copies.mkdir()
    for path in photos.glob("*.jpg"):
        buffer = io.BytesIO()
        Image.fromarray(load_image(path, MODEL_PX)[0]).save(buffer, "JPEG", quality=95)
        (copies / path.name).write_bytes(buffer.getvalue())


def _naive(folder: Path, photos: dict[str, list[list[float]]]) -> Any:
    import torch
    from PIL import Image
    from torchvision.models.detection.transform import GeneralizedRCNNTransform
    from torchvision.transforms.functional import to_tensor

    transform = GeneralizedRCNNTransform(MODEL_PX, MODEL_PX, MEAN, STD).train()

    def feed() -> None:
        for name, boxes_xywh in photos.items():
            with Image.open(folder / name) as photo:
                image = to_tensor(photo.convert("RGB"))
            boxes = torch.tensor(boxes_xywh).reshape(-1, 4)
            target = {"boxes": torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)}
            images, _ = transform([image], [target])
            assert images.tensors.shape[-1] == MODEL_PX

    return feed


def columns_of(photos: dict[str, list[list[float]]], side: int, scale: float) -> Any:
    """Photos of this side as COCO columns, boxes scaled."""
    import numpy as np

    from agar_pipeline.coco.columns import CocoColumns

    boxes = np.concatenate([np.array(rows).reshape(-1, 4) for rows in photos.values()]) * scale
    image_ids = np.arange(len(photos))
    return CocoColumns(
        image_ids=image_ids,
        file_names=np.array(list(photos), dtype=object),
        sizes_wh=np.full((len(photos), 2), side),
        annotation_ids=np.arange(len(boxes)),
        annotation_image_ids=np.repeat(image_ids, [len(rows) for rows in photos.values()]),
        annotation_category_ids=np.ones(len(boxes), dtype=np.int64),
        boxes_xywh=boxes,
        iscrowd=np.zeros(len(boxes), bool),
        category_ids=np.array([1]),
        class_names=("colony",),
    )


def _ours(folder: Path, photos: dict[str, list[list[float]]], side: int) -> Any:
    """The loader that training uses, over photos of this side; alone, and with the model's own first step."""
    from agar_pipeline.detection.loading.data_loader import build_loader
    from agar_pipeline.detection.loading.dataset import DetectionDataset
    from agar_pipeline.detection.loading.sampling import PlainBatches
    from agar_pipeline.detection.models.torchvision_family import KeepScale

    columns = columns_of(photos, side, side / PHOTO_PX)
    dataset = DetectionDataset(columns, folder, MODEL_PX)
    loader = build_loader(dataset, PlainBatches(len(dataset), 4), num_workers=0)

    transform = KeepScale(MEAN, STD).train()

    def feed() -> None:
        for images, _ in loader:
            assert images[0].shape[-1] == MODEL_PX

    def feed_on_core() -> None:
        for images, targets in loader:
            assert transform(images, targets)[0].tensors.shape[-1] == MODEL_PX

    return feed, feed_on_core
