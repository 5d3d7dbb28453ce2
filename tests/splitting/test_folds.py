"""Folds of the photos of train: groups stay together, classes are spread, too few photos are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.errors import DatasetError
from agar_pipeline.splitting.folds import assign_folds

NO_PAIRS = pd.DataFrame({"image_id": [], "other_image_id": []})


def make_columns(classes: list[int | None]) -> CocoColumns:
    """An image for each entry, with one annotation of this class, or none."""
    ids = np.arange(len(classes)) + 10
    annotated = np.array([of is not None for of in classes])
    many = int(annotated.sum())
    return CocoColumns(
        image_ids=ids,
        file_names=np.array([f"{i}.jpg" for i in ids]),
        sizes_wh=np.full((len(ids), 2), 9),
        annotation_ids=np.arange(many),
        annotation_image_ids=ids[annotated],
        annotation_category_ids=np.array([of for of in classes if of is not None], np.int64),
        boxes_xywh=np.ones((many, 4)),
        iscrowd=np.zeros(many, bool),
        category_ids=np.array([2, 1]),
        class_names=("two", "one"),
    )


def assign(
    columns: CocoColumns, folds: int = 3, seed: int = 0, pairs: Any = NO_PAIRS, plates: Any = None
) -> np.ndarray:
    rows = np.random.default_rng(1).permutation(len(columns.image_ids))  # the snapshot may have another order
    images = pd.DataFrame({"image_id": columns.image_ids, "sample_id": [f"s{i}" for i in columns.image_ids]})
    if plates is not None:
        images["field:plate"] = plates
    group_by = None if plates is None else "field:plate"
    return assign_folds(columns, images.iloc[rows], pairs, group_by, folds, seed)


def test_classes_and_sizes_are_spread_over_the_folds() -> None:
    folds = assign(make_columns([1] * 9 + [2] * 3 + [None] * 3))
    assert np.bincount(folds).tolist() == [5, 5, 5]
    assert np.bincount(folds[9:12]).tolist() == [1, 1, 1]
    assert np.bincount(folds[12:]).tolist() == [1, 1, 1]


def test_copies_and_photos_of_one_plate_stay_together() -> None:
    columns = make_columns([1] * 12)
    pairs = pd.DataFrame({"image_id": [10, 15, 16], "other_image_id": [15, 21, 999]})
    plates = ["a", "a", "b", "b", None, "c", None, "d", "e", "f", "g", "h"]
    folds = assign(columns, pairs=pairs, plates=plates)
    assert len({folds[row] for row in (0, 1, 5, 11)}) == 1, "photos 10, 11 of plate a, 15 and 21 that look like 10"
    assert folds[2] == folds[3]
    assert set(folds) == {0, 1, 2}


def test_the_seed_alone_decides() -> None:
    columns = make_columns([1, 2] * 10)
    assert assign(columns).tolist() == assign(columns).tolist()
    assert assign(columns).tolist() != assign(columns, seed=1).tolist()


def test_fewer_groups_than_folds_make_fewer_folds_and_one_is_refused() -> None:
    assert set(assign(make_columns([1, 1, 2]), folds=5)) == {0, 1, 2}
    with pytest.raises(DatasetError, match=r"3 photos in 1 group, .*\nannotate more photos") as refused:
        assign(make_columns([1, 1, 2]), plates=["a"] * 3)
    assert "the part train" in str(refused.value)
    with pytest.raises(DatasetError, match="annotated photos of two groups"):
        assign(make_columns([1, None, None]))
