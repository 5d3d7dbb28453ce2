"""Finds the models of the folds of an earlier label review, so that they are not trained again.

A change of what is counted or drawn makes a review stale, and changes none of its trainings.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.artifacts.data import CocoCache
from agar_pipeline.artifacts.manifest import Manifest
from agar_pipeline.artifacts.training import LabelReview
from agar_pipeline.config import LabelReviewConfig, fingerprinted
from agar_pipeline.errors import ArtifactError
from agar_pipeline.files.disk import sha256_of


def find_former_folds(
    earlier: Iterable[Path], config: LabelReviewConfig, coco_cache: CocoCache, folds: np.ndarray, image_ids: np.ndarray
) -> LabelReview | None:
    """Return the newest earlier review whose folds were trained exactly as they would be now, or None.

    Args:
        earlier: Folders of published reviews that today's code and machine made.
        folds: Fold of each photo of train, (N,).
        image_ids: Id of each of these photos, (N,).
    """
    cache_version, wanted = coco_cache.manifest.data_version, _trained_by(fingerprinted(config))
    found: list[tuple[str, LabelReview]] = []
    for root in earlier:
        try:
            review: LabelReview = LabelReview.open(root)
            manifest = review.manifest
        except ArtifactError:  # a damaged review is not reused
            continue
        same = manifest.code_version == LabelReview.code_version and manifest.inputs.get("coco_cache") == cache_version
        if same and _trained_by(manifest.config) == wanted and _has_folds(review, manifest, folds, image_ids):
            found.append((manifest.created_at, review))
    return max(found, key=lambda one: one[0])[1] if found else None


def _trained_by(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in LabelReviewConfig.not_trained_by}


def _has_folds(review: LabelReview, manifest: Manifest, folds: np.ndarray, image_ids: np.ndarray) -> bool:
    """Whether the photos were divided in this way, and the checkpoint of each fold is as it was written."""
    sha256 = {file["path"]: file["sha256"] for file in manifest.files}
    try:
        before = review.folds().set_index("image_id")["fold"].reindex(image_ids)
        checkpoints = review.fold_checkpoints
        intact = all(sha256.get(f"folds/{path.name}") == sha256_of(path) for path in checkpoints)
    except (OSError, ValueError, KeyError):  # removed or damaged meanwhile
        return False
    return intact and len(checkpoints) == folds.max() + 1 and np.array_equal(before.to_numpy(), folds)
