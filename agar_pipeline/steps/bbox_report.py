"""bbox_report: checks every box of the COCO cache against every rule, and writes the verdict.

Here: collecting findings, then judging them by the policy. Not here: the rules (`labels`), mending on the way
into the cache (`coco_cache`), the page (`reports.bbox_page`).
"""

from __future__ import annotations

from pathlib import Path

import orjson

from agar_pipeline.artifacts import PICTURES, CocoCache
from agar_pipeline.coco.columns import read_coco
from agar_pipeline.config import BboxReportConfig
from agar_pipeline.labels.findings import find_all, judge
from agar_pipeline.labels.part_balance import measure_balance
from agar_pipeline.progress import Log
from agar_pipeline.text.plurals import plural


def build(config: BboxReportConfig, out_dir: Path, log: Log, coco_cache: CocoCache) -> None:
    """Write report.json, verdict.json, findings.parquet, report.html and its plots."""
    from agar_pipeline.reports.bbox_page import write_bbox_page
    from agar_pipeline.reports.rule_words import words_for

    parts = {part: read_coco(coco_cache.json_path(part)) for part in coco_cache.parts()}
    mending = coco_cache.mending()
    found = find_all(parts, coco_cache.images_dir, config.min_box_side_px, earlier=coco_cache.findings())
    shares = config.max_missing_share, config.max_flawed_share
    findings, report = judge(parts, found, config.box_policy, *shares, mending, config.min_box_side_px)
    report["balance"] = measure_balance(parts)
    findings.to_parquet(out_dir / "findings.parquet", index=False)
    (out_dir / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    (out_dir / "verdict.json").write_bytes(orjson.dumps({"ok": report["ok"]}))
    pictures = write_bbox_page(out_dir / "report.html", report, findings, parts, coco_cache.images_dir)
    (out_dir / PICTURES).write_bytes(orjson.dumps(pictures))
    counts = {words_for(rule): f["count"] for rule, f in report["findings"].items()}
    broken = ", ".join(plural(count, words.one, words.many) for words, count in counts.items() if count)
    verdict = "ok" if report["ok"] else "NOT ok"
    log(f"{plural(report['annotations'], 'annotation')} checked: {verdict}; {broken or 'no findings'}")
