"""split: which part each image is in.

Here: assigning parts from sorted sample ids. Not here: reading tags or writing them, the dataset is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import numpy as np

from agar_pipeline.artifacts import Snapshot
from agar_pipeline.config import Part, SplitConfig
from agar_pipeline.errors import DatasetError


def build(config: SplitConfig, out_dir: Path, log: Callable[[str], None], snapshot: Snapshot) -> None:
    """Write split.parquet."""
    images = snapshot.image_ids()
    parts = assign_split(images["sample_id"].to_numpy(), config.fractions, config.seed)
    counts = {part: int((parts == part).sum()) for part in config.fractions}
    empty = [part for part, count in counts.items() if count == 0 and config.fractions[part] > 0]
    if empty:
        raise DatasetError(
            f"{len(images)} images leave the part {empty[0]!r} empty with fractions {dict(config.fractions)}\n"
            "add images, or change split.fractions in the pipeline file"
        )
    images[["image_id"]].assign(part=parts).to_parquet(out_dir / "split.parquet", index=False)
    log(f"{len(images)} images: " + ", ".join(f"{count} {part}" for part, count in counts.items()))


def assign_split(sample_ids: np.ndarray, fractions: Mapping[Part, float], seed: int) -> np.ndarray:
    """Assign a part to each sample: a seeded shuffle of the sorted ids, cut at the rounded cumulated fractions.

    Args:
        sample_ids: (N,) unique text ids, in any order.
        fractions: Share of each part; they sum to 1. Parts are cut off in the order train, val, test.
        seed: Of the shuffle.

    Returns:
        (N,) the part of each id, in the order of `sample_ids`. 4,431 ids at 0.8/0.2 give 3,544 and 887.
    """
    by_id = np.argsort(sample_ids, kind="stable")
    shuffled = np.random.default_rng(seed).permutation(len(sample_ids))
    parts_in_order = [part for part in get_args(Part) if part in fractions]
    shares = [fractions[part] for part in parts_in_order]
    cuts = np.floor(np.cumsum(shares) * len(sample_ids) + 1e-9).astype(int)
    cuts[-1] = len(sample_ids)
    places = np.searchsorted(cuts, np.arange(len(sample_ids)), side="right")
    parts = np.empty(len(sample_ids), dtype=object)
    parts[by_id[shuffled]] = np.array(parts_in_order, dtype=object)[places]
    return parts
