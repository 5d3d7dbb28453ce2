"""Checks any COCO file against all rules, without Dagster and FiftyOne.

Here: the choice of image files to open, and the report. Not here: the rules, the page (`reports.bbox_page`), printing
(`commands`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agar_pipeline.coco.columns import CocoColumns, parse_coco
from agar_pipeline.config import (
    BOX_POLICY_DEFAULTS,
    MAX_FLAWED_SHARE,
    MENDING,
    MIN_BOX_SIDE_PX,
    Action,
    BoxRule,
    ImageChecks,
)
from agar_pipeline.labels.file_checks import check_files
from agar_pipeline.labels.findings import MISSING, find_all, judge, not_opened
from agar_pipeline.photos.missing_photos import explain_missing
from agar_pipeline.progress import Progress

_RENUMBERED: frozenset[BoxRule] = frozenset({"category_id_below_1"})
"""Rules that an import and a pipeline always fulfil: they number classes from 1 and ignore the file's numbers."""


@dataclass(frozen=True)
class Inspection:
    """The findings in a COCO file."""

    report: dict[str, Any]
    """As report.json of a bbox report, with two more keys.

    `image_files`: how many files could be opened, how many were to be opened, how many there are, the depth, the seed.
    `missing_names`: how the names of missing photos should be spelled, if that is known.
    """
    findings: pd.DataFrame
    columns: CocoColumns


def inspect_coco(
    json_path: Path,
    images_dir: Path,
    *,
    sample: int | None,
    seed: int = 0,
    depth: ImageChecks = "header",
    box_policy: Mapping[BoxRule, Action] | None = None,
    min_box_side_px: float = MIN_BOX_SIDE_PX,
    max_flawed_share: float = MAX_FLAWED_SHARE,
    progress: Progress = lambda done, total: None,
) -> Inspection:
    """Check every box, image and category of a COCO file, and the image files: all of them, or a sample.

    Args:
        json_path: Any COCO annotation file; the JSON itself is read, not the columns beside it.
        images_dir: Folder that `file_name` is relative to.
        sample: Number of image files to open, for the others only their existence is checked; None: all are opened.
        depth: Depth of the file checks.
        box_policy: `fail` or `keep` for rules that differ from the defaults; nothing is mended here.
        min_box_side_px: A box with a shorter side is a `small_box`.
        max_flawed_share: If a larger share of the boxes breaks one rule, the boxes are misread as a whole.
        progress: Called with the number of checked image files and of all files.

    Raises:
        AnnotationError: it is not a COCO file.
        DatasetError: it contains no image.
    """
    columns, part = parse_coco(json_path), json_path.stem
    columns.require_images(json_path)
    total = len(columns.image_ids)
    opened = columns
    if sample is not None and sample < total:
        rows = np.sort(np.random.default_rng(seed).choice(total, sample, replace=False))
        opened = columns.take_image_columns(rows)
    in_files = check_files(opened, part, images_dir, depth, progress=progress)
    findings = find_all({part: columns}, images_dir, min_box_side_px, earlier=in_files)
    policy: dict[BoxRule, Action] = {
        rule: "keep" if action in MENDING or rule in _RENUMBERED else action
        for rule, action in BOX_POLICY_DEFAULTS.items()
    }
    findings, report = judge(
        {part: columns},
        findings,
        {**policy, **(box_policy or {})},
        max_missing_share=0,
        max_flawed_share=max_flawed_share,
        min_box_side_px=min_box_side_px,
    )
    there = len(opened.image_ids) - (not_opened(in_files["rule"].value_counts()) if len(in_files) else 0)
    files = {"opened": there, "asked": len(opened.image_ids), "of": total, "depth": depth, "seed": seed}
    missing = findings.loc[findings["rule"] == MISSING, "file_name"].dropna().tolist()
    hint = explain_missing(images_dir, missing, columns.file_names.tolist())
    return Inspection({**report, "image_files": files, "missing_names": hint}, findings, columns)
