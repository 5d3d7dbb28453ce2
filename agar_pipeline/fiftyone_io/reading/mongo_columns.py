"""Decodes the raw batches of the query (`query`) into columns.

Values that are not content are dropped here: ids of labels, times, and the folder of the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import bson
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from agar_pipeline.errors import DatasetError, DatasetMovedError
from agar_pipeline.fiftyone_io.reading import bson_bytes as raw
from agar_pipeline.fiftyone_io.reading.source import ResolvedSource
from agar_pipeline.snapshot_files.source_columns import Boxes, Columns

_NOT_CONTENT = ("_id", "_cls", "mask", "mask_path", "instance")
"""Keys of a detection that are dropped: random ids, its Python class, and masks, which no step reads."""
_MOST_LAYOUTS = 30
"""Number of different key layouts of detections that are read in groups; the rest of a batch is read one by one."""
_FOUR_NUMBERS = bson.encode({"0": 0.0, "1": 0.0, "2": 0.0, "3": 0.0})
_NUMBERS_AT = (7, 18, 29, 40)


def decode(batch: bytes, source: ResolvedSource, root: str) -> Columns:
    """Turn one raw batch into columns.

    Raises:
        DatasetMovedError: An image is no longer in the folder `root`.
        DatasetError: A filepath cannot be used.
    """
    data, starts = raw.as_array(batch), raw.document_starts(batch)
    ids = raw.read_rows(data, raw.find_values(data, starts, ["_id"]).at, 12)
    sides = [raw.read_numbers(data, raw.find_values(data, starts, ["metadata", side])) for side in ("width", "height")]
    lists = raw.find_values(data, starts, source.label_path.split("."))
    counts, boxes = _decode_boxes(batch, data, lists)
    return Columns(
        sample_ids=_hexadecimal(ids),
        paths=decode_paths(batch, root),
        sizes_wh=np.stack(sides, axis=1),
        boxes_per_sample=counts,
        boxes=boxes,
        labelled=lists.kinds == raw.ARRAY,
    )


def decode_paths(batch: bytes, root: str) -> pa.Array:
    """Read the images' paths of one raw batch, relative to `root`.

    Raises:
        DatasetMovedError: An image is no longer in the folder `root`.
        DatasetError: A filepath is not a text, or contains `..` or a zero byte.
    """
    data, starts = raw.as_array(batch), raw.document_starts(batch)
    found = raw.find_values(data, starts, ["filepath"])
    folder = np.frombuffer(root.rstrip("/").encode() + b"/", np.uint8)
    if (found.kinds != raw.TEXT).any():
        bad = int(np.flatnonzero(found.kinds != raw.TEXT)[0])
        raise _bad_path(batch, starts[bad])
    long_enough = raw.read_int32(data, found.at) > len(folder)
    inside = long_enough & raw.equal_rows(raw.read_rows(data, found.at + 4, len(folder)), folder)
    if not inside.all():
        raise DatasetMovedError(
            "gained or lost images while it was read",
            where="the dataset",
            next_step="run the command again when nobody imports or deletes images",
        )
    paths = raw.read_texts(data, found.at, skip=len(folder))
    bad_rows = pc.or_(pc.match_substring_regex(paths, r"(^|/)\.\./"), pc.match_substring(paths, "\0"))
    if pc.any(bad_rows).as_py():
        raise _bad_path(batch, starts[bad_rows.index(True).as_py()])
    return paths


def _bad_path(batch: bytes, start: int) -> DatasetError:
    size = int.from_bytes(batch[start : start + 4], "little")
    row = bson.decode(batch[start : start + size])
    return DatasetError(
        f"has the filepath {row.get('filepath')!r}, which is not an absolute path without '..'",
        where=f"sample {row['_id']}",
        next_step="correct it in FiftyOne",
    )


def _hexadecimal(ids: np.ndarray) -> pa.Array:
    offsets = np.arange(0, 24 * (len(ids) + 1), 24, dtype=np.int32)
    digits = ids.tobytes().hex().encode()
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets.tobytes()), pa.py_buffer(digits))


def _decode_boxes(batch: bytes, data: np.ndarray, lists: raw.Values) -> tuple[np.ndarray, Boxes]:
    """Return the number of boxes of each sample and all boxes; a field that is not a list has no boxes."""
    counts = np.zeros(len(lists.at), dtype=np.int64)
    starts: list[int] = []
    for row in np.flatnonzero(lists.kinds == raw.ARRAY).tolist():
        found = raw.starts_in_array(batch, int(lists.at[row]))
        if found is None:  # an entry is not a document: rare, so all are read one by one
            values = [value if isinstance(value, list) else [] for value in raw.read_any(batch, lists)]
            return np.array([len(value) for value in values]), _read_one_by_one([v for value in values for v in value])
        counts[row] = len(found)
        starts += found
    return counts, _read_boxes(batch, data, np.array(starts, dtype=np.int64))


def _read_boxes(batch: bytes, data: np.ndarray, starts: np.ndarray) -> Boxes:
    """Read detections with only a label and four floats together, and all others one by one; the order is kept."""
    plain_rows, label_at, numbers = [], [], []
    for rows, fields in raw.layouts(data, starts, _MOST_LAYOUTS):
        if fields is None or fields.get("label", [0])[0] != raw.TEXT or fields.get("bounding_box", [0])[0] != raw.ARRAY:
            continue
        boxes = raw.read_rows(data, fields["bounding_box"][1], len(_FOUR_NUMBERS))
        plain = _has_four_floats(boxes) & _has_nothing_else(data, fields)
        plain_rows.append(rows[plain])
        label_at.append(fields["label"][1][plain])
        numbers.append(np.stack([np.ascontiguousarray(boxes[plain, n : n + 8]) for n in _NUMBERS_AT], axis=1))
    rows = np.concatenate([np.empty(0, np.int64), *plain_rows])
    labels = raw.read_texts(data, np.concatenate([np.empty(0, np.int64), *label_at]))
    boxes_rel_xywh = np.concatenate([np.empty((0, 4, 8), np.uint8), *numbers]).reshape(-1).view("<f8").reshape(-1, 4)
    is_other = np.ones(len(starts), dtype=bool)
    is_other[rows] = False
    others = np.flatnonzero(is_other)
    if not len(others) and (np.diff(rows) > 0).all():  # the rows are already in order
        return Boxes(labels, boxes_rel_xywh, np.zeros(len(rows), dtype=bool), pa.nulls(len(rows), pa.string()))
    one_by_one = _read_one_by_one([_document(batch, int(start)) for start in starts[others]])
    order = np.argsort(np.concatenate([rows, others]), kind="stable")
    return Boxes(
        labels=pa.concat_arrays([labels, one_by_one.labels]).take(pa.array(order)),
        boxes_rel_xywh=np.concatenate([boxes_rel_xywh, one_by_one.boxes_rel_xywh])[order],
        iscrowd=np.concatenate([np.zeros(len(rows), dtype=bool), one_by_one.iscrowd])[order],
        attributes=pa.concat_arrays([pa.nulls(len(rows), pa.string()), one_by_one.attributes]).take(pa.array(order)),
    )


def _document(batch: bytes, start: int) -> dict[str, Any]:
    return bson.decode(batch[start : start + int.from_bytes(batch[start : start + 4], "little")])


def _has_four_floats(boxes: np.ndarray) -> np.ndarray:
    """Whether (B, 49) bytes of B lists are, apart from the numbers, those of a list of four floats; (B,) bool."""
    expected = np.frombuffer(_FOUR_NUMBERS, np.uint8)
    fixed = np.ones(len(expected), dtype=bool)
    for at in _NUMBERS_AT:
        fixed[at : at + 8] = False
    return raw.equal_rows(boxes[:, fixed], expected[fixed])


def _has_nothing_else(data: np.ndarray, fields: raw.Fields) -> np.ndarray:
    """Whether all fields except label and box are empty, null, or in `_NOT_CONTENT`; (B,) bool."""
    plain = np.ones(len(fields["label"][1]), dtype=bool)
    for name, (kind, at) in fields.items():
        if name in _NOT_CONTENT or name in ("label", "bounding_box") or kind == raw.NULL:
            continue
        if kind in (raw.DOCUMENT, raw.ARRAY):
            plain &= raw.read_int32(data, at) == len(bson.encode({}))
        else:
            plain[:] = False
    return plain


def _read_one_by_one(detections: Sequence[Any]) -> Boxes:
    """Read detections of any content: entries that are not documents, and missing or wrong values, are accepted."""
    documents = [value if isinstance(value, dict) else {} for value in detections]
    rest = [_read_rest(document) for document in documents]
    boxes = [_four_numbers(document.get("bounding_box")) for document in documents]
    return Boxes(
        labels=pa.array([_text(document.get("label")) for document in documents], pa.string()),
        boxes_rel_xywh=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        iscrowd=np.array([iscrowd for iscrowd, _ in rest], dtype=bool),
        attributes=pa.array([attributes for _, attributes in rest], pa.string()),
    )


def _text(label: Any) -> str | None:
    return label if label is None or isinstance(label, str) else str(label)


def _four_numbers(box: Any) -> list[float]:
    return [_number(value) for value in (*(box if isinstance(box, list) else ()), *[None] * 4)[:4]]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _read_rest(document: dict[str, Any]) -> tuple[bool, str | None]:
    """Return a detection's `iscrowd` (a field, or one of FiftyOne's older attributes) and its other values as JSON."""
    skipped = ("label", "bounding_box", *_NOT_CONTENT)
    kept = {key: value for key, value in document.items() if key not in skipped and value not in (None, [], {})}
    iscrowd = kept.pop("iscrowd", None)
    old = kept.get("attributes")
    if iscrowd is None and isinstance(old, dict) and isinstance(old.get("iscrowd"), dict):
        iscrowd = old["iscrowd"].get("value")
    text = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS, default=str).decode() if kept else None
    return _is_true(iscrowd), text


def _is_true(value: Any) -> bool:
    return value.lower() in ("1", "true") if isinstance(value, str) else bool(value)
