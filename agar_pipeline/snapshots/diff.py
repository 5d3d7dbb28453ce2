"""Finds what differs between two snapshots: images and boxes, as plain values.

Here: comparing two pairs of tables.
Not here: reading them (`artifacts`), finding them (`lineage`), showing the differences.
Whole columns are compared first; boxes are compared one by one only in images that differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.snapshots.box_pairing import KINDS, BoxColumns, Kind, near, pair_boxes
from agar_pipeline.snapshots.photo_changes import PHOTO_WORDS, compare_photos, counted, name_few
from agar_pipeline.text.plurals import plural


@dataclass(frozen=True)
class SnapshotTables:
    """`images.parquet` and `boxes.parquet` of one snapshot."""

    images: pd.DataFrame
    boxes: pd.DataFrame


@dataclass(frozen=True)
class ImageChange:
    """One image, with the path of its file before and after; None if that snapshot does not have it."""

    sample_id: str
    path_before: str | None
    path_after: str | None
    boxes: int
    """Number of its boxes; if it was removed, the number that it had."""

    @property
    def path(self) -> str:
        return self.path_after or self.path_before or ""


@dataclass(frozen=True)
class Box:
    """One annotated box as a snapshot holds it, in pixels."""

    label: str | None
    box_xywh: tuple[float, float, float, float]
    iscrowd: bool
    attributes: str | None


@dataclass(frozen=True)
class BoxChange:
    """One changed box of an image that both snapshots hold; None on the side without it."""

    kind: Kind
    sample_id: str
    path: str
    before: Box | None
    after: Box | None


@dataclass(frozen=True)
class SnapshotDiff:
    """All differences. Boxes of an image that only one snapshot holds are not listed in `boxes`."""

    images_added: tuple[ImageChange, ...]
    images_removed: tuple[ImageChange, ...]
    files_replaced: tuple[ImageChange, ...]
    """Same sample, other file content."""
    files_missing: tuple[ImageChange, ...]
    """Same sample, whose file is now missing on disk."""
    files_found: tuple[ImageChange, ...]
    """Same sample, whose file was missing on disk and now exists."""
    files_moved: tuple[ImageChange, ...]
    """Same sample, other path."""
    images_labelled: tuple[ImageChange, ...]
    """Images that were unlabelled before; an empty plate that somebody has looked at counts as labelled."""
    images_unlabelled: tuple[ImageChange, ...]
    """Images that were labelled before and are unlabelled now."""
    boxes: tuple[BoxChange, ...]
    boxes_reordered: tuple[ImageChange, ...]
    """Images with the same boxes in another order."""

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, name) for name in self.__dataclass_fields__)

    def to_plain(self) -> dict[str, Any]:
        """Return it JSON-ready; values of a box that are not finite are null."""
        plain: dict[str, Any] = {
            name: [{"path": change.path, **asdict(change)} for change in getattr(self, name)]
            for name in self.__dataclass_fields__
            if name != "boxes"
        }
        for kind in KINDS:
            plain[f"boxes_{kind}"] = [
                {
                    "sample_id": change.sample_id,
                    "path": change.path,
                    "before": _plain_box(change.before),
                    "after": _plain_box(change.after),
                }
                for change in self.boxes
                if change.kind == kind
            ]
        return plain


def diff_tables(before: SnapshotTables, after: SnapshotTables) -> SnapshotDiff:
    """Compare two snapshots. Images are matched by sample id, boxes as `pair_boxes` pairs them."""
    old, new = _by_sample(before), _by_sample(after)
    both = new.loc[new.index.isin(old.index)]
    were = old.loc[both.index]
    photos = compare_photos(were, both)
    moved = both["path"] != were["path"]
    now, then = (side["labelled"].to_numpy(bool) for side in (both, were))
    boxes, reordered = _diff_boxes(_group(before, both.index), _group(after, both.index), both)
    return SnapshotDiff(
        images_added=_image_changes(None, new.loc[~new.index.isin(old.index)]),
        images_removed=_image_changes(old.loc[~old.index.isin(new.index)], None),
        files_replaced=_image_changes(were.loc[photos.replaced], both.loc[photos.replaced]),
        files_missing=_image_changes(were.loc[photos.missing], both.loc[photos.missing]),
        files_found=_image_changes(were.loc[photos.found], both.loc[photos.found]),
        files_moved=_image_changes(were.loc[moved], both.loc[moved]),
        images_labelled=_image_changes(were.loc[now & ~then], both.loc[now & ~then]),
        images_unlabelled=_image_changes(were.loc[then & ~now], both.loc[then & ~now]),
        boxes=tuple(boxes),
        boxes_reordered=_image_changes(were.iloc[reordered], both.iloc[reordered]),
    )


def summarize(diff: SnapshotDiff) -> list[str]:
    """Return reasons such as `3 boxes changed in 2 images (1 added, 2 moved): 17.jpg, 18.jpg`; empty if none differ."""
    reasons = [
        _reason(diff.images_added, "image added", "images added"),
        _reason(diff.images_removed, "image removed", "images removed"),
        _reason(diff.files_replaced, *PHOTO_WORDS["replaced"]),
        _reason(diff.files_missing, *PHOTO_WORDS["missing"]),
        _reason(diff.files_found, *PHOTO_WORDS["found"]),
        _reason(diff.files_moved, "photo at another path", "photos at another path"),
        _reason(diff.images_labelled, "image labelled for the first time", "images labelled for the first time"),
        _reason(diff.images_unlabelled, "image without labels again", "images without labels again"),
        _box_reason(diff.boxes),
        _reason(
            diff.boxes_reordered, "image has its boxes in another order", "images have their boxes in another order"
        ),
    ]
    return [reason for reason in reasons if reason]


def _reason(changes: Sequence[ImageChange], one: str, many: str) -> str:
    return counted([change.path for change in changes], one, many) if changes else ""


def _box_reason(changes: Sequence[BoxChange]) -> str:
    if not changes:
        return ""
    paths = list(dict.fromkeys(change.path for change in changes))
    counts = Counter(change.kind for change in changes)
    kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS if counts[kind])
    boxes, images = plural(len(changes), "box", "boxes"), plural(len(paths), "image")
    return f"{boxes} changed in {images} ({kinds}){name_few(paths)}"


def _plain_box(box: Box | None) -> dict[str, Any] | None:
    if box is None:
        return None
    return {**asdict(box), "box_xywh": [side if math.isfinite(side) else None for side in box.box_xywh]}


def _by_sample(tables: SnapshotTables) -> pd.DataFrame:
    counts = tables.boxes["image_id"].value_counts()
    boxes = tables.images["image_id"].map(counts).fillna(0).astype(int)
    labelled = {} if "labelled" in tables.images else {"labelled": True}
    return tables.images.assign(boxes=boxes, **labelled).set_index("sample_id")


def _image_changes(before: pd.DataFrame | None, after: pd.DataFrame | None) -> tuple[ImageChange, ...]:
    rows = after if after is not None else before
    assert rows is not None
    paths = [[None] * len(rows) if side is None else list(side["path"]) for side in (before, after)]
    return tuple(map(ImageChange, map(str, rows.index), *paths, map(int, rows["boxes"])))


@dataclass(frozen=True)
class _GroupedBoxes:
    columns: BoxColumns
    starts: np.ndarray
    """First row of each image, and the number of rows as the last element."""

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.starts)

    def of_image(self, index: int) -> BoxColumns:
        return self.columns.rows(slice(self.starts[index], self.starts[index + 1]))


def _group(tables: SnapshotTables, sample_ids: pd.Index) -> _GroupedBoxes:
    boxes = tables.boxes
    image_ids = tables.images.set_index("sample_id")["image_id"].loc[sample_ids]
    place = pd.Index(image_ids).get_indexer(pd.Index(boxes["image_id"]))
    order = np.argsort(place, kind="stable")
    order = order[np.count_nonzero(place < 0) :]
    columns = BoxColumns(
        labels=_objects(boxes["label"]),
        boxes_xywh=boxes[XYWH_COLUMNS].to_numpy(dtype=np.float64),
        rest=np.stack([_objects(boxes["iscrowd"]), _objects(boxes["attributes"])], axis=1),
    )
    return _GroupedBoxes(columns.rows(order), np.searchsorted(place[order], np.arange(len(sample_ids) + 1)))


def _objects(column: pd.Series) -> np.ndarray:
    values = np.array(column, dtype=object)
    values[column.isna().to_numpy()] = None
    return values


def _diff_boxes(before: _GroupedBoxes, after: _GroupedBoxes, images: pd.DataFrame) -> tuple[list[BoxChange], list[int]]:
    """Return the changes, and the rows of images that hold the same boxes in another order."""
    changes: list[BoxChange] = []
    reordered: list[int] = []
    for index in _differing(before, after).tolist():
        left, right = before.of_image(index), after.of_image(index)
        sample_id, path = str(images.index[index]), str(images["path"].iloc[index])
        pairs = pair_boxes(left, right)
        changes += [BoxChange(kind, sample_id, path, _box(left, i), _box(right, j)) for kind, i, j in pairs]
        if not pairs:
            reordered.append(index)
    return changes, reordered


def _differing(before: _GroupedBoxes, after: _GroupedBoxes) -> np.ndarray:
    as_many = before.counts == after.counts
    left = before.columns.rows(np.repeat(as_many, before.counts))
    right = after.columns.rows(np.repeat(as_many, after.counts))
    same = near(left.boxes_xywh, right.boxes_xywh) & (left.labels == right.labels)
    same &= (left.rest == right.rest).all(axis=1)
    differing = ~as_many
    differing[np.repeat(np.flatnonzero(as_many), before.counts[as_many])[~same]] = True
    return np.flatnonzero(differing)


def _box(boxes: BoxColumns, row: int | None) -> Box | None:
    if row is None:
        return None
    x, y, width, height = boxes.boxes_xywh[row].tolist()
    iscrowd, attributes = boxes.rest[row]
    return Box(boxes.labels[row], (x, y, width, height), bool(iscrowd), attributes)
