"""Seams: whatever lies on them is found once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agar_pipeline.config import DataConfig, ModelConfig, TilesConfig, TrainingConfig, load_experiment
from agar_pipeline.detection.fitting.model_fitting import fit_config, fit_spec, make_spec, warn_of_seams
from agar_pipeline.detection.models.detector import build_detector
from agar_pipeline.detection.models.tile_merge import largest_exact_side, least_overlap, merge_tiles
from agar_pipeline.detection.models.tiles import TileGrid, choose_crop
from tests.detection.loading.test_dataset import columns_of


def see_in_tiles(grid: TileGrid, boxes_xyxy: np.ndarray, labels: np.ndarray, least_visible: float) -> tuple:
    """What a perfect detector answers, tile by tile: each colony as far as the tile shows it."""
    tile_index, seen, names = [], [], []
    for tile, window in enumerate(grid.tiles_xyxy):
        clipped = np.clip(boxes_xyxy, np.tile(window[:2], 2), np.tile(window[2:], 2))
        visible = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) / np.prod(
            boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1
        )
        rows = np.flatnonzero(visible > least_visible)
        seen.append(clipped[rows] - np.tile(window[:2], 2) + np.tile(window[:2], 2))
        tile_index.append(np.full(len(rows), tile))
        names.append(labels[rows])
    return np.concatenate(tile_index), np.concatenate(seen).reshape(-1, 4), np.concatenate(names)


def as_rows(boxes_xyxy: np.ndarray, labels: np.ndarray) -> list[tuple[float, ...]]:
    return sorted((*np.round(box, 6).tolist(), int(label)) for box, label in zip(boxes_xyxy, labels, strict=True))


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    colonies=st.integers(1, 500),
    size_wh=st.tuples(st.integers(150, 2100), st.integers(150, 2100)),
    tile=st.sampled_from([128, 256, 320, 512]),
    overlap_share=st.floats(0.1, 0.5),
    least_visible=st.sampled_from([0.0, 0.3, 0.6]),
    clumped=st.booleans(),
)
def test_a_perfect_detector_in_tiles_finds_exactly_the_truth(
    seed: int,
    colonies: int,
    size_wh: tuple[int, int],
    tile: int,
    overlap_share: float,
    least_visible: float,
    clumped: bool,
) -> None:
    rng = np.random.default_rng(seed)
    grid = TileGrid.over(size_wh, tile, int(tile * overlap_share))
    largest = min(largest_exact_side(grid.overlap), *size_wh)
    sides = rng.uniform(min(2.0, largest), largest, (colonies, 2))
    places = rng.uniform(0, 1, (colonies, 2))
    if clumped:  # colonies on, against and within one another
        places = places[rng.integers(0, max(1, colonies // 10), colonies)] + rng.normal(0, 0.003, (colonies, 2))
    low = np.clip(places, 0, 1) * (np.array(size_wh) - sides)
    boxes, labels = np.concatenate([low, low + sides], axis=1), rng.integers(1, 4, colonies)
    tile_index, seen, names = see_in_tiles(grid, boxes, labels, least_visible)
    scores = rng.uniform(0.1, 1, len(seen))
    kept = merge_tiles(grid, tile_index, seen, names, scores)
    assert as_rows(seen[kept], names[kept]) == as_rows(boxes, labels)


@pytest.mark.parametrize("seed", range(5))
def test_boxes_that_jitter_by_pixels_are_neither_lost_nor_doubled(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = TileGrid.over((1200, 900), 300, 80)
    corners = np.stack(np.meshgrid(np.arange(30, 1180, 46), np.arange(30, 880, 46)), axis=-1).reshape(-1, 2)
    centres = corners + rng.uniform(-8, 8, corners.shape)
    halves = rng.uniform(9, 15, centres.shape)
    truth = np.concatenate([centres - halves, centres + halves], axis=1)
    tile_index, seen, names = see_in_tiles(grid, truth, np.ones(len(truth), int), 0.3)
    seen = seen + rng.uniform(-2, 2, seen.shape)
    kept = merge_tiles(grid, tile_index, seen, names, rng.uniform(0.3, 1, len(seen)))
    nearest = np.abs((seen[kept][:, None, :2] + seen[kept][:, None, 2:]) / 2 - centres[None]).max(axis=2).argmin(axis=1)
    assert sorted(nearest.tolist()) == list(range(len(truth)))


@pytest.mark.parametrize(
    ("size_wh", "tile", "overlap"),
    [
        ((2048, 2048), 512, 64),
        ((100, 3000), 512, 256),
        ((512, 513), 512, 0),
        ((64, 64), 512, 10),
        ((1000, 777), 128, 64),
    ],
)
def test_a_grid_covers_the_plate_with_the_overlap_asked_for(size_wh: tuple[int, int], tile: int, overlap: int) -> None:
    grid = TileGrid.over(size_wh, tile, overlap)
    seen = np.zeros(size_wh[::-1], int)
    for left, top, right, bottom in grid.tiles_xyxy:
        assert right - left == min(tile, size_wh[0])
        assert bottom - top == min(tile, size_wh[1])
        seen[top:bottom, left:right] += 1
    assert seen.min() >= 1
    lefts = np.unique(grid.tiles_xyxy[:, 0])
    assert (np.diff(lefts) <= tile - overlap).all()
    points = np.random.default_rng(0).uniform(0, size_wh, (200, 2))
    owners = [(points >= core[:2]).all(axis=1) & (points < core[2:]).all(axis=1) for core in grid.cores_xyxy]
    assert (np.sum(owners, axis=0) == 1).all()


def test_a_crop_holds_a_colony_unless_it_may_be_empty() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([[900.0, 20, 940, 50]])
    holding = 0
    for _ in range(200):
        left, top, right, bottom = choose_crop((1000, 800), 256, boxes, 0.3, rng)
        assert (right - left, bottom - top) == (256, 256)
        assert 0 <= left <= right <= 1000
        assert 0 <= top <= bottom <= 800
        holding += left <= 900 and right >= 940 and top <= 20 and bottom >= 50
    assert 0.65 < holding / 200 < 0.85
    assert choose_crop((100, 60), 256, boxes[:0], 0.0, rng) == (0, 0, 100, 60)


class KnowsTheTruth(torch.nn.Module):
    """Stands for the network: a colony is a rectangle of one colour."""

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        answers = []
        for image in images:
            colours = [int(value) for value in image[0].unique() if value]
            found = [torch.nonzero(image[0] == value) for value in colours]
            boxes = [torch.cat([at.min(0).values.flip(0), at.max(0).values.flip(0) + 1]) for at in found]
            answers.append(
                {
                    "boxes": torch.stack(boxes).float() if boxes else torch.zeros(0, 4),
                    "labels": torch.tensor([value % 2 for value in colours], dtype=torch.int64),
                    "scores": torch.full((len(boxes),), 0.9),
                    "left_out": torch.tensor(-1.0),
                }
            )
        return answers


def test_a_detector_of_tiles_answers_for_whole_plates() -> None:
    detector = build_detector(make_spec(ModelConfig(), 2, 64, np.array([12.0]), 10, tile_overlap=30)).eval()
    plate = torch.zeros(3, 150, 190, dtype=torch.uint8)
    wanted = []
    for number in range(30):
        x, y = 3 + 31 * (number % 6), 4 + 29 * (number // 6)
        plate[:, y : y + 17, x : x + 19] = number + 1
        wanted.append((x, y, x + 19, y + 17, 1 + (number + 1) % 2))
    detector.model = KnowsTheTruth()
    (answer,) = detector([plate])
    assert as_rows(answer["boxes"].numpy(), answer["labels"].numpy()) == as_rows(
        np.array([row[:4] for row in wanted]), np.array([row[4] for row in wanted])
    )
    assert answer["cut_at"] is None
    detector.detections_per_image = 3
    assert detector([plate])[0]["cut_at"] is not None, "a tile at the cap, not a plate beyond it, may have lost some"


def _config(tiles: TilesConfig) -> TrainingConfig:
    return load_experiment(
        "tiny_steps", [f"++data.tiles={{size: {tiles.size}, overlap: {tiles.overlap or 'null'}}}", "data.scale=null"]
    ).training_run


def test_the_overlap_follows_the_largest_colony_or_says_so(tmp_path: Path) -> None:
    columns = columns_of(tmp_path, [(400, 400)])
    largest = columns.boxes_xywh[:, 2:].max()
    fitted = fit_config(_config(TilesConfig(size=200)), columns)
    assert isinstance(fitted.data.tiles, TilesConfig)
    assert fitted.data.tiles.overlap == least_overlap(largest)
    assert warn_of_seams(fitted.data, columns) is None
    assert fit_config(fitted, columns) == fitted
    said = warn_of_seams(DataConfig(tiles=TilesConfig(size=200, overlap=16)), columns)
    assert said is not None
    assert f"data.tiles.overlap={least_overlap(largest)}" in said
    spec = fit_spec(fitted, columns, columns)
    assert (spec.input_size, spec.tile_overlap, spec.image_side) == (200, least_overlap(largest), None)
