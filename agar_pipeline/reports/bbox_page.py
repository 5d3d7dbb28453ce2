"""The page of the bbox report: whether training may start, and which findings there are.

Here: choosing and wording. Not here: finding bad boxes, judging them (`steps.bbox_report`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import rules_allowing
from agar_pipeline.labels.file_checks import FILE_RULES
from agar_pipeline.labels.part_balance import measure_balance, sides_px
from agar_pipeline.reports import plots
from agar_pipeline.reports.balance_section import describe_balance
from agar_pipeline.reports.health_words import describe_health
from agar_pipeline.reports.number_formats import is_null, number, percent, whole
from agar_pipeline.reports.offenders import picture_of_finding, worst_findings
from agar_pipeline.reports.render import write_page
from agar_pipeline.reports.rule_words import ACTION_WORDS, SEVERITY, words_for
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    import pandas as pd

LISTED = 200
PICTURES = 6
FINDING_COLUMNS = ["rule", "part", "image_id", "annotation_id", "file_name", "value", "action", *XYWH_COLUMNS]


def write_bbox_page(
    path: Path, report: dict[str, Any], findings: pd.DataFrame, parts: dict[str, CocoColumns], images_dir: Path
) -> dict[str, str]:
    """Write the page of a bbox report; return its plots, title → data URI.

    Args:
        report: As in report.json; `balance` is measured here if it is missing.
        findings: One row per finding: rule, part, image_id, annotation_id, file_name, value, action, and the box as
            x, y, width, height in pixels, if it is about a box.
        parts: The COCO files that were checked.
        images_dir: Folder that `file_name` is relative to.
    """
    findings = findings.reindex(columns=FINDING_COLUMNS).reset_index(drop=True)
    photos = {name: part.in_photo_pixels() for name, part in parts.items()}
    drawn = _plots(report, photos)
    rules = [_rule(name, entry) for name, entry in report.get("findings", {}).items()]
    rules.sort(key=lambda rule: (rule["count"] == 0, SEVERITY.get(rule["action"], len(SEVERITY)), -rule["count"]))
    blocking = [rule for rule in rules if rule["action"] == "fail" and rule["count"]]
    values = {
        "title": "Bounding box report",
        "ok": bool(report["ok"]),
        "verdict": _summary(rules),
        "blocking": blocking,
        "next_steps": _next_steps([rule["name"] for rule in blocking]),
        "figures": _figures(report, parts),
        "health": describe_health(report),
        "rules": [rule for rule in rules if rule["count"]],
        "clean": [rule["title"].lower() for rule in rules if not rule["count"] and rule["name"] not in _unseen(report)],
        "files_words": _files_words(report),
        "pictures": [picture_of_finding(row, parts, images_dir) for row in worst_findings(findings, parts, PICTURES)],
        "plots": drawn,
        "balance": describe_balance(report["balance"] if "balance" in report else measure_balance(parts)),
        "rows": _rows(findings),
        "total": len(findings),
    }
    write_page(path, "bbox.html.j2", values)
    return {plot["title"]: plot["uri"] for plot in drawn}


def _unseen(report: Mapping[str, Any]) -> frozenset[str]:
    """Return the rules that could not be checked, because image files were not opened or not decoded."""
    depth = report.get("image_files", {}).get("depth", "skip")
    by_depth = {"skip": FILE_RULES[2:], "header": ("damaged_image",)}
    return frozenset(by_depth.get(depth, ()))


def _files_words(report: Mapping[str, Any]) -> str:
    """Say whether image files were only looked for, or their headers read, or their pixels decoded."""
    files = report.get("image_files")
    if not files or files["depth"] == "skip":
        return (
            "No image file was opened, only its existence was checked; "
            "`images: header` or `images: decode` in the pipeline file opens the files."
        )
    every = files["opened"] == files["of"]
    which = "Every image file was" if every else f"{files['opened']} of {files['of']} image files were"
    if files["depth"] == "decode":
        return f"{which} decoded completely."
    which = which.removesuffix(" was").removesuffix(" were")
    which = which[0].lower() + which[1:]
    return f"The header of {which} was read; only `images: decode` finds all files that are cut off or blank."


def _rule(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    words, count, action = words_for(name), int(entry["count"]), str(entry["action"])
    return {
        "name": name,
        "title": words.title,
        "meaning": words.meaning,
        "count": count,
        "counted": plural(count, words.one, words.many),
        "action": action,
        "action_words": ACTION_WORDS.get(action, action),
    }


def _summary(rules: list[dict[str, Any]]) -> str:
    found = [rule for rule in rules if rule["count"]]
    if not found:
        return "No rule is broken."
    listed = "; ".join(f"{rule['counted']} ({rule['action_words']})" for rule in found)
    return f"Found, and allowed by the pipeline's box_policy: {listed}."


def _next_steps(blocking: list[str]) -> list[dict[str, str]]:
    steps = []
    if droppable := [rule for rule in blocking if rule in rules_allowing("drop_box")]:
        steps.append(("Correct these boxes in FiftyOne: the list of findings names each one.", ""))
        policy = "box_policy: {" + ", ".join(f"{rule}: drop_box" for rule in droppable) + "}"
        steps.append(("Or leave them out of training, in configs/pipeline/<name>.yaml:", policy))
    if "unlabelled_image" in blocking:
        steps.append(
            ("Label these pictures, or leave them out, in configs/pipeline/<name>.yaml:", "unlabelled: leave_out")
        )
        steps.append(("Or, if there are no colonies on them, keep them as empty plates:", "unlabelled: keep"))
    if "missing_image" in blocking:
        steps.append(("Put the missing pictures back where the dataset expects them, or remove their samples.", ""))
    if "empty_part" in blocking:
        steps.append(("Change the fractions of the split, or add annotated pictures.", ""))
    if "misread_boxes" in blocking:
        steps.append(("Export the boxes again as x, y, width, height in pixels of the photo, and import them.", ""))
    if any(rule.endswith("_id") or rule == "unknown_image" for rule in blocking):
        steps.append(("Export the annotations again, with ids that are unique and images that exist.", ""))
    if not steps:
        steps.append(("Look at the findings below, and correct them in FiftyOne.", ""))
    steps.append(("Then compute again what is affected:", "agar run"))
    return [{"words": words, "code": code} for words, code in steps]


def _figures(report: Mapping[str, Any], parts: Mapping[str, CocoColumns]) -> list[dict[str, Any]]:
    images = sum(len(part.image_ids) for part in parts.values()) or report["images"]
    empty = sum(int((part.boxes_per_image() == 0).sum()) for part in parts.values())
    sizes = ", ".join(f"{name} {whole(len(part.image_ids))}" for name, part in parts.items())
    ratio = report.get("out_of_bounds_ratio")
    per_image = f"{number(round(report['annotations'] / max(images, 1), 1))} per image"
    if dropped := report.get("annotations_dropped"):
        per_image += f"; {whole(dropped)} more left out"
    if crowds := report.get("crowds"):
        per_image += f"; {whole(crowds)} of them iscrowd: regions of many objects, neither learnt nor scored"
    items = [
        ("images", whole(report["images"]), sizes or "in all parts"),
        ("boxes", whole(report["annotations"]), per_image),
        ("classes", whole(_count(report["categories"])), "as the class map names them"),
        ("empty plates", whole(empty), "images without any box; correct if nothing grew"),
        ("boxes leaving the picture", percent(ratio), "a few at the edge are harmless"),
    ]
    unlabelled = report.get("findings", {}).get("unlabelled_image", {"count": 0, "action": ""})
    if unlabelled["count"]:
        words = {"drop_image": "not labelled yet; left out", "keep": "not labelled yet; kept as empty plates"}
        said = words.get(unlabelled["action"], "not labelled yet; they are not empty plates")
        items.append(("images without labels", whole(unlabelled["count"]), said))
    return [{"label": label, "value": value, "words": words, "null": False} for label, value, words in items]


def _count(categories: Any) -> int:
    return int(categories) if isinstance(categories, int) else len(categories)


def _plots(report: Mapping[str, Any], parts: Mapping[str, CocoColumns]) -> list[dict[str, str]]:
    sides = np.concatenate([sides_px(part) for part in parts.values()] or [np.zeros(0)])
    per_image = np.concatenate([part.boxes_per_image() for part in parts.values()] or [np.zeros(0)])
    centres = np.zeros((plots.GRID, plots.GRID))
    for piece in (piece for part in parts.values() for piece in part.pieces()):
        centres += plots.count_centres(_centres_rel_xy(piece))
    distribution = report.get("category_distribution", {})
    classes = "Boxes of each class in each part."
    if len(distribution) > plots.MANY_BARS:
        classes += f" The {plots.MANY_BARS} largest of {len(distribution)} classes."
    return [
        {
            "uri": plots.histogram(sides, "side of the box, pixels (square root of the area)", "boxes", log_x=True),
            "title": "Box sizes",
            "words": "Very small ones on the left are hard to find for any model.",
        },
        {
            "uri": plots.histogram(per_image, "boxes in an image", "images"),
            "title": "Boxes per image",
            "words": "How crowded the plates are.",
        },
        {"uri": plots.stacked_bars(distribution, "boxes"), "title": "Classes", "words": classes},
        {
            "uri": plots.heat_map(centres),
            "title": "Where boxes lie",
            "words": "Centres of all boxes. Hot corners or lines point at an annotation habit or at the plate's edge.",
        },
    ]


def _centres_rel_xy(part: CocoColumns) -> np.ndarray:
    rows, known = part.image_rows()
    sizes_wh, boxes_xywh = part.sizes_wh[rows[known]], part.boxes_xywh[known]
    with np.errstate(divide="ignore", invalid="ignore"):
        centres = (boxes_xywh[:, :2] + boxes_xywh[:, 2:] / 2) / sizes_wh
    return centres[np.isfinite(centres).all(axis=1)]


def _rows(findings: pd.DataFrame) -> list[dict[str, str]]:
    """Return the first findings of every rule, so that a frequent rule does not hide a rare one, in their order."""
    nth_of_rule = findings.groupby("rule", sort=False).cumcount()
    listed = findings.loc[nth_of_rule.sort_values(kind="stable").index[:LISTED].sort_values()]
    return [
        {str(key): _cell(value) for key, value in row.items()} | {"title": words_for(str(row["rule"])).title}
        for row in listed.to_dict("records")
    ]


def _cell(value: Any) -> str:
    if is_null(value):
        return "–"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
