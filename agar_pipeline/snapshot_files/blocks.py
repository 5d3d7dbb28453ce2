"""A snapshot's boxes some at a time, each image's together: for work whose memory must not grow with the dataset."""

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
    """The image ids that a block is about, those without boxes included, and their boxes, in the order of the file.

    Args:
        path: `boxes.parquet`, in order of image_id.
        columns: Which; `image_id` among them.
        boxes_at_once: In a block, about; an image with more is in one block all the same.

    Yields:
        Blocks that follow one another; the last one has no end.

    Raises:
        ArtifactError: the boxes are not in order.
    """
    with pq.ParquetFile(path) as file:
        first, waiting = 1, file.schema_arrow.empty_table().select(columns)
        for group in range(file.num_row_groups):
            waiting = pa.concat_tables([waiting, file.read_row_group(group, columns)])
            if waiting.num_rows < boxes_at_once:
                continue
            image_ids = waiting["image_id"].to_numpy()
            if (image_ids[1:] < image_ids[:-1]).any():
                raise ArtifactError(f"{path} is not in order of image_id: a bug, please report it")
            last = int(image_ids[-1])  # more of its boxes may follow
            cut = int(image_ids.searchsorted(last))
            if cut:
                yield range(first, last), waiting.slice(0, cut).to_pandas()
                first, waiting = last, waiting.slice(cut)
        yield range(first, 2**63 - 1), waiting.to_pandas()
