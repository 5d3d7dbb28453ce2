"""Metadata that the UI shows of a materialization: counts, small tables, pictures, and paths of the files.

Pictures were drawn when the artifact was built. Not here: links to the pages (`report_links`).
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from agar_pipeline.artifacts import (
    Artifact,
    BboxReport,
    CocoCache,
    Evaluation,
    LabelReview,
    Leaderboard,
    SmokeRun,
    Snapshot,
    Split,
    TrainingRun,
)
from agar_pipeline.chain.observation import explain_change
from agar_pipeline.defs.artifact_io import PATH_METADATA
from agar_pipeline.defs.tables import class_balance, digits, findings_per_rule, read_columns, table
from agar_pipeline.store import Built


def describe(built: Built) -> dict[str, Any]:
    """Return the metadata of one artifact, results first; numbers stay numbers, so that Dagster plots their history."""
    artifact = built.artifact
    answers = DESCRIPTIONS[artifact.asset](artifact)
    return {
        **{name: round(value, 4) if isinstance(value, float) else value for name, value in answers.items()},
        **_pictures(artifact),
        "cached": built.cached,
        "why": built.why,
        "seconds": artifact.manifest.seconds,
        PATH_METADATA: dg.MetadataValue.path(artifact.root),
        "fingerprint": artifact.manifest.fingerprint,
    }


def _snapshot(artifact: Snapshot) -> dict[str, Any]:
    dataset = artifact.dataset()
    return {
        "images": dataset["images"],
        "boxes": dataset["boxes"],
        "images_without_labels": dataset.get("unlabelled", 0),
        "labels": len(dataset["labels"]),
        "boxes_per_label": table(("label", "boxes"), dataset["labels"].items()),
        "images_dir": dg.MetadataValue.path(dataset["images_dir"]),
    }


def _pictures(artifact: Artifact) -> dict[str, Any]:
    """Return all pictures in one entry, because the UI shows each entry only after a click."""
    shown = "\n\n".join(f"#### {title}\n\n![{title}]({uri})" for title, uri in artifact.pictures().items())
    return {"pictures": dg.MetadataValue.md(shown)} if shown else {}


def changes_since(before: Path | None, snapshot: Snapshot) -> dict[str, Any]:
    """Return what differs from the snapshot that was the latest before this one."""
    if before is None:
        return {"changes": "the first snapshot of this home"}
    if before == snapshot.root:
        return {"changes": "none since the last snapshot"}
    changes = explain_change(Snapshot(before), snapshot)
    shown = "\n".join(f"- {change}" for change in changes)
    return {"changes": dg.MetadataValue.md(shown) if changes else "none in images and boxes"}


def _split(artifact: Split) -> dict[str, Any]:
    summary = artifact.summary()
    images = max(sum(summary["parts"].values()), 1)
    leakage = summary["leakage"]
    return {
        **{f"{part}_images": count for part, count in summary["parts"].items()},
        **{f"{part}_share": count / images for part, count in summary["parts"].items()},
        "left_out": sum(summary["left_out"].values()),
        "exact_duplicates": leakage["exact"]["pairs"],
        "near_duplicates": leakage["near"]["pairs"],
        "exact_duplicates_across_parts": leakage["exact"]["across_parts"],
        "near_duplicates_across_parts": leakage["near"]["across_parts"],
    }


def _coco_cache(artifact: CocoCache) -> dict[str, Any]:
    dataset = artifact.dataset()
    parts, media, by_spelling = dataset["parts"], dataset["media"], dataset.get("by_spelling", {})
    rows = [(part, counts["images"], counts["annotations"]) for part, counts in parts.items()]
    return {
        "images": sum(row[1] for row in rows),
        "annotations": sum(row[2] for row in rows),
        "parts": table(("part", "images", "annotations"), rows),
        **({"by_spelling": table(("label", "class"), by_spelling.items())} if by_spelling else {}),
        "images_dir": dg.MetadataValue.path(artifact.images_dir),
        **{f"media_{name}" if name != "kind" else "media": value for name, value in media.items() if value is not None},
    }


def _bbox_report(artifact: BboxReport) -> dict[str, Any]:
    report = artifact.report()
    return {
        "ok": report["ok"],
        "images": report["images"],
        "annotations": report["annotations"],
        "annotations_dropped": report["annotations_dropped"],
        "out_of_bounds_ratio": float(report["out_of_bounds_ratio"]),
        "findings": sum(finding["count"] for finding in report["findings"].values()),
        "rules_broken": sum(finding["count"] > 0 for finding in report["findings"].values()),
        "findings_per_rule": findings_per_rule(report, only_broken=True),
        **(class_balance(report["balance"]) if "balance" in report else {}),
    }


def _smoke_run(artifact: SmokeRun) -> dict[str, Any]:
    profile = artifact.profile()
    forecast = profile["forecast"]
    seconds = profile["measured"]["seconds"]
    total = sum(seconds.values())
    parts = [
        (part, "█" * round(20 * s / total) or "▏", f"{1e3 * s:.1f}", f"{s / total:.0%}") for part, s in seconds.items()
    ]
    return {
        "verdict": profile["verdict"],
        "data": artifact.smoke()["data"],
        "profile_of_a_step": table(("part", "bar", "ms", "share"), parts),
        "step_seconds": float(profile["step_seconds"]),
        "forecast": forecast["sentence"],
        **{f"forecast_{name}": forecast[name] for name in ("seconds", "steps", "disk_bytes", "peak_memory_bytes")},
    }


def _training_run(artifact: TrainingRun) -> dict[str, Any]:
    with (artifact.root / "metrics.csv").open(newline="") as log:
        last = {name: float(text) for row in csv.DictReader(log) for name, text in row.items() if text}
    experiment = artifact.experiment()
    best = experiment["best"]
    scores = {name: value for name, value in last.items() if name.startswith("val")}
    losses = {name: value for name, value in last.items() if name.startswith("train")}
    return {
        **scores,
        **losses,
        "data": experiment["data"]["words"],
        "last_epoch": int(last["epoch"]),
        "last_step": int(last["step"]),
        "best_epoch": best["epoch"],
        "best_step": best["step"],
        **({"not_scored": best["reason"]} if "reason" in best else {}),
        "checkpoint": dg.MetadataValue.path(artifact.best_checkpoint),
    }


def _evaluation(artifact: Evaluation) -> dict[str, Any]:
    metrics = artifact.metrics()
    figures = {name: metrics[name] for name in ("map", "map_50", "map_75", "mar_max") if metrics[name] is not None}
    counting = {
        f"count_{name}": value for name, value in (metrics.get("counting") or {}).items() if isinstance(value, float)
    }
    reasons = table(("figure", "why it is null"), metrics["reasons"].items())
    rows = [(name, digits(of.get("map")), digits(of.get("map_50"))) for name, of in metrics["per_class"].items()]
    return {
        **({"warning": metrics["warning"]} if metrics.get("warning") else {}),
        **figures,
        **counting,
        "images": metrics["num_images"],
        "per_class": table(("class", "map", "map_50"), rows),
        **({"not_computed": reasons} if metrics["reasons"] else {}),
    }


def _label_review(artifact: LabelReview) -> dict[str, Any]:
    review, scores = artifact.review(), artifact.cross_validation()
    rows = [(kind, of["estimate"], *(of["interval"] or ("–", "–"))) for kind, of in review["kinds"].items()]
    figures = {f"cross_validated_{name}": scores[name]["value"] for name in ("map", "map_50", "count_mae")}
    return {
        "suspects": review["suspects"],
        "wrong_labels": float(review["wrong"]["estimate"]),
        "annotations": review["annotations"],
        "kinds": table(("kind", "estimate", "low", "high"), rows),
        **{name: value for name, value in figures.items() if value is not None},
    }


def _leaderboard(artifact: Leaderboard) -> dict[str, Any]:
    numbers = ("map", "map_low", "map_high", "map_50", "mae")
    rows = list(read_columns(artifact.root / "leaderboard.parquet", "experiment", "verdict", *numbers))
    best = {"best_experiment": rows[0][0], "best_map": rows[0][2]} if rows and rows[0][2] is not None else {}
    cells = [(experiment, verdict, *map(digits, values)) for experiment, verdict, *values in rows]
    return {
        **best,
        "experiments": len(rows),
        "leaderboard": table(("experiment", "verdict", *numbers), cells),
    }


DESCRIPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "snapshot": _snapshot,
    "split": _split,
    "coco_cache": _coco_cache,
    "bbox_report": _bbox_report,
    "smoke_run": _smoke_run,
    "training_run": _training_run,
    "evaluation": _evaluation,
    "label_review": _label_review,
    "leaderboard": _leaderboard,
}
