"""The page of the split: the number of images in each part, and duplicate images that are in two parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agar_pipeline.errors import ImageFileError
from agar_pipeline.reports.number_formats import percent, whole
from agar_pipeline.reports.pictures import open_photo, to_data_uri
from agar_pipeline.reports.render import write_page
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    import pandas as pd

PICTURED = 12
LISTED = 200
PICTURE_SIDE_PX = 420
PICTURE_BYTES = 80_000
KINDS = {"exact": "the same picture", "near": "look the same"}


def write_split_page(path: Path, summary: Mapping[str, Any], pairs: pd.DataFrame, images_dir: Path) -> None:
    """Write the page of a split.

    Args:
        summary: As in split.json.
        pairs: As in duplicates.parquet, pairs across parts first.
        images_dir: Folder that the paths are relative to.
    """
    across = pairs[pairs["across_parts"]]
    leakage = summary["leakage"]
    blocking = [kind for kind in KINDS if leakage[kind]["policy"] == "fail" and leakage[kind]["across_parts"]]
    values = {
        "title": "Split",
        "ok": leakage["ok"],
        "across": len(across),
        "compared": any(leakage[kind]["policy"] != "off" for kind in KINDS),
        "verdict": _summary(leakage, summary["groups"]),
        "checks": _checks(leakage, summary["groups"]),
        "blocking": [_count(leakage, kind) for kind in blocking],
        "figures": _figures(summary),
        "left_out": [{"reason": reason, "count": count} for reason, count in summary["left_out"].items()],
        "pairs": [_pictured(row, images_dir) for row in across.head(PICTURED).to_dict("records")],
        "rows": [{**row, "kind": KINDS[row["kind"]]} for row in across.head(LISTED).to_dict("records")],
        "total": len(across),
        "within": len(pairs) - len(across),
    }
    write_page(path, "split.html.j2", values)


def _summary(leakage: Mapping[str, Any], groups: int | None) -> str:
    found = [_count(leakage, kind) for kind in KINDS if leakage[kind]["across_parts"]]
    shared = [f"In two parts: {' and '.join(found)}. Scores on them are better than on new plates."] if found else []
    return " ".join(shared + (["Whether the parts share a dish was not checked, see below."] if groups is None else []))


def _checks(leakage: Mapping[str, Any], groups: int | None) -> list[str]:
    """Say what was checked about pictures and dishes in two parts, and what was not, in sentences."""
    checks = [
        f"{'Identical pictures' if kind == 'exact' else f'Pictures that {words}'}: "
        + ("not looked for (`split.leakage`)." if leakage[kind]["policy"] == "off" else "looked for in all parts.")
        for kind, words in KINDS.items()
    ]
    if groups is not None:
        checks.append("Groups: all photos of a group are in one part. Not checked: whether two groups show one dish.")
    else:
        checks.append(
            "Dishes: not checked. Two photos of one dish, for example of both its sides or mirrored, can be in two "
            "parts; they are not recognised by their pixels. Scores on them are better than on new dishes. If your "
            "dishes were photographed more than once, name the field of the dish: `split: {group_by: field:…}`, with "
            "the method `random` or `hash`."
        )
    return checks


def _figures(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    images, leakage = summary["images"], summary["leakage"]
    items = [
        (part, whole(count), f"{percent(count / max(images, 1))} of the images")
        for part, count in summary["parts"].items()
    ]
    if summary["left_out"]:
        items.append(("left out", whole(sum(summary["left_out"].values())), "in no part, by split.unassigned"))
    if summary["groups"] is not None:
        items.append(("groups", whole(summary["groups"]), "each in one part"))
    for kind, words in KINDS.items():
        if leakage[kind]["policy"] != "off":
            across = leakage[kind]["across_parts"]
            items.append((f"pairs: {words}", whole(leakage[kind]["pairs"]), f"{whole(across)} of them across parts"))
    return [{"label": label, "value": value, "words": words, "null": False} for label, value, words in items]


def _pictured(row: Mapping[Any, Any], images_dir: Path) -> dict[str, Any]:
    bits = "" if row["kind"] == "exact" else f", hashes differ in {row['distance']} of 256 bits"
    sides = [
        _side(images_dir / row["path"], str(row["path"]), str(row["part"])),
        _side(images_dir / row["other_path"], str(row["other_path"]), str(row["other_part"])),
    ]
    return {"words": f"{KINDS[row['kind']]}{bits}", "sides": sides}


def _side(path: Path, name: str, part: str) -> dict[str, str]:
    item = {"title": f"{part}: {name}", "uri": "", "note": "", "alt": name}
    try:
        item["uri"] = to_data_uri(open_photo(path, PICTURE_SIDE_PX)[0], PICTURE_BYTES)
    except ImageFileError as error:
        item["note"] = f"No picture: {error.in_one_line}"
    return item


def _count(leakage: Mapping[str, Any], kind: str) -> str:
    return f"{plural(leakage[kind]['across_parts'], 'pair')} of images that {'are ' * (kind == 'exact')}{KINDS[kind]}"
