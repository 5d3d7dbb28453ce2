"""The section of the bbox report that shows whether the parts of the split have similar images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agar_pipeline.labels.part_balance import PartDrift
from agar_pipeline.reports.number_formats import number, percent, whole
from agar_pipeline.text.name_list import name_some

MANY_CLASSES = 40


def describe_balance(balance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `balance.html.j2` shows: a row per part, and a row per class with its share in each part.

    Args:
        balance: As `measure_balance` returns it.
    """
    drifts = {part: PartDrift(**facts) for part, facts in balance["parts"].items()}
    names = list(next(iter(drifts.values())).class_shares) if drifts else []
    largest = sorted(names, key=lambda name: -max(drift.class_shares[name] or 0 for drift in drifts.values()))
    return {
        "verdict": _summary(drifts),
        "parts": [_row(part, drift) for part, drift in drifts.items()],
        "part_names": list(drifts),
        "classes": [
            {"name": name, "shares": [percent(drift.class_shares[name]) for drift in drifts.values()]}
            for name in largest[:MANY_CLASSES]
        ],
        "classes_total": len(names),
    }


def _row(part: str, drift: PartDrift) -> dict[str, str]:
    return {
        "part": part,
        "images": whole(drift.images),
        "boxes": whole(drift.boxes),
        "per_image": number(drift.median_boxes_per_image),
        "side": number(drift.median_box_side_px),
        "classes": percent(drift.class_distance),
        "per_image_distance": percent(drift.boxes_per_image_distance),
        "chance": percent(drift.chance_boxes_per_image),
        "side_distance": percent(drift.box_size_distance),
    }


def _summary(drifts: Mapping[str, PartDrift]) -> str:
    absent = [
        f"{name} in {part}"
        for part, drift in drifts.items()
        for name, share in drift.class_shares.items()
        if not share and any(other.class_shares[name] for other in drifts.values())
    ]
    far = [
        part
        for part, drift in drifts.items()
        if drift.boxes_per_image_distance is not None
        and drift.boxes_per_image_distance > (drift.chance_boxes_per_image or 1)
    ]
    words = []
    if absent:
        words.append(f"These classes have no box in a part, though others have some: {name_some(absent, 6)}.")
    if far:
        words.append(f"Colonies per plate differ more than chance explains: {', '.join(far)}.")
    return " ".join(words) or "The parts differ in colonies per plate no more than chance explains."
