"""Defines the one query that observing and reading both send, and finds the common folder of its images.

The query requests whole fields, sorted by sample id, which is indexed. The server therefore computes and sorts nothing
and holds at most one batch in memory, independent of the size of the dataset.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pymongo.collection import Collection

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.reading.source import ResolvedSource
from agar_pipeline.text.plurals import plural

_BATCH = 500


@dataclass(frozen=True)
class Extent:
    """Root folder and number of the images of a view."""

    root: str
    """The deepest common folder of the images, or `images_dir` if that is set; absolute."""
    samples: int


def find_extent(samples: Collection, source: ResolvedSource, images_dir: str | None) -> Extent:
    """Find the root folder and number of the images of the view; without images the root is `/`.

    Raises:
        DatasetError: A path is not absolute, or is outside `images_dir`.
    """
    about = {"_id": None, "first": {"$min": "$filepath"}, "last": {"$max": "$filepath"}, "samples": {"$sum": 1}}
    row = next(samples.aggregate([*source.stages, {"$group": about}]), None)
    if row is None:
        return Extent("/", 0)
    ends = row["first"], row["last"]  # a common prefix of the first and last is common to all
    for path in ends:
        if not isinstance(path, str) or not path.startswith("/"):
            raise DatasetError(
                f"has the filepath {path!r}, which is not an absolute path without '..'",
                where="a sample",
                next_step="correct it in FiftyOne",
            )
    if images_dir is None:
        return Extent(os.path.commonpath([os.path.dirname(path) for path in ends]), row["samples"])  # noqa: PTH120
    root = os.path.abspath(os.path.expanduser(images_dir))  # noqa: PTH100, PTH111 - must not follow links
    if not all(path.startswith(root.rstrip("/") + "/") for path in ends):
        raise _outside(samples, source, root, row["samples"])
    return Extent(root, row["samples"])


def _outside(samples: Collection, source: ResolvedSource, root: str, in_all: int) -> DatasetError:
    elsewhere = {"$match": {"filepath": {"$not": {"$regex": "^" + re.escape(root.rstrip("/") + "/")}}}}
    about = {"$group": {"_id": None, "count": {"$sum": 1}, "first": {"$min": "$filepath"}}}
    row = next(samples.aggregate([*source.stages, elsewhere, about]), {"count": "some", "first": None})
    return DatasetError(
        f"does not contain {row['count']} of {plural(in_all, 'image')}, among them {row['first']!r}",
        where="snapshot.images_dir",
        value=root,
        next_step="correct snapshot.images_dir, or leave it out",
    )


def content_pipeline(source: ResolvedSource) -> list[dict[str, Any]]:
    """Return the view's stages followed by the sort by sample id and the projection to the snapshot's fields."""
    wanted = {"filepath": 1, "metadata.width": 1, "metadata.height": 1, source.label_path: 1}
    return [*source.stages, {"$sort": {"_id": 1}}, {"$project": wanted}]


def raw_batches(samples: Collection, source: ResolvedSource) -> Iterator[bytes]:
    """Yield the content in batches of consecutive BSON documents; the limits between batches have no meaning.

    The next batch is requested in a thread while the caller processes the current one.
    """
    cursor = samples.aggregate_raw_batches(content_pipeline(source), allowDiskUse=True, batchSize=_BATCH)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, cursor, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, cursor, None)
            yield batch
