"""Photos on their way to the model: how true they are, and that chance follows the seed alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import DataConfig, TilesConfig
from agar_pipeline.detection.loading.augmentation import augment_image, paste_colonies
from agar_pipeline.detection.loading.data_loader import build_loader
from agar_pipeline.detection.loading.dataset import DetectionDataset
from agar_pipeline.detection.loading.sampling import PlainBatches
from agar_pipeline.detection.models.torchvision_family import KeepScale
from agar_pipeline.photos.load_and_resize import load_image
from agar_pipeline.plates.generate import render_plate

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def columns_of(folder: Path, sizes_wh: list[tuple[int, int]], boxes_each: int = 12, seed: int = 0) -> CocoColumns:
    """Photos of noise with random boxes, some of them at the border."""
    rng = np.random.default_rng(seed)
    boxes = []
    for number, (width, height) in enumerate(sizes_wh):
        Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8)).save(folder / f"{number}.png")
        low = rng.uniform(0, 0.9, (boxes_each, 2)) * (width, height)
        boxes.append(np.concatenate([low, np.minimum(rng.uniform(2, 40, low.shape), (width, height) - low)], axis=1))
    count = len(sizes_wh) * boxes_each
    return CocoColumns(
        image_ids=np.arange(len(sizes_wh)) + 100,
        file_names=np.array([f"{number}.png" for number in range(len(sizes_wh))], dtype=object),
        sizes_wh=np.array(sizes_wh),
        annotation_ids=np.arange(count),
        annotation_image_ids=np.repeat(np.arange(len(sizes_wh)) + 100, boxes_each),
        annotation_category_ids=np.tile([1, 2], count)[:count],
        boxes_xywh=np.concatenate(boxes),
        iscrowd=np.zeros(count, bool),
        category_ids=np.array([1, 2]),
        class_names=("a", "b"),
    )


@pytest.fixture(scope="module")
def plate_jpeg() -> bytes:
    return render_plate(1, 1024)[0]


@pytest.mark.parametrize("side", [512, 400, 300, 1024])
def test_a_resized_photo_is_within_45_db_of_a_float_reference(tmp_path: Path, plate_jpeg: bytes, side: int) -> None:
    (tmp_path / "plate.jpg").write_bytes(plate_jpeg)
    with Image.open(io.BytesIO(plate_jpeg)) as photo:
        whole = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
    wanted = torch.nn.functional.interpolate(whole, size=(side, side), mode="bilinear", antialias=True)
    seen = torch.from_numpy(load_image(tmp_path / "plate.jpg", side)[0]).permute(2, 0, 1)[None].float()
    psnr = 10 * torch.log10(255**2 / (seen - wanted).square().mean())
    assert psnr >= 45


def test_uint8_crosses_to_the_device_and_is_normalized_there(tmp_path: Path) -> None:
    dataset = DetectionDataset(columns_of(tmp_path, [(64, 48)]), tmp_path, 64)
    image = dataset[0][0]
    assert image.dtype == torch.uint8
    ours = KeepScale(MEAN, STD).normalize(image)
    assert torch.allclose(ours, KeepScale(MEAN, STD).normalize(image.float() / 255), atol=1e-5)


EVERYTHING: dict[str, Any] = {"scale_jitter": 0.4, "contrast": 0.3, "saturation": 0.3, "hue": 0.1, "copy_paste": 5}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(DataConfig(**EVERYTHING), id="whole plates"),
        pytest.param(DataConfig(**EVERYTHING, tiles=TilesConfig(size=64)), id="tiles"),
    ],
)
def test_items_follow_seed_epoch_and_index_whoever_loads_them(tmp_path: Path, data: DataConfig) -> None:
    columns = columns_of(tmp_path, [(120, 90), (80, 160), (70, 70)])

    def load(workers: int, rank: int, world_size: int, epoch: int) -> dict[int, tuple[torch.Tensor, dict[str, Any]]]:
        dataset = DetectionDataset(columns, tmp_path, None if data.tiles else 96, data, seed=7)
        dataset.epoch.fill_(epoch)
        return (
            {index: dataset[index] for index in range(rank, len(dataset), world_size)}
            if not workers
            else dict(
                enumerate(
                    (image, target)
                    for images, targets in build_loader(dataset, PlainBatches(len(dataset), 2), workers)
                    for image, target in zip(images, targets, strict=True)
                )
            )
        )

    alone = load(0, 0, 1, epoch=3)
    for others in (load(2, 0, 1, epoch=3), {**load(0, 0, 2, epoch=3), **load(0, 1, 2, epoch=3)}):
        assert alone.keys() == others.keys()
        for index, (image, target) in alone.items():
            assert torch.equal(image, others[index][0])
            assert torch.equal(target["boxes"], others[index][1]["boxes"])
    assert any(not torch.equal(alone[i][0], item[0]) for i, item in load(0, 0, 1, epoch=4).items())


def test_pasted_colonies_are_annotated_and_cover_none_that_is() -> None:
    boxes = np.array([[10, 10, 40, 40], [60, 60, 90, 90]], np.float32)
    shown = (np.zeros((100, 100, 3), np.uint8), boxes, np.array([1, 2]))
    red = np.zeros((200, 200, 3), np.uint8)
    red[..., 0] = 200
    sides = np.array([2, 9, 12, 15, 120])
    source = (red, np.stack([sides * 0, sides * 0, sides, sides], axis=1).astype(np.float32), np.array([3, 4, 5, 6, 7]))
    numbers = set()
    for seed in range(40):
        pixels, all_boxes, labels = paste_colonies(shown, source, 4, np.random.default_rng(seed))
        assert np.array_equal(all_boxes[:2], boxes)
        assert set(labels[2:].tolist()) <= {4, 5, 6}, "one of 2 px and one larger than the image are left out"
        reds = pixels[..., 0] > 0
        assert not reds[10:40, 10:40].any()
        assert not reds[60:90, 60:90].any()
        covered = np.zeros((100, 100), bool)
        for x1, y1, x2, y2 in all_boxes[2:].astype(int).tolist():
            assert pixels[(y1 + y2) // 2, (x1 + x2) // 2, 0] == 200
            assert not covered[y1:y2, x1:x2].any(), "they do not cover each other either"
            covered[y1:y2, x1:x2] = True
        assert not (reds & ~covered).any()
        numbers.add(len(labels) - 2)
    assert numbers >= {0, 1, 2, 3}
    assert not shown[0].any()


@pytest.mark.parametrize("tiles", [None, TilesConfig(size=64, empty=0.5)], ids=["scale jitter", "tiles"])
def test_no_change_passes_on_a_degenerate_box(tmp_path: Path, tiles: TilesConfig | None) -> None:
    data = DataConfig(scale_jitter=0.6, tiles=tiles)
    dataset = DetectionDataset(columns_of(tmp_path, [(130, 90), (64, 64)]), tmp_path, None if tiles else 96, data)
    shapes, counts = set(), set()
    for epoch in range(25):
        dataset.epoch.fill_(epoch)
        for index in range(len(dataset)):
            image, target = dataset[index]
            height, width = image.shape[1:]
            boxes = target["boxes"]
            assert max(height, width) <= (64 if tiles else 96)
            assert image.dtype == torch.uint8
            assert len(boxes) == len(target["labels"])
            assert boxes.dtype == torch.float32
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert (boxes >= 0).all()
            assert (boxes <= torch.tensor([width, height] * 2)).all()
            shapes.add((height, width))
            counts.add(len(boxes))
    assert len(counts) > 3, "some boxes leave the picture"
    assert tiles or len(shapes) > 10


@pytest.mark.parametrize("field", ["brightness", "contrast", "saturation", "hue"])
def test_each_colour_changes_pixels_and_no_box(field: str) -> None:
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, 20, 30), np.uint8))
    boxes = torch.tensor([[1.0, 2, 10, 12]])
    nothing: dict[str, Any] = {"flip": False, "quarter_turns": False, "brightness": 0.0}
    same, _ = augment_image(image, boxes, DataConfig(**nothing), np.random.default_rng(1))
    assert torch.equal(same, image)
    changed, kept = augment_image(image, boxes, DataConfig(**{**nothing, field: 0.4}), np.random.default_rng(1))
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed, image)
    assert torch.equal(kept, boxes)


def test_how_photos_are_fed_is_no_part_of_what_is_trained() -> None:
    from agar_pipeline.config import fingerprinted

    fast = DataConfig(num_workers=3, prefetch=7, pin_memory=True)
    assert fingerprinted(fast) == fingerprinted(DataConfig())
