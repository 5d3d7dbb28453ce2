"""bbox_report: every box of the COCO cache against every rule, and the verdict.

Here: collecting findings, then judging them by the policy. Not here: the rules (`detection.box_rules`), the page
(`reports.bbox_page`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from agar_pipeline.artifacts import CocoCache
from agar_pipeline.config import BboxReportConfig
from agar_pipeline.detection.box_rules import concat_findings, find_empty_part, find_findings, find_missing_images
from agar_pipeline.detection.coco import CocoColumns, read_coco


def build(config: BboxReportConfig, out_dir: Path, log: Callable[[str], None], coco_cache: CocoCache) -> None:
    """Write report.json, findings.parquet and report.html."""
    from agar_pipeline.reports.bbox_page import write_bbox_page

    parts = {part: read_coco(coco_cache.json_path(part)) for part in coco_cache.parts()}
    findings = find_all(parts, coco_cache.images_dir, coco_cache.findings())
    findings["action"] = findings["rule"].map(config.box_policy).astype("string")
    report = judge(parts, findings, config.box_policy)
    findings.to_parquet(out_dir / "findings.parquet", index=False)
    (out_dir / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    write_bbox_page(out_dir / "report.html", report, findings, parts, coco_cache.images_dir)
    broken = {rule: f["count"] for rule, f in report["findings"].items() if f["count"]}
    verdict = "ok" if report["ok"] else "NOT ok"
    log(f"{report['annotations']} annotations checked: {verdict}, findings {broken or 'none'}")


def find_all(parts: Mapping[str, CocoColumns], images_dir: Path, earlier: pd.DataFrame) -> pd.DataFrame:
    """All findings of all parts; one that the COCO cache recorded earlier, with the label, stands for the same here."""
    found = [earlier]
    for part, columns in parts.items():
        exists = [(images_dir / str(name)).is_file() for name in columns.file_names]
        found += [
            find_findings(columns, part),
            find_missing_images(columns, part, exists),
            find_empty_part(columns, part),
        ]
    findings = concat_findings(found)
    again = findings.duplicated(["rule", "part", "annotation_id"]) & findings["annotation_id"].notna()
    return findings[~again].reset_index(drop=True)


def judge(parts: Mapping[str, CocoColumns], findings: pd.DataFrame, box_policy: Mapping[Any, str]) -> dict[str, Any]:
    """Counts, shares and the verdict, JSON-ready."""
    counts = findings["rule"].value_counts()
    annotations = sum(len(columns.annotation_ids) for columns in parts.values())
    dropped = findings[findings["action"] == "drop_box"]
    seen = annotations + dropped[["part", "annotation_id"]].drop_duplicates().shape[0]
    out_of_bounds = int(counts.get("out_of_bounds_box", 0))
    return {
        "images": sum(len(columns.image_ids) for columns in parts.values()),
        "annotations": annotations,
        "annotations_dropped": seen - annotations,
        "categories": max((len(columns.category_ids) for columns in parts.values()), default=0),
        "category_distribution": _distribution(parts),
        "out_of_bounds_ratio": out_of_bounds / seen if seen else 0.0,
        "findings": {
            rule: {"count": int(counts.get(rule, 0)), "action": action} for rule, action in box_policy.items()
        },
        "ok": not (findings["action"] == "fail").any(),
    }


def _distribution(parts: Mapping[str, CocoColumns]) -> dict[str, dict[str, int]]:
    """Class name → part → annotations."""
    distribution: dict[str, dict[str, int]] = {}
    for part, columns in parts.items():
        for category_id, name in zip(columns.category_ids.tolist(), columns.class_names, strict=True):
            count = int(np.count_nonzero(columns.annotation_category_ids == category_id))
            distribution.setdefault(name, {})[part] = count
    return distribution
