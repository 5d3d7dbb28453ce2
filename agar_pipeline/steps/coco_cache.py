"""coco_cache: the snapshot as plain COCO files, one per part.

From here on nothing touches FiftyOne or its database. Here: class ids, file names, leaving out what the policy drops.
Not here: judging what is left (`bbox_report`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pandas as pd

from agar_pipeline.artifacts import Snapshot, Split
from agar_pipeline.config import CocoCacheConfig
from agar_pipeline.detection.box_rules import concat_findings, find_findings
from agar_pipeline.detection.coco import CocoColumns, write_coco

UNKNOWN_CATEGORY_ID = 0


def build(config: CocoCacheConfig, out_dir: Path, log: Callable[[str], None], snapshot: Snapshot, split: Split) -> None:
    """Write coco/<part>.json, findings.parquet and dataset.json."""
    images = snapshot.images().merge(split.table(), on="image_id", validate="one_to_one")
    boxes = snapshot.boxes()
    found, counts = [], {}
    for part in [part for part in ("train", "val", "test") if (images["part"] == part).any()]:
        columns, labels = _to_columns(images[images["part"] == part], boxes, config)
        kept, findings = leave_out(columns, labels, part, config.drop_box)
        write_coco(out_dir / "coco" / f"{part}.json", kept)
        found.append(findings)
        counts[part] = {"images": len(kept.image_ids), "annotations": len(kept.annotation_ids)}
    concat_findings(found).to_parquet(out_dir / "findings.parquet", index=False)
    dataset = {
        "images_dir": snapshot.dataset()["images_dir"],
        "class_map": config.class_map,
        "class_names": config.class_names,
        "parts": counts,
    }
    (out_dir / "dataset.json").write_bytes(orjson.dumps(dataset, option=orjson.OPT_INDENT_2))
    log("; ".join(f"{part}: {n['images']} images, {n['annotations']} annotations" for part, n in counts.items()))


def _to_columns(images: pd.DataFrame, boxes: pd.DataFrame, config: CocoCacheConfig) -> tuple[CocoColumns, np.ndarray]:
    """COCO columns of the given images, and the label of each annotation, (M,)."""
    boxes = boxes[boxes["image_id"].isin(images["image_id"])]
    columns = CocoColumns(
        image_ids=images["image_id"].to_numpy(np.int64),
        file_names=images["path"].to_numpy(dtype=object),
        sizes_wh=images[["width", "height"]].to_numpy(np.int64),
        annotation_ids=boxes["box_id"].to_numpy(np.int64),
        annotation_image_ids=boxes["image_id"].to_numpy(np.int64),
        annotation_category_ids=boxes["label"].map(config.class_map).fillna(UNKNOWN_CATEGORY_ID).to_numpy(np.int64),
        boxes_xywh=boxes[["x", "y", "width", "height"]].to_numpy(np.float64),
        iscrowd=boxes["iscrowd"].to_numpy(bool),
        category_ids=np.arange(1, len(config.class_names) + 1),
        class_names=tuple(config.class_names),
    )
    return columns, boxes["label"].to_numpy(dtype=object)


def leave_out(
    columns: CocoColumns, labels: np.ndarray, part: str, drop_box: tuple[str, ...]
) -> tuple[CocoColumns, pd.DataFrame]:
    """Leave out the boxes that break a rule whose policy is `drop_box`.

    Returns:
        What is left, and the findings that it can no longer show: the boxes left out, and the labels of unknown
        classes.
    """
    findings = find_findings(columns, part)
    unknown = findings["rule"] == "unknown_class"
    label_of = dict(zip(columns.annotation_ids.tolist(), labels.tolist(), strict=True))
    findings.loc[unknown, "value"] = [f"label {label_of[i]!r}" for i in findings.loc[unknown, "annotation_id"]]
    dropped = findings["rule"].isin(drop_box)
    keep = ~np.isin(columns.annotation_ids, findings.loc[dropped, "annotation_id"].to_numpy(np.int64))
    kept = dataclasses.replace(
        columns,
        annotation_ids=columns.annotation_ids[keep],
        annotation_image_ids=columns.annotation_image_ids[keep],
        annotation_category_ids=columns.annotation_category_ids[keep],
        boxes_xywh=columns.boxes_xywh[keep],
        iscrowd=columns.iscrowd[keep],
    )
    return kept, findings[dropped | unknown]
