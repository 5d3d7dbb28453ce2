"""coco_cache: the snapshot as plain COCO files, one per part.

From here on nothing touches FiftyOne or its database. Here: class ids, file names, mending as the box policy says.
Not here: photos of its own (`media`), judging what is left (`bbox_report`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from agar_pipeline.artifacts import Snapshot, Split
from agar_pipeline.config import CocoCacheConfig, Spellings, agar_home
from agar_pipeline.detection.box_policy import mend_part
from agar_pipeline.detection.box_rules import concat_findings
from agar_pipeline.detection.coco import CocoColumns, write_coco
from agar_pipeline.detection.file_checks import check_files
from agar_pipeline.detection.file_memory import FactsMemory
from agar_pipeline.media.earlier import IMAGES
from agar_pipeline.media.own import take_photos

UNKNOWN_CATEGORY_ID = 0
OF_NO_FILE = {"width": 0, "height": 0, "size_bytes": -1, "sha256": ""}
"""What stands here for what the snapshot does not know: findings say it, policies judge it."""
LOG_EVERY_S = 10
MENDED_WORDS = {
    "images_dropped": "images left out",
    "annotations_dropped": "annotations left out",
    "annotations_clipped": "annotations clipped",
}


def build(
    config: CocoCacheConfig,
    out_dir: Path,
    log: Callable[[str], None],
    snapshot: Snapshot,
    split: Split,
    earlier: Sequence[Path] = (),
) -> dict[str, dict[str, Any]]:
    """Write coco/<part>.json, findings.parquet, mending.json, dataset.json, and photos where the cache holds its own.

    Args:
        config: Classes, mending, photos.
        out_dir: Of the artifact.
        log: Told the counts.
        snapshot: What is cached.
        split: Into which parts.
        earlier: Former caches, whose photos are linked to where nothing changed.

    Returns:
        What is known of the photos without reading them, see `Store.build`.
    """
    images = snapshot.images().fillna(OF_NO_FILE).astype(dict.fromkeys(("width", "height", "size_bytes"), "int64"))
    images = images.merge(split.table(), on="image_id", validate="one_to_one")
    images_dir = Path(snapshot.dataset()["images_dir"])
    parts, findings, counts = _mend(config, images, snapshot.boxes(), images_dir, log)
    media: dict[str, Any] = {"kind": config.media, "max_side": config.max_side}
    known_files: dict[str, dict[str, Any]] = {}
    if config.media != "reference":
        own = take_photos(parts, images, images_dir, out_dir, config.media, config.max_side, earlier, log)
        parts, known_files, media = own.parts, own.known_files, {**media, **own.counts}
    for part, columns in parts.items():
        write_coco(out_dir / "coco" / f"{part}.json", columns)
    findings.to_parquet(out_dir / "findings.parquet", index=False)
    (out_dir / "mending.json").write_bytes(orjson.dumps(counts, option=orjson.OPT_INDENT_2))
    dataset = {
        **_where(images_dir, out_dir, config.media),
        "class_map": config.class_map,
        "class_names": config.class_names,
        "media": media,
        "parts": {part: {name: count[name] for name in ("images", "annotations")} for part, count in counts.items()},
    }
    (out_dir / "dataset.json").write_bytes(orjson.dumps(dataset, option=orjson.OPT_INDENT_2))
    log("; ".join(_in_words(part, count) for part, count in counts.items()))
    return known_files


def _mend(
    config: CocoCacheConfig, images: pd.DataFrame, boxes: pd.DataFrame, images_dir: Path, log: Callable[[str], None]
) -> tuple[dict[str, CocoColumns], pd.DataFrame, dict[str, dict[str, Any]]]:
    """What is left of each part, the findings, and the counts before and after."""
    memory = FactsMemory(agar_home() / "file_checks.sqlite")
    parts, found, counts = {}, [], {}
    for part in [part for part in ("train", "val", "test") if (images["part"] == part).any()]:
        part_images = images[images["part"] == part]
        columns, labels = _to_columns(part_images, boxes, config)
        hashes = list(zip(part_images["sha256"], part_images["size_bytes"], strict=True))
        progress = _every_few_seconds(log, f"{part}: image files checked ({config.images})")
        about_files = check_files(
            columns, part, images_dir, config.images, hashes=hashes, memory=memory, progress=progress
        )
        mended = mend_part(columns, part, config.mend, config.min_box_side_px, about_files)
        found.append(name_labels(mended.findings, columns, labels, config.spellings))
        parts[part], counts[part] = mended.columns, {**mended.counts, "image_files": config.images}
    return parts, concat_findings(found), counts


def _where(images_dir: Path, out_dir: Path, media: str) -> dict[str, str]:
    """Where the photos are: inside the cache, or where they were, also as seen from it, in case both are moved."""
    if media != "reference":
        return {"images_dir": IMAGES}
    from_here = os.path.relpath(images_dir.resolve(), out_dir.resolve())
    return {"images_dir": str(images_dir), "images_dir_from_here": from_here}


def _in_words(part: str, count: Mapping[str, Any]) -> str:
    done = [f"{count[name]} {words}" for name, words in MENDED_WORDS.items() if count[name]]
    said = f"{part}: {count['images']} images, {count['annotations']} annotations"
    return said + (f" ({', '.join(done)})" if done else "")


def _every_few_seconds(log: Callable[[str], None], words: str) -> Callable[[int, int], None]:
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > LOG_EVERY_S:
            last = time.monotonic()
            log(f"{words}: {done:,} of {total:,}")

    return progress


def _to_columns(images: pd.DataFrame, boxes: pd.DataFrame, config: CocoCacheConfig) -> tuple[CocoColumns, np.ndarray]:
    """COCO columns of the given images, and the label of each annotation, (M,)."""
    boxes = boxes[boxes["image_id"].isin(images["image_id"])]
    category_ids = config.spellings.category_ids(boxes["label"].unique())
    columns = CocoColumns(
        image_ids=images["image_id"].to_numpy(np.int64),
        file_names=images["path"].to_numpy(dtype=object),
        sizes_wh=images[["width", "height"]].to_numpy(np.int64),
        annotation_ids=boxes["box_id"].to_numpy(np.int64),
        annotation_image_ids=boxes["image_id"].to_numpy(np.int64),
        annotation_category_ids=boxes["label"].map(category_ids).fillna(UNKNOWN_CATEGORY_ID).to_numpy(np.int64),
        boxes_xywh=boxes[["x", "y", "width", "height"]].to_numpy(np.float64),
        iscrowd=boxes["iscrowd"].to_numpy(bool),
        category_ids=np.arange(1, len(config.class_names) + 1),
        class_names=tuple(config.class_names),
    )
    return columns, boxes["label"].to_numpy(dtype=object)


def name_labels(findings: pd.DataFrame, columns: CocoColumns, labels: np.ndarray, spellings: Spellings) -> pd.DataFrame:
    """Findings of unknown classes with the label as it stands in FiftyOne, and the known one that it resembles.

    Args:
        findings: Of `columns`.
        columns: One part, as annotated.
        labels: (M,) label of each annotation.
        spellings: Of the class map.
    """
    unknown = findings["rule"] == "unknown_class"
    rows = np.isin(columns.annotation_ids, findings.loc[unknown, "annotation_id"].to_numpy(np.int64))
    label_of = dict(zip(columns.annotation_ids[rows].tolist(), labels[rows].tolist(), strict=True))
    explained = {label: spellings.explain_unknown(label) for label in set(label_of.values())}
    findings.loc[unknown, "value"] = [explained[label_of[i]] for i in findings.loc[unknown, "annotation_id"]]
    return findings
