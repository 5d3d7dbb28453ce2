"""What a person wants to see of a materialization: counts, a small table, a picture, links to the files."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from agar_pipeline.artifacts import (
    BboxReport,
    CocoCache,
    Evaluation,
    Leaderboard,
    SmokeRun,
    Snapshot,
    Split,
    TrainingRun,
)
from agar_pipeline.defs.artifact_io import PATH_METADATA
from agar_pipeline.store import Built


def describe(built: Built) -> dict[str, Any]:
    """Metadata of one artifact; numbers stay numbers, so that Dagster plots them over time."""
    artifact = built.artifact
    return {
        "cached": built.cached,
        "why": built.why,
        PATH_METADATA: dg.MetadataValue.path(artifact.root),
        "fingerprint": artifact.manifest.fingerprint,
        "seconds": artifact.manifest.seconds,
        **DESCRIPTIONS[artifact.asset](artifact),
    }


def _snapshot(artifact: Snapshot) -> dict[str, Any]:
    dataset = artifact.dataset()
    return {
        "images": dataset["images"],
        "boxes": dataset["boxes"],
        "labels": _table(("label", "boxes"), dataset["labels"].items()),
        "images_dir": dg.MetadataValue.path(dataset["images_dir"]),
    }


def _split(artifact: Split) -> dict[str, Any]:
    counts = artifact.table()["part"].value_counts()
    return {f"{part}_images": int(count) for part, count in counts.items()}


def _coco_cache(artifact: CocoCache) -> dict[str, Any]:
    parts = artifact.dataset()["parts"]
    rows = [(part, counts["images"], counts["annotations"]) for part, counts in parts.items()]
    return {
        "images": sum(row[1] for row in rows),
        "annotations": sum(row[2] for row in rows),
        "parts": _table(("part", "images", "annotations"), rows),
    }


def _bbox_report(artifact: BboxReport) -> dict[str, Any]:
    report = artifact.report()
    rows = [(rule, f["count"], f["action"]) for rule, f in report["findings"].items()]
    return {
        "ok": report["ok"],
        "annotations": report["annotations"],
        "annotations_dropped": report["annotations_dropped"],
        "out_of_bounds_ratio": float(report["out_of_bounds_ratio"]),
        "findings": _table(("rule", "count", "policy"), rows),
        "report": dg.MetadataValue.url(f"file://{artifact.root / 'report.html'}"),
    }


def _smoke_run(artifact: SmokeRun) -> dict[str, Any]:
    return {"smoke": dg.MetadataValue.json(artifact.smoke()), "profile": dg.MetadataValue.json(artifact.profile())}


def _training_run(artifact: TrainingRun) -> dict[str, Any]:
    log = artifact.metrics()
    last = {name: float(log[name].dropna().iloc[-1]) for name in log.columns if log[name].notna().any()}
    return {
        "checkpoint": dg.MetadataValue.path(artifact.best_checkpoint),
        "last": dg.MetadataValue.json(last),
        **{name.replace("/", "_"): value for name, value in last.items() if name.startswith(("val", "train"))},
    }


def _evaluation(artifact: Evaluation) -> dict[str, Any]:
    metrics = artifact.metrics()
    figures = {name: metrics[name] for name in ("map", "map_50", "map_75", "mar_max") if metrics[name] is not None}
    counting = {name: value for name, value in (metrics.get("counting") or {}).items() if isinstance(value, float)}
    rows = [(name, str(of.get("map")), str(of.get("map_50"))) for name, of in metrics["per_class"].items()]
    return {
        **figures,
        **counting,
        "images": metrics["num_images"],
        "per_class": _table(("class", "map", "map_50"), rows),
        "report": dg.MetadataValue.url(f"file://{artifact.root / 'report.html'}"),
    }


def _leaderboard(artifact: Leaderboard) -> dict[str, Any]:
    table = artifact.table()
    rows = table[["experiment", "map", "map_50", "mae"]].astype(str).itertuples(index=False, name=None)
    return {
        "leaderboard": _table(("experiment", "map", "map_50", "mae"), rows),
        "report": dg.MetadataValue.url(f"file://{artifact.root / 'report.html'}"),
    }


DESCRIPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "snapshot": _snapshot,
    "split": _split,
    "coco_cache": _coco_cache,
    "bbox_report": _bbox_report,
    "smoke_run": _smoke_run,
    "training_run": _training_run,
    "evaluation": _evaluation,
    "leaderboard": _leaderboard,
}


def _table(columns: tuple[str, ...], rows: Any) -> dg.TableMetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows])
