"""Compares two evaluations: differences in config, data and metrics.

Here: following both back through the store and comparing. Not here: building, ranking all (`steps.leaderboard`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import Evaluation, LabelReview, Snapshot
from agar_pipeline.chain.reasons import diff_config
from agar_pipeline.errors import ArtifactError
from agar_pipeline.history.lineage import SHORTEST_PREFIX, Catalog, LineageEntry, chain_of
from agar_pipeline.scoring.counting import COUNT_METRICS
from agar_pipeline.snapshots.diff import SnapshotTables, diff_tables, summarize
from agar_pipeline.store import Store

METRICS = ("map", "map_50", "map_75", "mar_max")


def list_evaluations(store: Store) -> list[dict[str, Any]]:
    """Return all evaluations of the store, newest first: experiment, fingerprint, created_at, latest, metrics, and
    cross_validated: the figures of the label review that was made from it, None without one.
    """
    catalog = Catalog(store)
    records, reviews = catalog.of("evaluation"), catalog.of("label_review")
    return [
        {**_name(record), **_figures(record), "cross_validated": _cross_validated(record, reviews)}
        for record in records
    ]


def _cross_validated(record: LineageEntry, reviews: list[LineageEntry]) -> dict[str, Any] | None:
    """Return map, map_50 and count_mae with their intervals, of the newest review of this evaluation."""
    made_from = record.manifest.data_version
    for review in reviews:
        if review.manifest.inputs.get(str(record.key)) == made_from:
            figures = LabelReview.open(review.root).cross_validation()
            return {name: figures[name] for name in ("map", "map_50", "count_mae")}
    return None


def find_evaluation(store: Store, word: str, current: Callable[[str], Path] | None = None) -> LineageEntry:
    """Find the evaluation that a word names.

    Args:
        word: An experiment (its current evaluation); a fingerprint of an evaluation or of its training run, or its
            first letters; or the folder of an evaluation.
        current: Experiment → folder of its evaluation by today's config; the default is the one `latest` points to.

    Raises:
        ArtifactError: there is none, or there are several. The message lists the existing ones.
    """
    catalog = Catalog(store)
    records = catalog.of("evaluation")
    named = [r for r in records if r.key.experiment == word and r.is_latest]
    if named and current:
        return catalog.record_of(current(word))
    if not named and len(word) >= SHORTEST_PREFIX:
        named = [r for r in records if r.manifest.fingerprint.startswith(word)] or [
            r
            for r in records
            for trained in catalog.inputs_of(r, f"{r.key.experiment}/training_run")
            if trained.manifest.fingerprint.startswith(word)
        ]
    if not named and Path(word).is_dir():
        named = [r for r in records if r.root == Path(word).resolve()]
    if len(named) == 1:
        return named[0]
    there = ", ".join(f"{r.key.experiment} {r.manifest.fingerprint[:12]}" for r in records) or "none"
    if named:
        raise ArtifactError(
            "begins several fingerprints",
            where=repr(word),
            next_step=f"give more letters of one of these, which `agar compare` lists: {there}",
        )
    raise ArtifactError(
        "is not an experiment, a fingerprint or a folder of an evaluation",
        where=repr(word),
        next_step=f"name one of these, which `agar compare` lists: {there}",
    )


def compare_runs(
    store: Store, word_a: str, word_b: str, current: Callable[[str], Path] | None = None
) -> dict[str, Any]:
    """Return the differences between two evaluations.

    Returns:
        `a`, `b` (names); `config`, `data` (texts); `metrics`: name → [a, b]; `difference`: mAP and mAP at IoU 0.5 of b
        minus a with 95 % intervals on the same images, None if the images differ.
    """
    a, b = (find_evaluation(store, word, current) for word in (word_a, word_b))
    chain_a, chain_b = _chain(store, a), _chain(store, b)
    shared = [asset for asset in reversed(chain_a) if asset in chain_b]
    config = [
        difference
        for asset in shared
        for difference in diff_config(chain_a[asset].manifest.config, chain_b[asset].manifest.config, asset)
    ]
    own, other = _figures(a), _figures(b)
    return {
        "a": _name(a),
        "b": _name(b),
        "config": config,
        "data": _data_differences(chain_a, chain_b),
        "metrics": {name: [own[name], other[name]] for name in own},
        "difference": _paired_difference(chain_a, chain_b),
    }


def _chain(store: Store, record: LineageEntry) -> dict[str, LineageEntry]:
    return chain_of(store, Evaluation.open(record.root))


def _name(record: LineageEntry) -> dict[str, Any]:
    return {
        "experiment": record.key.experiment,
        "evaluation": record.manifest.fingerprint,
        "created_at": record.manifest.created_at,
        "latest": record.is_latest,
        "path": str(record.root),
    }


def _figures(record: LineageEntry) -> dict[str, float | None]:
    metrics = Evaluation.open(record.root).metrics()
    counting = metrics.get("counting") or {}
    return {name: metrics.get(name) for name in METRICS} | {name: counting.get(name) for name in COUNT_METRICS}


def _data_differences(chain_a: dict[str, LineageEntry], chain_b: dict[str, LineageEntry]) -> list[str]:
    """Compare the snapshots box by box if both are kept; otherwise only say which artifacts differ."""
    a, b = chain_a.get("snapshot"), chain_b.get("snapshot")
    if a is None or b is None:
        return ["unknown: a snapshot was dropped by `agar clean`"]
    texts = []
    if a.manifest.data_version != b.manifest.data_version:
        tables = [SnapshotTables(s.images(), s.boxes()) for s in (Snapshot.open(a.root), Snapshot.open(b.root))]
        texts += summarize(diff_tables(*tables)) or ["snapshots differ, though not in images or boxes"]
    for asset, words in (("split", "other images in the parts"), ("coco_cache", "other COCO files")):
        one, two = chain_a.get(asset), chain_b.get(asset)
        if one and two and one.manifest.data_version != two.manifest.data_version:
            texts.append(f"{asset}: {words}")
    return texts


def _paired_difference(chain_a: dict[str, LineageEntry], chain_b: dict[str, LineageEntry]) -> dict[str, Any] | None:
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.coco.detections import read_detections
    from agar_pipeline.scoring.uncertainty import compare_models

    a, b = chain_a["evaluation"], chain_b["evaluation"]
    caches = [chain.get("coco_cache") for chain in (chain_a, chain_b)]
    scores = [Evaluation.open(record.root).metrics() for record in (a, b)]
    parts = [of.get("part") for of in scores]
    cache = caches[0]
    if cache is None or caches[1] is None or parts[0] != parts[1] or parts[0] is None:
        return None
    if cache.manifest.data_version != caches[1].manifest.data_version:
        return None
    columns = read_coco(cache.root / "coco" / f"{parts[0]}.json")
    if len(columns.image_ids) < 2 or any(of["map"] is None for of in scores):
        return None
    before, after = (read_detections(record.root / "predictions.json") for record in (a, b))
    return compare_models(columns, before, after)
