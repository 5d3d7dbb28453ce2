"""Reads a snapshot's boxes in blocks of whole images, so that memory use does not grow with the dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from agar_pipeline.errors import ArtifactError

if TYPE_CHECKING:
    import pandas as pd


def read_blocks(path: Path, columns: list[str], boxes_at_once: int) -> Iterator[tuple[range, pd.DataFrame]]:
    """Yield blocks of boxes, in the order of the file, with the range of image ids that each block covers.

    Args:
        path: Path of `boxes.parquet`, sorted by image_id.
        columns: Names of the columns to read; `image_id` must be one of them.
        boxes_at_once: Approximate number of boxes in a block; all boxes of an image are in one block.

    Yields:
        Range of image ids, including images without boxes, and their boxes. The ranges are consecutive; the last one
        ends at 2**63 - 1.

    Raises:
        ArtifactError: The boxes are not sorted by image_id.
    """
    with pq.ParquetFile(path) as file:
        first, waiting = 1, file.schema_arrow.empty_table().select(columns)
        for group in range(file.num_row_groups):
            waiting = pa.concat_tables([waiting, file.read_row_group(group, columns)])
            if waiting.num_rows < boxes_at_once:
                continue
            image_ids = waiting["image_id"].to_numpy()
            if (image_ids[1:] < image_ids[:-1]).any():
                raise ArtifactError(
                    "is not in order of image_id", where=path, next_step="report this bug: name the command"
                )
            last = int(image_ids[-1])  # more boxes of this image may follow
            cut = int(image_ids.searchsorted(last))
            if cut:
                yield range(first, last), waiting.slice(0, cut).to_pandas()
                first, waiting = last, waiting.slice(cut)
        yield range(first, 2**63 - 1), waiting.to_pandas()
