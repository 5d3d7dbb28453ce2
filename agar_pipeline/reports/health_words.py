"""Describes the quality of the data in sentences for laboratory staff, and in a table of colony sizes.

Here: the words, and which figures are marked as good. Not here: measuring (`labels.health`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agar_pipeline.reports.number_formats import number, percent, whole
from agar_pipeline.text.plurals import plural

LEGIBLE_PX, POOR_PX = 16.0, 8.0
"""Side of small colonies, pixels: from `LEGIBLE_PX` on a model can learn them, below `POOR_PX` it hardly sees them."""
TORCHVISION_SIZE = "800"
UNBALANCED = 20


def describe_health(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the template needs: sentences, each marked good or not, and the rows of the size table."""
    health = report.get("health")
    if not health:
        return None
    sizes = health["colony_sizes"]
    sentences = [
        *_plates(report, health["colonies_per_plate"]),
        *_classes(health["class_balance"]),
        *_sizes(sizes),
    ]
    return {
        "sentences": [{"good": good, "words": words} for good, words in sentences],
        "sizes": [_row(size, at, sizes) for size, at in sizes["at_input_size"].items()],
        "advice": _advice(sizes),
        "anchor_px": sizes.get("smallest_anchor_px"),
    }


def _plates(report: Mapping[str, Any], plates: Mapping[str, Any]) -> list[tuple[bool, str]]:
    if plates["median"] is None:
        return [(False, "There is no plate.")]
    words = f"{plural(report['images'], 'plate')} with {plural(report['annotations'], 'colony', 'colonies')}: half of "
    words += f"the plates have {number(plates['median'])} or fewer, the fullest has {whole(plates['most'])}."
    said = [(True, words)]
    if plates["empty"]:
        share = plates["empty"] / max(report["images"], 1)
        words = f"{plural(plates['empty'], 'plate')} without any colony ({percent(share)})."
        said.append(
            (
                share < 0.5,
                words + " Check that nothing grew on them, and that they are not plates that nobody has labelled.",
            )
        )
    if plates["over_300"]:
        words = f"{plural(plates['over_300'], 'plate')} with more than 300 colonies, too numerous to count by hand: "
        said.append((True, words + "no count is cut off, because the model's limit follows the fullest plate."))
    return said


def _classes(balance: Mapping[str, Any]) -> list[tuple[bool, str]]:
    if balance["most_frequent"] is None:
        return [(False, "No colony has a class.")]
    said = []
    if balance["ratio"] > 1:
        words = f"For each colony of {balance['rarest']} there are {number(round(balance['ratio'], 1))} of "
        words += f"{balance['most_frequent']}."
        if balance["ratio"] >= UNBALANCED:
            words += f" A model will detect {balance['rarest']} worst: more plates with it help most."
        said.append((balance["ratio"] < UNBALANCED, words))
    if balance["absent"]:
        words = f"{plural(len(balance['absent']), 'class', 'classes')} without a single colony: "
        said.append(
            (False, words + ", ".join(balance["absent"][:8]) + ". A model cannot learn a class without examples.")
        )
    return said


def _sizes(sizes: Mapping[str, Any]) -> list[tuple[bool, str]]:
    if sizes["photo_side_px"] is None:
        return []
    own, shrunk = sizes["in_photo"], sizes["at_input_size"].get(TORCHVISION_SIZE)
    words = (
        f"A colony measures {_px(own['median_px'])} on photos of {whole(sizes['photo_side_px'])} px, a small one (the "
        f"smallest twentieth) {_px(own['small_px'])} or less."
    )
    said = [(True, words)]
    if shrunk and sizes["photo_side_px"] > int(TORCHVISION_SIZE):
        words = (
            f"At torchvision's default of {TORCHVISION_SIZE} px these sizes shrink to {_px(shrunk['median_px'])} and "
            f"{_px(shrunk['small_px'])}; {percent(shrunk['below_anchor_share'])} of all colonies are then too small "
            f"for its smallest anchor of {sizes['smallest_anchor_px']} px."
        )
        said.append((shrunk["small_px"] >= LEGIBLE_PX, words))
    return said


def _advice(sizes: Mapping[str, Any]) -> dict[str, str] | None:
    chosen = sizes["chosen_scale"]
    if chosen is None:
        return None
    at = sizes["at_input_size"][str(chosen)]
    words = (
        f"data: auto scales photos to {chosen:,} px: a colony is {_px(at['median_px'])} there, a small one "
        f"{_px(at['small_px'])}."
    )
    if at["small_px"] < POOR_PX:
        words += " That is small, but enlarging the photos adds no detail: take photos at a higher resolution."
    return {"words": words, "code": "defaults: [override /data: auto]"}


def _row(size: str, at: Mapping[str, float], sizes: Mapping[str, Any]) -> dict[str, Any]:
    small = round(at["small_px"])
    level = "good" if small >= LEGIBLE_PX else "fair" if small >= POOR_PX else "poor"
    notes = []
    if size == TORCHVISION_SIZE:
        notes.append("torchvision's default")
    if int(size) == sizes["chosen_scale"]:
        notes.append("chosen by data: auto")
    if int(size) > sizes["photo_side_px"]:
        notes.append("enlarged")
    return {
        "size": size,
        "median": _px(at["median_px"]),
        "small": _px(at["small_px"]),
        "below": percent(at["below_anchor_share"]),
        "level": level,
        "verdict": {"good": "well visible", "fair": "small", "poor": "hardly visible"}[level],
        "note": ", ".join(notes),
    }


def _px(value: float) -> str:
    return f"{value:.0f} px" if value >= 10 else f"{value:.1f} px"
