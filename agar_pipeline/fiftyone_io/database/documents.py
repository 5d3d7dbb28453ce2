"""Builds samples and labels as FiftyOne stores them in MongoDB."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId


def now() -> datetime:
    """Return the present time in UTC without time zone, as MongoDB stores it."""
    return datetime.now(UTC).replace(tzinfo=None)


def new_sample(dataset_id: ObjectId, filepath: str, metadata: Any, stamp: datetime, /, **values: Any) -> dict[str, Any]:
    """Return a sample of a photo, without `_id` and tags unless they are among the other values."""
    return {
        "_media_type": "image",
        "_rand": random.random(),
        "_dataset_id": dataset_id,
        "filepath": filepath,
        "tags": [],
        "metadata": metadata,
        "created_at": stamp,
        "last_modified_at": stamp,
        **values,
    }


def detection(label: str | None, box_rel_xywh: list[float], /, **values: Any) -> dict[str, Any]:
    return {
        "_id": ObjectId(),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": label,
        "bounding_box": box_rel_xywh,
        **values,
    }


def detections(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"_cls": "Detections", "detections": list(found)}
