"""A snapshot's boxes in blocks: nothing lost, no image cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agar_pipeline.errors import ArtifactError
from agar_pipeline.snapshot_files.read_blocks import read_blocks


def write(path: Path, image_ids: np.ndarray, row_group_size: int = 10) -> pd.DataFrame:
    table = pd.DataFrame({"box_id": np.arange(len(image_ids)), "image_id": image_ids})
    table.to_parquet(path, row_group_size=row_group_size)
    return table


@pytest.mark.parametrize("at_once", [1, 7, 10, 64, 10_000])
def test_blocks_hold_whole_images_and_together_all(tmp_path: Path, at_once: int) -> None:
    per_image = np.random.default_rng(at_once).poisson(3, 200)
    per_image[[0, 50, 199]] = 0, 90, 0  # empty ones at both ends, and one larger than a block
    table = write(tmp_path / "boxes.parquet", np.repeat(np.arange(1, 201), per_image))
    blocks = list(read_blocks(tmp_path / "boxes.parquet", ["box_id", "image_id"], at_once))
    pd.testing.assert_frame_equal(pd.concat([boxes for _, boxes in blocks], ignore_index=True), table)
    assert [ids.start for ids, _ in blocks] == [1, *(ids.stop for ids, _ in blocks[:-1])]
    assert all(boxes["image_id"].between(ids.start, ids.stop - 1).all() for ids, boxes in blocks)
    assert len(blocks) == 1 if at_once > len(table) else len(blocks) > 2


def test_no_boxes_are_one_block_and_boxes_out_of_order_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "none.parquet", np.array([], dtype=np.int64))
    ((ids, boxes),) = read_blocks(tmp_path / "none.parquet", ["box_id", "image_id"], 5)
    assert 10**9 in ids
    assert boxes.empty
    write(tmp_path / "mixed.parquet", np.array([1, 3, 2, 4] * 9))
    with pytest.raises(ArtifactError, match="not in order of image_id"):
        list(read_blocks(tmp_path / "mixed.parquet", ["box_id", "image_id"], 5))
