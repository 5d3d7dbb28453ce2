"""Divides the photos of train into folds, each of which is predicted by a model that was trained on the others.

Photos that look the same, or have the same value of the field that the split groups by, are in one fold. Here: groups
and folds. Not here: drawing with shares of every class (`stratify`), training (`steps.label_review`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.errors import DatasetError
from agar_pipeline.splitting.groups import join_all
from agar_pipeline.splitting.stratify import fill_shares, is_missing
from agar_pipeline.text.plurals import plural


def assign_folds(
    columns: CocoColumns, images: pd.DataFrame, pairs: pd.DataFrame, group_by: str | None, folds: int, seed: int
) -> np.ndarray:
    """Assign each image to a fold; the classes are spread evenly over the folds.

    Args:
        columns: N images and their annotations.
        images: One row per image, also of other parts: image_id, sample_id, and the column `group_by` if it is a field.
        pairs: Pairs of duplicates, with `splitting.leakage.PAIR_COLUMNS`.
        group_by: As in the config of the split.
        folds: Number of folds. If there are fewer groups, each group is a fold.
        seed: Seed of the order of equal groups.

    Returns:
        (N,) int64 from 0 to the number of folds − 1; none is empty.

    Raises:
        DatasetError: fewer than two groups have an annotation, so that one would be predicted by an untrained model.
    """
    keys = _group_keys(columns, images, pairs, group_by)
    groups, group_of = np.unique(keys.astype(str), return_inverse=True)
    annotated = np.isin(columns.image_ids, columns.annotation_image_ids[~columns.iscrowd])
    if len(np.unique(group_of[annotated])) < 2:
        raise DatasetError(
            f"has {plural(len(columns.image_ids), 'photo')} in {plural(len(groups), 'group')}, and two folds need "
            "annotated photos of two groups",
            where="the part train",
            next_step="annotate more photos, or correct split.group_by; photos that look the same are one group",
        )
    folds = min(folds, len(groups))
    strata = _images_per_class(columns)
    counts = np.zeros((len(groups), strata.shape[1]), np.int64)
    np.add.at(counts, group_of, strata)
    sizes = np.bincount(group_of, minlength=len(groups))
    drawn = fill_shares(np.full(folds, 1 / folds), sizes, counts, seed)
    return np.unique(drawn, return_inverse=True)[1][group_of]


def _group_keys(columns: CocoColumns, images: pd.DataFrame, pairs: pd.DataFrame, group_by: str | None) -> np.ndarray:
    """(N,) text keys; photos of one key stay in one fold. A photo without a value of the field is a group of its own.

    Pairs that are joined by a photo of another part are not joined here: that photo is in no fold.
    """
    rows = images.set_index("image_id").loc[columns.image_ids]
    ids = rows["sample_id"].to_numpy(dtype=object)
    keys = np.array([f"photo {one}" for one in ids], dtype=object)
    if group_by is not None and group_by.startswith("field:"):
        values = rows[group_by].to_list()
        keys = np.array(
            [key if is_missing(value) else f"value {value}" for key, value in zip(keys, values, strict=True)], object
        )
    row_of = {image: row for row, image in enumerate(columns.image_ids.tolist())}
    both = zip(pairs["image_id"], pairs["other_image_id"], strict=True)
    among = [(row_of[one], row_of[other]) for one, other in both if one in row_of and other in row_of]
    return join_all(ids, keys, np.array(among, np.int64)) if among else keys


def _images_per_class(columns: CocoColumns) -> np.ndarray:
    """(N, K + 1) 1 where an image shows a class; the last column is for images without an annotation."""
    shown = np.zeros((len(columns.image_ids), len(columns.category_ids) + 1), np.int64)
    order = np.argsort(columns.category_ids)
    category = order[np.searchsorted(columns.category_ids, columns.annotation_category_ids, sorter=order)]
    rows, known = columns.image_rows()
    used = known & ~columns.iscrowd
    shown[rows[used], category[used]] = 1
    shown[:, -1] = shown[:, :-1].sum(axis=1) == 0
    return shown
