"""The page of a diff: the differences between two snapshots, drawn on the images.

Here: choosing and wording. Not here: comparing (`snapshots.diff`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.errors import ImageFileError
from agar_pipeline.reports.number_formats import whole
from agar_pipeline.reports.pictures import BoxLayer, picture_with_boxes
from agar_pipeline.reports.render import write_page
from agar_pipeline.snapshots.diff import Box, BoxChange, ImageChange, SnapshotDiff, SnapshotTables, summarize
from agar_pipeline.snapshots.photo_changes import PHOTO_WORDS
from agar_pipeline.text.plurals import plural

PICTURES = 24
LISTED = 500
PICTURE_SIDE_PX = 440
PICTURE_BYTES = 90_000
Side = Literal["before", "after"]
WORDS = {
    "added": "added",
    "removed": "removed",
    "moved": "moved",
    "relabelled": "relabelled",
    "edited": "other attributes",
}
_PHOTO_SENTENCES = {
    "replaced": "the photo was replaced in place",
    "missing": "the photo is missing: put the file back",
    "found": "the photo was missing, and exists again",
}
_NO_PICTURE: dict[tuple[str, Side], str] = {
    ("replaced", "before"): "This photo does not exist any more: another one has its name.",
    ("missing", "after"): "The file was missing when this snapshot was taken.",
    ("found", "before"): "The file was missing when this snapshot was taken.",
}


@dataclass(frozen=True)
class DiffSide:
    """One of the two snapshots."""

    name: str
    """The snapshot's name on the page: dataset, fingerprint and time."""
    tables: SnapshotTables
    images_dir: Path


@dataclass(frozen=True)
class _Plate:
    image: ImageChange
    changes: tuple[BoxChange, ...]
    photo: str = ""
    """A key of `PHOTO_WORDS`; empty if the image file is unchanged."""


def write_diff_page(path: Path, diff: SnapshotDiff, before: DiffSide, after: DiffSide) -> None:
    """Write the page of a diff; if an image cannot be read, a note is shown in its place."""
    plates, rows = _plates(diff), _rows(diff)
    values = {
        "title": "What changed between two snapshots",
        "names": [before.name, after.name],
        "reasons": summarize(diff),
        "figures": _figures(diff),
        "plates": [_pair(plate, before, after) for plate in plates[:PICTURES]],
        "plates_total": len(plates),
        "rows": rows[:LISTED],
        "rows_total": len(rows),
    }
    write_page(path, "diff.html.j2", values)


def _plates(diff: SnapshotDiff) -> list[_Plate]:
    changes: dict[str, list[BoxChange]] = defaultdict(list)
    for change in diff.boxes:
        changes[change.sample_id].append(change)
    photos = {image.sample_id: (image, kind) for kind in PHOTO_WORDS for image in getattr(diff, f"files_{kind}")}
    moved = {image.sample_id: image for image in diff.files_moved}
    plates = []
    for sample_id in sorted(changes, key=lambda sample_id: -len(changes[sample_id])):
        own = tuple(changes[sample_id])
        same = ImageChange(sample_id, own[0].path, own[0].path, 0)
        image, photo = photos.get(sample_id, (moved.get(sample_id, same), ""))
        plates.append(_Plate(image, own, photo))
    plates += [_Plate(image, (), photo) for sample_id, (image, photo) in photos.items() if sample_id not in changes]
    return plates + [_Plate(image, ()) for image in (*diff.images_added, *diff.images_removed)]


def _figures(diff: SnapshotDiff) -> list[dict[str, Any]]:
    counts = {kind: sum(change.kind == kind for change in diff.boxes) for kind in WORDS}
    items = [
        ("images added", len(diff.images_added), _with_boxes(diff.images_added)),
        ("images removed", len(diff.images_removed), _with_boxes(diff.images_removed)),
        ("photos replaced", len(diff.files_replaced), "same sample, other file content"),
        ("boxes added", counts["added"], "in images of both snapshots"),
        ("boxes removed", counts["removed"], "in images of both snapshots"),
        ("boxes moved", counts["moved"], "same label, the places overlap"),
        ("boxes relabelled", counts["relabelled"], "same place, another label"),
    ]
    if diff.images_labelled:
        items.append(("images labelled", len(diff.images_labelled), "for the first time, perhaps as empty"))
    if diff.images_unlabelled:
        items.append(("images without labels", len(diff.images_unlabelled), "labelled before, perhaps as empty"))
    if counts["edited"]:
        items.append(("boxes edited", counts["edited"], "same label and place, other attributes"))
    if diff.files_missing:
        items.append(("photos missing", len(diff.files_missing), "same sample, its file does not exist any more"))
    if diff.files_found:
        items.append(("photos found", len(diff.files_found), "same sample, its file was missing"))
    if diff.files_moved:
        items.append(("photos elsewhere", len(diff.files_moved), "same sample, another path"))
    return [{"label": label, "value": whole(value), "words": words, "null": False} for label, value, words in items]


def _with_boxes(images: Sequence[ImageChange]) -> str:
    return f"with {plural(sum(image.boxes for image in images), 'box', 'boxes')}"


def _pair(plate: _Plate, before: DiffSide, after: DiffSide) -> dict[str, Any]:
    """Return what the template needs: a picture, or a note, for each side."""
    what = [_sentence(change) for change in plate.changes[:8]]
    if len(plate.changes) > len(what):
        what.append(f"and {len(plate.changes) - len(what)} more, see below")
    if plate.photo:
        what.insert(0, _PHOTO_SENTENCES[plate.photo])
    if plate.image.path_before is None:
        what = [f"image added, with {plural(plate.image.boxes, 'box', 'boxes')}"]
    if plate.image.path_after is None:
        what = [f"image removed, with {plural(plate.image.boxes, 'box', 'boxes')}"]
    sides = [_picture(plate, before, "before"), _picture(plate, after, "after")]
    return {"path": plate.image.path, "what": what, "sides": sides}


def _picture(plate: _Plate, side: DiffSide, which: Side) -> dict[str, str]:
    item = {"title": which.capitalize(), "uri": "", "note": "", "alt": f"{plate.image.path}, {which}"}
    path = plate.image.path_before if which == "before" else plate.image.path_after
    if path is None:
        item["note"] = "This snapshot does not hold the image."
        return item
    if (plate.photo, which) in _NO_PICTURE:
        item["note"] = _NO_PICTURE[plate.photo, which]
        return item
    changed = [box for change in plate.changes if (box := getattr(change, which)) is not None]
    layers = [
        BoxLayer(_all_boxes_xywh(side.tables, plate.image.sample_id), "context"),
        BoxLayer(_boxes_xywh(changed), "finding" if which == "before" else "prediction"),
    ]
    try:
        source = side.images_dir / path
        item["uri"] = picture_with_boxes(source, layers, max_side_px=PICTURE_SIDE_PX, max_bytes=PICTURE_BYTES)
    except ImageFileError as error:
        item["note"] = f"No picture: {error.in_one_line}"
    return item


def _all_boxes_xywh(tables: SnapshotTables, sample_id: str) -> np.ndarray:
    image_ids = tables.images.loc[tables.images["sample_id"] == sample_id, "image_id"]
    return tables.boxes.loc[tables.boxes["image_id"].isin(image_ids), XYWH_COLUMNS].to_numpy(dtype=np.float64)


def _boxes_xywh(boxes: Sequence[Box]) -> np.ndarray:
    return np.array([box.box_xywh for box in boxes], dtype=np.float64).reshape(-1, 4)


def _sentence(change: BoxChange) -> str:
    before, after = change.before, change.after
    if before is not None and after is not None and change.kind == "relabelled":
        return f"{before.label} relabelled to {after.label}"
    box = after or before
    return f"{box.label if box else ''}: {WORDS[change.kind]}"


def _rows(diff: SnapshotDiff) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for words, images in (
        ("image added", diff.images_added),
        ("image removed", diff.images_removed),
        *((PHOTO_WORDS[kind][0], getattr(diff, f"files_{kind}")) for kind in PHOTO_WORDS),
        ("photo elsewhere", diff.files_moved),
        ("boxes in another order", diff.boxes_reordered),
    ):
        for image in images:
            elsewhere = image.path_before not in (None, image.path) and words == "photo elsewhere"
            before = image.path_before or "" if elsewhere else ""
            rows.append({"path": image.path, "what": words, "before": before, "after": image.path if elsewhere else ""})
    for change in diff.boxes:
        sides = {"before": _place(change.before), "after": _place(change.after)}
        rows.append({"path": change.path, "what": f"box {WORDS[change.kind]}", **sides})
    return rows


def _place(box: Box | None) -> str:
    if box is None:
        return ""
    sides = ", ".join(f"{value:.1f}" for value in box.box_xywh)
    extra = " (crowd)" if box.iscrowd else ""
    return f"{box.label}{extra}: {sides}" + (f" {box.attributes}" if box.attributes else "")
