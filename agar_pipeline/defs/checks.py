"""Asset checks: verdicts that stop what comes after them."""

import dagster as dg

from agar_pipeline.artifacts import BboxReport, Split
from agar_pipeline.defs.tables import findings_per_rule, findings_table, pairs_table


@dg.asset_check(asset="bbox_report", blocking=True, description="No rule with the policy `fail` is broken.")
def boxes_are_clean(bbox_report: BboxReport) -> dg.AssetCheckResult:
    """Stops smoke and training in this run; `chain` asks for the stored verdict in every later one."""
    report = bbox_report.report()
    return dg.AssetCheckResult(
        passed=report["ok"],
        severity=dg.AssetCheckSeverity.ERROR,
        description=bbox_report.refusal(),
        metadata={
            "findings_per_rule": findings_per_rule(report),
            "findings": findings_table(bbox_report),
            "report": dg.MetadataValue.path(bbox_report.root / "report.html"),
        },
    )


@dg.asset_check(asset="split", blocking=True, description="No picture is in two parts, as far as split.leakage says.")
def parts_share_no_picture(split: Split) -> dg.AssetCheckResult:
    """Stops the COCO cache in this run; `chain` asks for the stored verdict in every later one."""
    leakage = split.summary()["leakage"]
    across = {kind: leakage[kind]["across_parts"] for kind in ("exact", "near") if leakage[kind]["across_parts"]}
    return dg.AssetCheckResult(
        passed=leakage["ok"],
        severity=dg.AssetCheckSeverity.ERROR,
        description=split.refusal() or (f"{across} pairs across parts" if across else None),
        metadata={
            "pairs_across_parts": sum(across.values()),
            "pairs": pairs_table(split),
            "report": dg.MetadataValue.path(split.root / "report.html"),
        },
    )
