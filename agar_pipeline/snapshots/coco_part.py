"""Turns a snapshot's images and boxes into the COCO file of one part: class ids, and mending by the box policy."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import CocoCacheConfig, LabelMatch
from agar_pipeline.labels.box_rules import concat_findings
from agar_pipeline.labels.file_checks import check_files
from agar_pipeline.labels.file_memory import FactsMemory
from agar_pipeline.labels.image_rules import find_image_findings
from agar_pipeline.labels.mending import mend_part
from agar_pipeline.media.cache_photos import scale_columns
from agar_pipeline.progress import Log, Progress

UNKNOWN_CATEGORY_ID = 0
BOX_COLUMNS = ["box_id", "image_id", "label", "x", "y", "width", "height", "iscrowd"]
OF_NO_FILE = {"width": 0, "height": 0, "size_bytes": -1, "sha256": ""}
"""Replaces values that the snapshot does not know; findings report them, and policies judge the findings."""
LOG_EVERY_S = 10


class CocoPart:
    """Writer of one COCO file: takes blocks of the snapshot, mends them, and writes the remaining annotations."""

    def __init__(
        self,
        name: str,
        images: pa.Table,
        images_dir: Path,
        config: CocoCacheConfig,
        match: LabelMatch,
        write: Callable[[CocoColumns], None],
        memory: FactsMemory,
        log: Log,
    ) -> None:
        self._name, self._images, self._images_dir, self._config = name, images, images_dir, config
        self._match, self._write, self._memory = match, write, memory
        self._progress = _every_few_seconds(log, f"{name}: image files checked ({config.images})")
        self._image_ids = images["image_id"].to_numpy()
        nothing = pd.DataFrame(columns=BOX_COLUMNS)
        self._about_images = find_image_findings(_to_columns(to_frame(images), nothing, match)[0], name)
        self._checked = 0
        self.findings: list[pd.DataFrame] = []
        self.counts: Counter[str] = Counter()
        self.kept_images: list[CocoColumns] = []

    def add(self, image_ids: range, boxes: pd.DataFrame) -> None:
        """Check, mend and write the images of this part that have these ids; `boxes` has the boxes of all parts."""
        start, stop = np.searchsorted(self._image_ids, [image_ids.start, image_ids.stop]).tolist()
        images, config = to_frame(self._images.slice(start, stop - start)), self._config
        columns, labels = _to_columns(images, boxes[boxes["image_id"].isin(images["image_id"])], self._match)
        about_images = self._about_images[self._about_images["image_id"].isin(columns.image_ids)]
        about_images = concat_findings([about_images, self._check_files(columns, images)])
        mended = mend_part(columns, self._name, config.mend, config.min_box_side_px, about_images)
        kept = scale_columns(mended.columns, config.max_side) if config.max_side else mended.columns
        self._write(kept)
        self.findings.append(name_labels(mended.findings, columns, labels, self._match))
        self.counts.update(mended.counts)
        self.kept_images.append(kept.without_annotations())

    def _check_files(self, columns: CocoColumns, images: pd.DataFrame) -> pd.DataFrame:
        before, total = self._checked, len(self._images)
        self._checked += len(images)
        return check_files(
            columns,
            self._name,
            self._images_dir,
            self._config.images,
            hashes=list(zip(images["sha256"], images["size_bytes"], strict=True)),
            memory=self._memory,
            progress=lambda done, _: self._progress(before + done, total),
        )


def _every_few_seconds(log: Log, words: str) -> Progress:
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > LOG_EVERY_S:
            last = time.monotonic()
            log(f"{words}: {done:,} of {total:,}")

    return progress


def to_frame(images: pa.Table) -> pd.DataFrame:
    """Convert a slice of a snapshot's images, without nulls; only a slice, as text takes 3 times the memory here."""
    return images.to_pandas().fillna(OF_NO_FILE).astype(dict.fromkeys(("width", "height", "size_bytes"), "int64"))


def _to_columns(images: pd.DataFrame, boxes: pd.DataFrame, match: LabelMatch) -> tuple[CocoColumns, np.ndarray]:
    """Return COCO columns of the given images and their boxes, and the label of each annotation, (M,)."""
    class_names = match.spellings.class_names
    columns = CocoColumns(
        image_ids=images["image_id"].to_numpy(np.int64),
        file_names=images["path"].to_numpy(dtype=object),
        sizes_wh=images[["width", "height"]].to_numpy(np.int64),
        annotation_ids=boxes["box_id"].to_numpy(np.int64),
        annotation_image_ids=boxes["image_id"].to_numpy(np.int64),
        annotation_category_ids=boxes["label"].map(match.category_ids).fillna(UNKNOWN_CATEGORY_ID).to_numpy(np.int64),
        boxes_xywh=boxes[["x", "y", "width", "height"]].to_numpy(np.float64),
        iscrowd=boxes["iscrowd"].to_numpy(bool),
        category_ids=np.arange(1, len(class_names) + 1),
        class_names=tuple(name for _, name in sorted(class_names.items())),
        labelled=images["labelled"].to_numpy(bool),
    )
    return columns, boxes["label"].to_numpy(dtype=object)


def name_labels(findings: pd.DataFrame, columns: CocoColumns, labels: np.ndarray, match: LabelMatch) -> pd.DataFrame:
    """Give findings of unknown classes the label as it is in FiftyOne, and the known class name that it resembles.

    Args:
        findings: Findings in `columns`; changed in place.
        columns: One part, as annotated.
        labels: (M,) label of each annotation.
        match: The meaning of the snapshot's labels.
    """
    unknown = findings["rule"] == "unknown_class"
    rows = np.isin(columns.annotation_ids, findings.loc[unknown, "annotation_id"].to_numpy(np.int64))
    label_of = dict(zip(columns.annotation_ids[rows].tolist(), labels[rows].tolist(), strict=True))
    explained = {label: match.explain_unknown(label) for label in set(label_of.values())}
    findings.loc[unknown, "value"] = [explained[label_of[i]] for i in findings.loc[unknown, "annotation_id"]]
    return findings
