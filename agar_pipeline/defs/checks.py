"""Asset checks: verdicts that stop a run before the assets that depend on them."""

from collections.abc import Mapping

import dagster as dg

from agar_pipeline.artifacts import BboxReport, Split
from agar_pipeline.artifacts.refusals import refusal_of_boxes, refusal_of_split
from agar_pipeline.chain.nodes import AssetNode
from agar_pipeline.defs.artifact_io import open_current
from agar_pipeline.defs.failures import failure_with_fields, fields_metadata
from agar_pipeline.defs.report_links import page_metadata
from agar_pipeline.defs.tables import findings_per_rule, findings_table, pairs_table
from agar_pipeline.store import Key, Store


def data_checks(store: Store, nodes: Mapping[Key, AssetNode]) -> list[dg.AssetChecksDefinition]:
    """Define boxes_are_clean and parts_share_no_picture. They stop this run; later runs ask `current`."""

    @dg.asset_check(asset="bbox_report", blocking=True, description="No rule with the policy `fail` is broken.")
    def boxes_are_clean(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        with failure_with_fields():
            return check_boxes(context.instance, open_current(context, store, nodes, Key("bbox_report")))

    @dg.asset_check(
        asset="split", blocking=True, description="No picture is in two parts, as far as split.leakage says."
    )
    def parts_share_no_picture(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        with failure_with_fields():
            return check_parts(context.instance, open_current(context, store, nodes, Key("split")))

    return [boxes_are_clean, parts_share_no_picture]


def check_boxes(instance: dg.DagsterInstance, bbox_report: BboxReport) -> dg.AssetCheckResult:
    report, refusal = bbox_report.report(), refusal_of_boxes(bbox_report)
    return dg.AssetCheckResult(
        passed=report["ok"],
        severity=dg.AssetCheckSeverity.ERROR,
        description=str(refusal) if refusal else None,
        metadata={
            "findings_per_rule": findings_per_rule(report),
            "findings": findings_table(bbox_report),
            **page_metadata(instance, bbox_report),
            **fields_metadata(refusal),
        },
    )


def check_parts(instance: dg.DagsterInstance, split: Split) -> dg.AssetCheckResult:
    leakage, refusal = split.summary()["leakage"], refusal_of_split(split)
    across = {kind: leakage[kind]["across_parts"] for kind in ("exact", "near") if leakage[kind]["across_parts"]}
    return dg.AssetCheckResult(
        passed=leakage["ok"],
        severity=dg.AssetCheckSeverity.ERROR,
        description=str(refusal) if refusal else (f"{across} pairs across parts" if across else None),
        metadata={
            "pairs_across_parts": sum(across.values()),
            "pairs": pairs_table(split),
            **page_metadata(instance, split),
            **fields_metadata(refusal),
        },
    )
