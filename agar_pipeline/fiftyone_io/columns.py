"""The one query that both observing and reading send, and its rows as columns.

Observing hashes the bytes of the answer, reading decodes the same bytes: what is read is what was observed. The server
leaves out what is not content: ids of labels, times, the folder that the images lie in.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import bson
import numpy as np
import orjson
from pymongo.collection import Collection

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.source import ResolvedSource

_BATCH = 500
_NOT_CONTENT = ("_id", "_cls", "mask", "mask_path", "instance")
"""Of a detection: random ids, its Python class, pixels that no step reads."""
_PLAIN: dict[str, Any] = {"attributes": {}, "tags": []}
"""What FiftyOne stores in a detection that has neither attributes nor tags."""


@dataclass(frozen=True)
class SamplePaths:
    """Where the images are, in order of the sample ids."""

    root: str
    """The deepest common folder, or the one asked for; absolute."""
    relative: list[str]

    def absolute(self) -> list[str]:
        return [f"{self.root.rstrip('/')}/{path}" for path in self.relative]


def read_paths(samples: Collection, source: ResolvedSource, images_dir: str | None) -> SamplePaths:
    """All file paths of the view, sorted by sample id.

    Raises:
        DatasetError: a path is not absolute, climbs out by `..`, or lies outside of `images_dir`.
    """
    pipeline = [*source.stages, {"$sort": {"_id": 1}}, {"$project": {"filepath": 1}}]
    rows = [(row["_id"], row.get("filepath")) for row in samples.aggregate(pipeline, allowDiskUse=True)]
    for sample_id, path in rows:
        if not isinstance(path, str) or not path.startswith("/") or "/../" in path or "\0" in path:
            raise DatasetError(
                f"sample {sample_id} has the filepath {path!r}\n"
                "it must be absolute and free of '..': correct it in FiftyOne"
            )
    paths = [path for _, path in rows]
    if images_dir is not None:
        root = os.path.abspath(os.path.expanduser(images_dir))  # noqa: PTH100, PTH111 - must not follow links
        _require_inside(paths, root)
    elif paths:
        root = os.path.commonpath([os.path.dirname(min(paths)), os.path.dirname(max(paths))])  # noqa: PTH120
    else:
        root = "/"
    start = len(root.rstrip("/")) + 1
    return SamplePaths(root, [path[start:] for path in paths])


def _require_inside(paths: Sequence[str], root: str) -> None:
    outside = [path for path in paths if not path.startswith(root.rstrip("/") + "/")]
    if outside:
        raise DatasetError(
            f"{len(outside)} of {len(paths)} images lie outside of images_dir {root}: {outside[0]!r}\n"
            "correct snapshot.images_dir, or leave it out"
        )


def content_pipeline(source: ResolvedSource, root: str) -> list[dict[str, Any]]:
    """The view's stages, then exactly what a snapshot consists of, sorted by sample id."""
    labels = {"$cond": [{"$isArray": f"${source.label_path}"}, f"${source.label_path}", []]}

    def per_label(expression: Any) -> dict[str, Any]:
        return {"$map": {"input": "$labels", "as": "label", "in": expression}}

    rest: Any = "$$label"
    for name in ("label", "bounding_box", *_NOT_CONTENT):
        rest = {"$unsetField": {"field": name, "input": rest}}
    rest_or_null = {"$cond": [{"$eq": ["$$rest", {"$literal": _PLAIN}]}, None, "$$rest"]}
    return [
        *source.stages,
        {"$sort": {"_id": 1}},
        {"$project": {"filepath": 1, "tags": 1, "metadata": 1, "labels": labels}},
        {
            "$project": {
                "path": {"$substrBytes": ["$filepath", len(root.rstrip("/").encode()) + 1, -1]},
                "tags": {"$ifNull": ["$tags", []]},
                "width": {"$ifNull": ["$metadata.width", None]},
                "height": {"$ifNull": ["$metadata.height", None]},
                "label": per_label({"$ifNull": ["$$label.label", None]}),
                "box": per_label({"$ifNull": ["$$label.bounding_box", None]}),
                "rest": per_label({"$let": {"vars": {"rest": rest}, "in": rest_or_null}}),
            }
        },
    ]


@dataclass
class ContentHash:
    """The version of the content, from the bytes of every batch and the hashes of the files."""

    samples: int = 0
    _digest: Any = field(default_factory=lambda: hashlib.sha256(b"snapshot content 1\n"))

    def update(self, batch: bytes) -> None:
        self._digest.update(batch)

    def version(self, sha256_of_files: Sequence[str]) -> str:
        files = hashlib.sha256("\n".join(sha256_of_files).encode()).digest()
        return hashlib.sha256(self._digest.digest() + files).hexdigest()


def raw_batches(samples: Collection, source: ResolvedSource, root: str) -> Iterator[bytes]:
    """The content as BSON documents one after another; the cuts between batches mean nothing.

    The server makes the next batch while the caller works on the last one.
    """
    cursor = samples.aggregate_raw_batches(content_pipeline(source, root), allowDiskUse=True, batchSize=_BATCH)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, cursor, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, cursor, None)
            yield batch


@dataclass(frozen=True)
class Columns:
    """A batch of samples, column by column. B boxes on S samples."""

    sample_ids: list[str]
    paths: list[str]
    sizes_wh: np.ndarray
    """(S, 2) float64 from FiftyOne's metadata; NaN where there is none."""
    boxes_per_sample: np.ndarray
    """(S,) int64."""
    labels: list[str | None]
    boxes_rel_xywh: np.ndarray
    """(B, 4) float64, unchecked; NaN where no number is stored."""
    iscrowd: np.ndarray
    """(B,) bool."""
    attributes: list[str | None]
    """JSON with sorted keys."""


def decode(batch: bytes) -> Columns:
    """Turn one raw batch into columns."""
    rows = bson.decode_all(batch)
    rest = list(chain.from_iterable(row["rest"] for row in rows))
    iscrowd = np.zeros(len(rest), dtype=bool)
    attributes: list[str | None] = [None] * len(rest)
    for index, other in enumerate(rest):
        if other:
            iscrowd[index], attributes[index] = _read_rest(other)
    return Columns(
        sample_ids=[str(row["_id"]) for row in rows],
        paths=[row["path"] for row in rows],
        sizes_wh=np.array([(_number(row["width"]), _number(row["height"])) for row in rows]).reshape(-1, 2),
        boxes_per_sample=np.array([len(row["label"]) for row in rows], dtype=np.int64),
        labels=[_text(label) for label in chain.from_iterable(row["label"] for row in rows)],
        boxes_rel_xywh=_boxes(list(chain.from_iterable(row["box"] for row in rows))),
        iscrowd=iscrowd,
        attributes=attributes,
    )


def _text(label: Any) -> str | None:
    return label if label is None or isinstance(label, str) else str(label)


def _boxes(boxes: list[Any]) -> np.ndarray:
    """(B, 4) float64; the loop runs only where a box is not four numbers."""
    try:
        numbers = np.array(boxes, dtype=object if not boxes else None)
    except ValueError:  # some are longer than others
        numbers = np.empty(0)
    if numbers.shape == (len(boxes), 4) and numbers.dtype.kind in "fi":
        return numbers.astype(np.float64)
    rows = [[_number(v) for v in (*box, *[None] * 4)[:4]] if isinstance(box, list) else [math.nan] * 4 for box in boxes]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _read_rest(rest: dict[str, Any]) -> tuple[bool, str | None]:
    """A detection's `iscrowd` (a field of its own, or one of FiftyOne's older attributes) and what else it holds."""
    kept = {key: value for key, value in rest.items() if value not in (None, [], {})}
    iscrowd = kept.pop("iscrowd", None)
    old = kept.get("attributes")
    if iscrowd is None and isinstance(old, dict) and isinstance(old.get("iscrowd"), dict):
        iscrowd = old["iscrowd"].get("value")
    text = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS, default=str).decode() if kept else None
    return _is_true(iscrowd), text


def _is_true(value: Any) -> bool:
    return value.lower() in ("1", "true") if isinstance(value, str) else bool(value)
