"""Follows one image through all artifacts: snapshots, its part in each split, trainings and evaluations."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agar_pipeline.artifacts import Snapshot, Split
from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.errors import ArtifactError
from agar_pipeline.history.lineage import Catalog, LineageEntry
from agar_pipeline.step_code.provenance import provenance_of
from agar_pipeline.store import Store
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 6


def explain_image(store: Store, word: str) -> dict[str, Any]:
    """Return everything that the store knows about one image.

    Args:
        word: Path, base name, image_id or sample_id. It is looked up in the latest snapshot that has such an image.
            That sample is then followed through every snapshot of the same dataset, or with the same image file.

    Returns:
        JSON-ready: `image`, `snapshots`, `splits`, `trained_by`, `evaluated_by`; newest first.

    Raises:
        ArtifactError: no snapshot has such an image, or several images have that name.
    """
    catalog = Catalog(store)
    tables = {record.root: Snapshot(record.root).images() for record in catalog.of("snapshot")}
    image = _find_image(catalog, tables, word, store)
    rows = _rows_of_sample(catalog, tables, image)
    image_ids = {record.root: int(row["image_id"]) for record, row in rows}
    seen = {record.root: _parts_in_cache(catalog, record, image_ids) for record in catalog.of("coco_cache")}
    return {
        "image": image,
        "snapshots": [_in_snapshot(record, row) for record, row in rows],
        "splits": _in_splits(catalog, rows),
        "trained_by": _users(catalog, "training_run", seen),
        "evaluated_by": _users(catalog, "evaluation", seen),
    }


def annotations_sha256(boxes: pd.DataFrame) -> str:
    """Hash an image's boxes, independent of their order and ids."""
    content = boxes[["label", *XYWH_COLUMNS, "iscrowd", "attributes"]]
    rows = sorted(json.dumps(row) for row in content.astype(object).where(content.notna(), None).to_numpy().tolist())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _find_image(catalog: Catalog, tables: dict[Path, pd.DataFrame], word: str, store: Store) -> dict[str, Any]:
    records = sorted(catalog.of("snapshot"), key=lambda record: not record.is_latest)
    if not records:
        raise ArtifactError(
            "holds no snapshot",
            where=f"the home {store.home}",
            next_step="build one (agar run snapshot), or set AGAR_HOME to another home",
        )
    for record in records:
        dataset = Snapshot(record.root).dataset()
        found = _matching(tables[record.root], dataset["images_dir"], word)
        if len(found) > 1:
            raise ArtifactError(
                f"is the name of {len(found)} images of dataset {dataset['dataset']!r}",
                where=repr(word),
                next_step=f"name one of them by its path: {', '.join(found['path'][:_SHOWN])}",
            )
        if len(found) == 1:
            row = found.iloc[0]
            own = {name: str(row[name]) for name in ("sample_id", "path")}
            return {"dataset": dataset["dataset"], **own, "sha256": _sha256(row)}
    paths = tables[records[0].root]["path"]
    raise ArtifactError(
        f"names no image of {plural(len(records), 'snapshot')} in {store.home}; the latest holds "
        f"{', '.join(paths[:3])}, …",
        where=repr(word),
        next_step="give the path, base name, image_id or sample_id of an image",
    )


def _matching(images: pd.DataFrame, images_dir: str, word: str) -> pd.DataFrame:
    """Return the rows that a word names; the first way of naming that matches any row is used."""
    absolute = str(Path(word).absolute()).removeprefix(images_dir.rstrip("/") + "/")
    ways = [
        images["sample_id"] == word,
        images["path"] == word,
        images["path"] == absolute,
        images["path"].str.endswith(f"/{word}"),
        images["image_id"].astype(str) == word,
    ]
    return next((images[way] for way in ways if way.any()), images.iloc[:0])


def _rows_of_sample(
    catalog: Catalog, tables: dict[Path, pd.DataFrame], image: dict[str, Any]
) -> list[tuple[LineageEntry, pd.Series]]:
    rows = []
    for record in catalog.of("snapshot"):
        images = tables[record.root]
        same_dataset = record.manifest.config["dataset"] == image["dataset"]
        for _, row in images[images["sample_id"] == image["sample_id"]].iterrows():
            if same_dataset or row["sha256"] == image["sha256"]:
                rows.append((record, row))
    return rows


def _sha256(row: pd.Series) -> str | None:
    return row["sha256"] if isinstance(row["sha256"], str) else None


def _in_snapshot(record: LineageEntry, row: pd.Series) -> dict[str, Any]:
    boxes = Snapshot(record.root).boxes()
    own = boxes[boxes["image_id"] == row["image_id"]]
    return {
        "snapshot": record.manifest.fingerprint,
        "dataset": record.manifest.config["dataset"],
        "created_at": record.manifest.created_at,
        "latest": record.is_latest,
        "image_id": int(row["image_id"]),
        "path": row["path"],
        "image_sha256": _sha256(row),
        "annotations_sha256": annotations_sha256(own),
        "boxes": len(own),
    }


def _in_splits(catalog: Catalog, rows: list[tuple[LineageEntry, pd.Series]]) -> list[dict[str, Any]]:
    """Return the part in each split; a split belongs to every snapshot whose image ids it was made from."""
    found = []
    for split in catalog.of("split"):
        parts: dict[str, list[str]] = defaultdict(list)
        for snapshot, row in rows:
            if snapshot.read_by(split, "snapshot") == split.manifest.reads["snapshot"]:
                part = _part(split, int(row["image_id"]))
                parts[str(part)].append(snapshot.manifest.fingerprint)
        for part, snapshots in parts.items():
            own = {"split": split.manifest.fingerprint, "part": part, "snapshots": snapshots}
            found.append({**own, "created_at": split.manifest.created_at, "latest": split.is_latest})
    return found


def _part(split: LineageEntry, image_id: int) -> str | None:
    table = Split(split.root).table()
    return next(iter(table.loc[table["image_id"] == image_id, "part"]), None)


def _parts_in_cache(catalog: Catalog, cache: LineageEntry, image_ids: dict[Path, int]) -> list[dict[str, Any]]:
    """Return the part of the image in a COCO cache, and the snapshot and split that determine it."""
    return [
        {
            "part": part,
            "coco_cache": cache.manifest.fingerprint,
            "snapshot": snapshot.manifest.fingerprint,
            "split": split.manifest.fingerprint,
        }
        for snapshot in catalog.inputs_of(cache, "snapshot")
        if snapshot.root in image_ids
        for split in catalog.inputs_of(cache, "split")
        if (part := _part(split, image_ids[snapshot.root])) is not None
    ]


def _users(catalog: Catalog, asset: str, seen: dict[Path, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    users = []
    for record in catalog.of(asset):
        own_part = "train" if asset == "training_run" else record.manifest.config["part"]
        places = [place for cache in catalog.inputs_of(record, "coco_cache") for place in seen[cache.root]]
        place = next((place for place in places if place["part"] == own_part), None)
        if place is not None:
            own = {"experiment": record.key.experiment, asset: record.manifest.fingerprint, **place}
            made = {"created_at": record.manifest.created_at, "latest": record.is_latest}
            users.append({**own, **made, "made_by": _made_by(record)})
    return users


def _made_by(record: LineageEntry) -> dict[str, Any]:
    """Return code, libraries and machine that made an artifact, and how today's code and libraries differ."""
    code = record.manifest.code
    return {
        "code": code.get("digest"),
        "libraries": code.get("libraries", {}),
        "machine": record.manifest.machine,
        "differs_today": provenance_of(record.key.asset).differences(code),
    }
