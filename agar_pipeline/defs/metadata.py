"""What a person wants to see of a materialization: counts, a small table, a picture, links to the files.

Tables are read without pandas, whose import would be most of the time of a run in which nothing changed.
"""

import csv
from collections.abc import Callable
from pathlib import Path
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
    summary = artifact.summary()
    leakage = summary["leakage"]
    return {
        **{f"{part}_images": count for part, count in summary["parts"].items()},
        "parts": _table(("part", "images"), summary["parts"].items()),
        "left_out": sum(summary["left_out"].values()),
        "exact_duplicates": leakage["exact"]["pairs"],
        "near_duplicates": leakage["near"]["pairs"],
        "exact_duplicates_across_parts": leakage["exact"]["across_parts"],
        "near_duplicates_across_parts": leakage["near"]["across_parts"],
        "report": dg.MetadataValue.url(f"file://{artifact.root / 'report.html'}"),
    }


def _coco_cache(artifact: CocoCache) -> dict[str, Any]:
    dataset = artifact.dataset()
    parts, media = dataset["parts"], dataset["media"]
    rows = [(part, counts["images"], counts["annotations"]) for part, counts in parts.items()]
    return {
        "images": sum(row[1] for row in rows),
        "annotations": sum(row[2] for row in rows),
        "parts": _table(("part", "images", "annotations"), rows),
        "images_dir": dg.MetadataValue.path(artifact.images_dir),
        **{f"media_{name}" if name != "kind" else "media": value for name, value in media.items() if value is not None},
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
        **(_balance(report["balance"]) if "balance" in report else {}),
        "report": dg.MetadataValue.url(f"file://{artifact.root / 'report.html'}"),
    }


def _balance(balance: dict[str, Any]) -> dict[str, Any]:
    """How alike the parts are: the share of each class in each, and the largest distance between any two."""
    parts = balance["parts"]
    names = sorted({name for part in parts.values() for name in part["class_shares"]})
    shares = [(name, *(part["class_shares"].get(name) for part in parts.values())) for name in names]
    rows = [(row[0], *("" if share is None else f"{share:.1%}" for share in row[1:])) for row in shares]
    drift = balance["largest_drift"]
    return {
        "class_balance": _table(("class", *parts), rows),
        **({} if drift is None else {"largest_drift": float(drift)}),
    }


def _smoke_run(artifact: SmokeRun) -> dict[str, Any]:
    profile = artifact.profile()
    chart = "\n".join(profile["chart"])
    return {
        "verdict": profile["verdict"],
        "step": dg.MetadataValue.md(f"```\n{chart}\n```"),
        "step_seconds": float(profile["step_seconds"]),
        "forecast": profile["forecast"]["sentence"],
        "smoke": dg.MetadataValue.json(artifact.smoke()),
        "profile": dg.MetadataValue.json(profile),
    }


def _training_run(artifact: TrainingRun) -> dict[str, Any]:
    with (artifact.root / "metrics.csv").open(newline="") as log:
        last = {name: float(text) for row in csv.DictReader(log) for name, text in row.items() if text}
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
    columns = ("experiment", "map", "map_50", "mae")
    rows = _read_rows(artifact.root / "leaderboard.parquet", list(columns))
    return {
        "leaderboard": _table(columns, [[str(row[name]) for name in columns] for row in rows]),
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


def _read_rows(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).read(columns).to_pylist()


def _table(columns: tuple[str, ...], rows: Any) -> dg.TableMetadataValue:
    records = [dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows]
    columns_of_none = dg.TableSchema([dg.TableColumn(name) for name in columns])  # Dagster reads them off the first row
    return dg.MetadataValue.table(records, schema=None if records else columns_of_none)
