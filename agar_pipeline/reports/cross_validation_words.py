"""Words and figures of a cross-validation, for the page of a review and for `agar cross-validate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agar_pipeline.text.plurals import plural

TITLES = {
    "map": "mAP",
    "map_50": "mAP@50",
    "count_mae": "count error, colonies for each photo",
    "count_relative": "count error, share of the colonies",
}


def describe_cross_validation(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return `words`, `rows` with title, value, interval and per_fold as texts, and a `warning` or None.

    Args:
        plain: `cross_validation.json`, see `scoring.cross_validation.cross_validate`.
    """
    rows = []
    for name, title in TITLES.items():
        of, digits = plain[name], 1 if name == "count_mae" else 3
        why = plain["reasons"].get(name, "too few photos")
        low, high = ("" if end is None else f"{end + 0.0:.{digits}f}" for end in (of["low"], of["high"]))  # no −0
        interval = f"{low} to {high}" if low else why
        alone = ", ".join("–" if one is None else f"{one:.{digits}f}" for one in of["per_fold"])
        value = "–" if of["value"] is None else f"{of['value']:.{digits}f}"
        rows.append({"title": title, "value": value, "interval": interval, "per_fold": alone})
    words = (
        f"{plural(plain['images'], 'photo')} of {plain['part']} with {plural(plain['annotations'], 'annotation')}, in "
        f"{plain['folds']} folds; each photo is predicted by a model that was trained on the other folds, for "
        "a part of the experiment's limits (review.schedule). Val chose the best weights, so it is not scored. "
        f"The intervals of {100 * plain['level']:g} % come from resampled photos."
    )
    return {"words": words, "rows": rows, "warning": plain.get("warning")}
