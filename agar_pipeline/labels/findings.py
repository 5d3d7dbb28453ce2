"""Collects all findings of all parts and computes the verdict, for the bbox report and `agar inspect-coco`.

Here: collecting, counting, judging. Not here: the rules (`box_rules`, `image_rules`), the page
(`reports.bbox_page`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import MIN_BOX_SIDE_PX, Action, BoxRule, ImageChecks
from agar_pipeline.labels.box_rules import concat_findings, find_box_findings
from agar_pipeline.labels.file_checks import check_files
from agar_pipeline.labels.health import measure_health
from agar_pipeline.labels.image_rules import find_image_findings, find_part_findings
from agar_pipeline.labels.misread_boxes import find_misread_boxes
from agar_pipeline.progress import Progress

MISSING = "missing_image"
UNSAFE = "unsafe_file_name"


def find_all(
    parts: Mapping[str, CocoColumns],
    images_dir: Path,
    min_box_side_px: float,
    *,
    depth: ImageChecks = "skip",
    earlier: pd.DataFrame | None = None,
    progress: Progress = lambda done, total: None,
) -> pd.DataFrame:
    """All findings of all parts. A finding that is already in `earlier`, with a more detailed value, is not repeated.

    Boxes are checked in pixels of the photos, even if a cache contains smaller copies.
    """
    found = [earlier] if earlier is not None else []
    for part, columns in parts.items():
        in_photo = columns.in_photo_pixels()
        found += [
            find_box_findings(in_photo, part, min_box_side_px),
            find_image_findings(in_photo, part),
            find_part_findings(in_photo, part),
            check_files(columns, part, images_dir, depth, progress=progress),
        ]
    findings = concat_findings(found)
    if earlier is None or not len(earlier):
        return findings
    again = findings.duplicated(["rule", "part", "image_id", "annotation_id"]) & findings["image_id"].notna()
    again.iloc[: len(earlier)] = False
    return findings[~again].reset_index(drop=True)


def judge(
    parts: Mapping[str, CocoColumns],
    findings: pd.DataFrame,
    box_policy: Mapping[BoxRule, Action],
    max_missing_share: float,
    max_flawed_share: float,
    mending: Mapping[str, Mapping[str, Any]] | None = None,
    min_box_side_px: float = MIN_BOX_SIDE_PX,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Compute the verdict.

    Args:
        max_missing_share: If a larger share of images is missing, the verdict is `fail`, whatever the policy says.
        max_flawed_share: If a larger share of a part's boxes breaks one rule, the boxes of the part are misread as a
            whole.
        mending: Part → counts of `mending.Mended`, and `image_files`: the depth of the file checks; None if nothing was
            mended.
        min_box_side_px: As for `find_all`.

    Returns:
        The findings, those of whole parts first, with their `action`; and counts, shares and the verdict, JSON-ready.
    """
    totals = _totals(parts, mending)
    boxes = {part: (mending or {}).get(part, {}).get("annotations_before") for part in parts}
    boxes_before = {part: boxes[part] or len(columns.annotation_ids) for part, columns in parts.items()}
    misread = find_misread_boxes(parts, findings, max_flawed_share, boxes_before, min_box_side_px)
    findings = concat_findings([misread, findings])
    counts = findings["rule"].value_counts()
    missing = int(counts.get(MISSING, 0))
    policy: dict[str, str] = {str(rule): action for rule, action in box_policy.items()}
    if missing > max_missing_share * max(totals["before"]["images"], 1):
        policy[MISSING] = "fail"
    findings = findings.assign(action=findings["rule"].map(policy).astype("string"))
    before = totals["before"]["annotations"]
    report = {
        **totals,
        "categories": max((len(columns.category_ids) for columns in parts.values()), default=0),
        "crowds": sum(int(columns.iscrowd.sum()) for columns in parts.values()),
        "category_distribution": category_distribution(parts),
        "out_of_bounds_ratio": int(counts.get("out_of_bounds_box", 0)) / before if before else 0.0,
        "image_files": _image_files(mending or {}, counts),
        "health": measure_health(parts),
        "missing_ratio": missing / max(totals["before"]["images"], 1),
        "findings": {rule: {"count": int(counts.get(rule, 0)), "action": action} for rule, action in policy.items()},
        "ok": not (findings["action"] == "fail").any(),
    }
    return findings, report


def _totals(parts: Mapping[str, CocoColumns], mending: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    images = sum(len(columns.image_ids) for columns in parts.values())
    annotations = sum(len(columns.annotation_ids) for columns in parts.values())
    done = {
        name: sum(counts[name] for counts in (mending or {}).values())
        for name in ("images_dropped", "annotations_dropped", "annotations_clipped")
    }
    before = {"images": images + done["images_dropped"], "annotations": annotations + done["annotations_dropped"]}
    return {"images": images, "annotations": annotations, "before": before, **done}


def _image_files(mending: Mapping[str, Mapping[str, Any]], counts: pd.Series) -> dict[str, Any]:
    """The depth of the file checks when the cache was made, and how many image files could be opened."""
    depths = {counts["image_files"] for counts in mending.values()}
    files = sum(counts["images_before"] for counts in mending.values())
    return {"depth": depths.pop() if depths else "skip", "opened": max(0, files - not_opened(counts)), "of": files}


def not_opened(counts: pd.Series) -> int:
    """Number of image files that do not exist or must not be opened, from the number of findings per rule."""
    return sum(int(counts.get(rule, 0)) for rule in (MISSING, UNSAFE))


def category_distribution(parts: Mapping[str, CocoColumns]) -> dict[str, dict[str, int]]:
    """Class name → part → number of annotations."""
    distribution: dict[str, dict[str, int]] = {}
    for part, columns in parts.items():
        ids, counts = np.unique(columns.annotation_category_ids, return_counts=True)
        count_of = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        for category_id, name in dict(zip(columns.category_ids.tolist(), columns.class_names, strict=True)).items():
            row = distribution.setdefault(name, {})
            row[part] = row.get(part, 0) + count_of.get(category_id, 0)
    return distribution
