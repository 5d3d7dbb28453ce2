"""coco_cache: writes the snapshot as plain COCO files, one per part.

Later steps use neither FiftyOne nor its database. Here: the files of the cache.
Not here: class ids and mending (`coco_part`), copies of images in the cache (`media`), judging the remaining findings
(`bbox_report`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from agar_pipeline.artifacts import Snapshot, Split
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.writer import coco_writer, concat_images
from agar_pipeline.config import CocoCacheConfig, LabelMatch, agar_home
from agar_pipeline.labels.box_rules import concat_findings
from agar_pipeline.labels.file_memory import FactsMemory
from agar_pipeline.labels.image_rules import UNLABELLED_WORDS
from agar_pipeline.media.cache_photos import take_photos
from agar_pipeline.media.former_caches import IMAGES
from agar_pipeline.progress import Log
from agar_pipeline.snapshot_files.parquet_tables import read_images, read_labels
from agar_pipeline.snapshot_files.read_blocks import read_blocks
from agar_pipeline.snapshots.coco_part import BOX_COLUMNS, CocoPart, to_frame
from agar_pipeline.text.plurals import plural

NO_PART = "no part"
IMAGE_COLUMNS = ["image_id", "path", "width", "height", "size_bytes", "sha256", "labelled"]
BOXES_AT_ONCE = 500_000
"""Boxes per block: memory does not grow with the number of boxes, and hardly with the number of images."""
MENDED_WORDS = {
    "images_dropped": ("image left out", "images left out"),
    "annotations_dropped": ("annotation left out", "annotations left out"),
    "annotations_clipped": ("annotation clipped", "annotations clipped"),
}


def build(
    config: CocoCacheConfig,
    out_dir: Path,
    log: Log,
    snapshot: Snapshot,
    split: Split,
    earlier: Sequence[Path] = (),
) -> dict[str, dict[str, Any]]:
    """Write coco/<part>.json, findings.parquet, mending.json, dataset.json, and images if the cache holds copies.

    Args:
        earlier: Folders of former caches; unchanged copies of images are linked to, not written again.

    Returns:
        Hashes of image copies that are known without reading them, see `Store.build`.
    """
    images = read_images(snapshot.root / "images.parquet", IMAGE_COLUMNS)
    images_dir = Path(snapshot.dataset()["images_dir"])
    match = config.spellings.match(read_labels(snapshot.root / "boxes.parquet"))
    for sentence in match.tell_merged():
        log(f"{sentence}, by its spelling")
    parts = _write_parts(config, match, images, snapshot, split, out_dir, log)
    media: dict[str, Any] = {"kind": config.media, "max_side": config.max_side}
    known_files: dict[str, dict[str, Any]] = {}
    photos = {name: concat_images(part.kept_images) for name, part in parts.items()}
    write_photos(photos, images, out_dir)
    if config.media != "reference":
        own = take_photos(photos, to_frame(images), images_dir, out_dir, config.media, earlier, log)
        known_files, media = own.known_files, {**media, **own.counts}
    unlabelled = find_left_out(config, images, split)
    findings = concat_findings([*(found for part in parts.values() for found in part.findings), unlabelled])
    findings.to_parquet(out_dir / "findings.parquet", index=False)
    counts = {name: {**part.counts, "image_files": config.images} for name, part in parts.items()}
    (out_dir / "mending.json").write_bytes(orjson.dumps(counts, option=orjson.OPT_INDENT_2))
    dataset = {
        **_where(images_dir, out_dir, config.media),
        "class_map": config.class_map,
        "class_names": config.class_names,
        "by_spelling": match.by_spelling,
        "media": media,
        "parts": {part: {name: count[name] for name in ("images", "annotations")} for part, count in counts.items()},
    }
    (out_dir / "dataset.json").write_bytes(orjson.dumps(dataset, option=orjson.OPT_INDENT_2))
    log("; ".join(_in_words(part, count) for part, count in counts.items()))
    return known_files


def _write_parts(
    config: CocoCacheConfig,
    match: LabelMatch,
    images: pa.Table,
    snapshot: Snapshot,
    split: Split,
    out_dir: Path,
    log: Log,
) -> dict[str, CocoPart]:
    part_of = split.table().set_index("image_id")["part"].reindex(images["image_id"].to_numpy()).to_numpy()
    memory = FactsMemory(agar_home() / "file_checks.sqlite")
    with contextlib.ExitStack() as stack:
        parts = {
            part: CocoPart(
                part,
                images.take(np.flatnonzero(part_of == part)),
                Path(snapshot.dataset()["images_dir"]),
                config,
                match,
                stack.enter_context(coco_writer(out_dir / "coco" / f"{part}.json")),
                memory,
                log,
            )
            for part in ("train", "val", "test")
            if (part_of == part).any()
        }
        for image_ids, boxes in read_blocks(snapshot.root / "boxes.parquet", BOX_COLUMNS, BOXES_AT_ONCE):
            for part in parts.values():
                part.add(image_ids, boxes)
    return parts


def find_left_out(config: CocoCacheConfig, images: pa.Table, split: Split) -> pd.DataFrame:
    """Return findings of the images that are in no part because nobody has labelled them."""
    if config.mend.get("unlabelled_image") != "drop_image":
        return pd.DataFrame()
    in_no_part = np.isin(images["image_id"].to_numpy(), split.table()["image_id"].to_numpy(), invert=True)
    left_out = images.filter(pa.array(in_no_part & ~images["labelled"].to_numpy()))
    return pd.DataFrame(
        {
            "rule": "unlabelled_image",
            "part": NO_PART,
            "image_id": left_out["image_id"].to_numpy(),
            "file_name": left_out["path"].to_pylist(),
            "value": UNLABELLED_WORDS,
        }
    )


def write_photos(parts: Mapping[str, CocoColumns], images: pa.Table, out_dir: Path) -> None:
    """Write `photos.parquet`, the hash of the image file behind each file name.

    It makes the cache's data version depend on the pixels.

    Args:
        images: image_id and sha256 of at least these images, sorted by id.
    """
    all_ids = images["image_id"].to_numpy()
    rows = {part: np.searchsorted(all_ids, columns.image_ids) for part, columns in parts.items()}
    names = [name for columns in parts.values() for name in columns.file_names.tolist()]
    table = pa.table(
        {
            "part": pa.array([part for part, found in rows.items() for _ in found], pa.string()),
            "file_name": pa.array(names, pa.string()),
            "sha256": images["sha256"].take(np.concatenate([np.empty(0, np.int64), *rows.values()])).combine_chunks(),
        }
    )
    pq.write_table(table, out_dir / "photos.parquet", compression="zstd", store_schema=False, write_statistics=False)


def _where(images_dir: Path, out_dir: Path, media: str) -> dict[str, str]:
    """Return where the images are: in the cache, or the original folder, absolute and relative to the cache.

    The relative path stays valid if both folders are moved together.
    """
    if media != "reference":
        return {"images_dir": IMAGES}
    from_here = os.path.relpath(images_dir.resolve(), out_dir.resolve())
    return {"images_dir": str(images_dir), "images_dir_from_here": from_here}


def _in_words(part: str, count: Mapping[str, Any]) -> str:
    done = [plural(count[name], *words) for name, words in MENDED_WORDS.items() if count[name]]
    said = f"{part}: {plural(count['images'], 'image')}, {plural(count['annotations'], 'annotation')}"
    return said + (f" ({', '.join(done)})" if done else "")
