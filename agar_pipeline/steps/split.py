"""split: assigns each image to a part (train, val or test).

Here: which columns of the snapshot are read, and what is written. Not here: dividing (`splitting`).
The FiftyOne dataset is not changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from agar_pipeline.artifacts import Snapshot
from agar_pipeline.config import SplitConfig, agar_home
from agar_pipeline.errors import ArtifactError
from agar_pipeline.progress import Log, progress_bar
from agar_pipeline.splitting.division import Division, divide
from agar_pipeline.splitting.duplicates import NEAREST, NO_DUPLICATES, Duplicates, find_duplicates
from agar_pipeline.splitting.leakage import apply_leakage_policy, count_copies, list_pairs
from agar_pipeline.splitting.views_and_lists import read_lists
from agar_pipeline.text.plurals import plural


def build(config: SplitConfig, out_dir: Path, log: Log, snapshot: Snapshot, home: Path | None = None) -> None:
    """Write split.parquet, split.json, duplicates.parquet and report.html; `home` holds a cache of image hashes."""
    from agar_pipeline.reports.split_page import write_split_page

    images = snapshot.image_ids()
    _require_columns(config, images, snapshot)
    dataset = snapshot.dataset()
    images_dir = Path(dataset["images_dir"])
    found = _find_duplicates(config, images, images_dir, home or agar_home(), log)
    lists = {
        part: [_below(name, dataset["images_dir"]) for name in names] for part, names in read_lists(config).items()
    }
    pairs_of_rows = found.all_pairs if config.groups_duplicates else None
    division = divide(config, images, lists=lists, duplicates=pairs_of_rows, there=describe_dataset(dataset))
    pairs = list_pairs(images, division.parts, found)
    leakage = apply_leakage_policy(config.leakage, pairs, count_copies(division.parts, found), found.cut)
    plain = {**describe(division, len(images)), "leakage": leakage}
    table = images[["image_id"]].assign(part=division.parts)
    table[table["part"].notna()].to_parquet(out_dir / "split.parquet", index=False)
    pairs.to_parquet(out_dir / "duplicates.parquet", index=False)
    (out_dir / "split.json").write_bytes(orjson.dumps(plain, option=orjson.OPT_INDENT_2))
    write_split_page(out_dir / "report.html", plain, pairs, images_dir)
    _tell(division, len(images), log)
    _tell_leakage(plain["leakage"], log)


def _find_duplicates(config: SplitConfig, images: pd.DataFrame, images_dir: Path, home: Path, log: Log) -> Duplicates:
    if "sha256" not in config.image_columns:
        return NO_DUPLICATES

    paths = [images_dir / path for path in images["path"]]
    with progress_bar("looking for duplicates", log) as progress:
        return find_duplicates(config, paths, images["sha256"].to_list(), home, progress)


def _tell_leakage(leakage: dict[str, Any], log: Log) -> None:
    if leakage["near"]["cut"]:
        resemble = plural(leakage["near"]["cut"], "photo resembles", "photos resemble")
        log(f"{resemble} more than {NEAREST} others: only the nearest were compared; there may be more near duplicates")
    for kind in ("exact", "near"):
        count = leakage[kind]["across_parts"]
        if count and leakage[kind]["policy"] != "off":
            pairs = plural(count, f"pair of {kind} duplicates is", f"pairs of {kind} duplicates are")
            log(f"{pairs} in two parts ({leakage[kind]['policy']}): see report.html")


def describe(division: Division, images: int) -> dict[str, Any]:
    """Return the entries of split.json that describe the division."""
    return {
        "images": images,
        "parts": division.counts,
        "left_out": division.left_out,
        "unknown_names": {"count": len(division.unknown_names), "first": list(division.unknown_names[:100])},
        "groups": division.groups,
    }


def _tell(division: Division, images: int, log: Log) -> None:
    of = f" in {plural(division.groups, 'group')}" if division.groups is not None else ""
    log(f"{plural(images, 'image')}{of}: " + ", ".join(f"{count} {part}" for part, count in division.counts.items()))
    if division.left_out:
        log("left out of all parts: " + "; ".join(f"{n} ({reason})" for reason, n in division.left_out.items()))
    if division.unknown_names:
        lines = plural(len(division.unknown_names), "line")
        log(f"no image is named by {lines} of the lists: {division.unknown_names[0]!r} …")


def _require_columns(config: SplitConfig, images: pd.DataFrame, snapshot: Snapshot) -> None:
    missing = [name for name in config.image_columns if name not in images]
    if missing:
        raise ArtifactError(
            f"does not hold what the split reads: {', '.join(missing)}",
            where=snapshot.root,
            next_step="build the snapshot again with this pipeline file: agar run snapshot",
        )


def describe_dataset(dataset: dict[str, Any]) -> str:
    """List the tags and fields of the dataset, for messages."""
    tags = [f"{name} ({count})" for name, count in dataset.get("tags", {}).items()]
    fields = dataset.get("fields", [])
    return f"tags {', '.join(tags) or 'none'}; fields {', '.join(fields)}" if "tags" in dataset else ""


def _below(name: str, images_dir: str) -> str:
    """Return a line of a list as a path relative to the images' folder, also if it is an absolute path."""
    return name.removeprefix(images_dir.rstrip("/") + "/")
