"""A FiftyOne dataset as COCO files in a folder of the user's own, by the steps of the pipeline, without Dagster.

Snapshot, split and COCO cache are built in the home's store as ever, but nothing's `latest` is moved: what the
pipeline made stays current. Here: the classes, the order of the steps, the copy. Not here: any reading or splitting.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import Artifact, CocoCache, Snapshot
from agar_pipeline.building import build_node, build_snapshot
from agar_pipeline.chain import pipeline_nodes
from agar_pipeline.config import PipelineConfig, SnapshotConfig, Spellings, SplitConfig
from agar_pipeline.config.media import Media, check_media
from agar_pipeline.disk import clear_storage_errors
from agar_pipeline.errors import ConfigError, StorageError
from agar_pipeline.sources import observe_source
from agar_pipeline.store import Key, Store

_DATASET, _COCO, _IMAGES = "dataset.json", "coco", "images"
Log = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What was written."""

    json_paths: dict[str, Path]
    """Part → COCO file."""
    counts: dict[str, dict[str, int]]
    """Part → images, annotations."""
    images_dir: Path
    class_names: list[str]
    left_out: dict[str, int]
    """Labels of no class → boxes that were left out."""
    absent: list[str]
    """Asked-for classes without a box."""


@dataclass(frozen=True)
class ExportMedia:
    """Whether the photos come along: see `CocoCacheConfig`.

    Raises:
        ConfigError: the two do not fit.
    """

    media: Media = "reference"
    max_side: int | None = None

    def __post_init__(self) -> None:
        try:
            check_media(self.media, self.max_side)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def export_coco(
    snapshot: SnapshotConfig,
    split: SplitConfig,
    classes: tuple[str, ...],
    out_dir: Path,
    home: Path,
    log: Log,
    own: ExportMedia = ExportMedia(),
) -> Exported:
    """Write `coco/<part>.json` and `dataset.json` into `out_dir`.

    Args:
        snapshot: Which dataset, label field and view.
        split: Into which parts.
        classes: Names in order of their ids, 1…K; empty: the dataset's labels, sorted, over all parts together.
        out_dir: Made where it is not there; an earlier export in it is replaced.
        home: Holds the embedded database, and what is built on the way.
        log: Told what the steps tell.
        own: Whether `out_dir` gets photos of its own, in `images`.

    Raises:
        PipelineError: whatever the steps raise; `out_dir` is as it was.
        StorageError: `out_dir` holds something else, or cannot be written.
    """
    _require_own(out_dir)
    # unknown labels are left out here and named; without classes of the user's own there are none
    pipeline = PipelineConfig(
        "export", snapshot, {}, split, box_policy={"unknown_class": "drop_box"}, media=own.media, max_side=own.max_side
    )
    store = Store(home)
    node = pipeline_nodes(pipeline, {})[Key("snapshot")]
    taken: Snapshot = build_snapshot(
        store, node, lambda: observe_source(node.config, home).version, log, repoint=False
    ).artifact
    labels = taken.dataset()["labels"]
    class_map = class_map_of(classes or sorted(labels))
    pipeline = dataclasses.replace(pipeline, class_map=class_map)
    cache = _build_cache(store, pipeline, taken, log)
    _require_no_source(out_dir, taken.dataset()["images_dir"])
    with clear_storage_errors(out_dir):
        images_dir = _copy_photos(cache, out_dir, own.media)
        paths = _copy(cache, out_dir, images_dir)
    spellings = Spellings(class_map)
    return Exported(
        json_paths=paths,
        counts=cache.dataset()["parts"],
        images_dir=images_dir,
        class_names=cache.class_names,
        left_out={label: count for label, count in labels.items() if spellings.category_id(label) is None},
        absent=[name for name in classes if not _spelt(name, labels, spellings)],
    )


def _build_cache(store: Store, pipeline: PipelineConfig, taken: Snapshot, log: Log) -> CocoCache:
    nodes = pipeline_nodes(pipeline, {})
    made: dict[Key, Artifact] = {Key("snapshot"): taken}
    for key in (Key("split"), Key("coco_cache")):
        inputs = {name: made[name] for name in nodes[key].inputs}
        made[key] = build_node(store, nodes[key], inputs, log, repoint=False).artifact
    cache = made[Key("coco_cache")]
    assert isinstance(cache, CocoCache)
    return cache


def class_map_of(names: tuple[str, ...] | list[str]) -> dict[str, int]:
    """Ids 1…K in the order given; spellings of one name share the id of the first."""
    class_map: dict[str, int] = {}
    for name in names:
        known = Spellings(class_map).category_id(name)
        class_map[name] = known if known is not None else len(set(class_map.values())) + 1
    return class_map


def _spelt(name: str, labels: Mapping[str, int], spellings: Spellings) -> set[str]:
    """The labels that mean the same class as a name."""
    return {label for label in labels if spellings.category_id(label) == spellings.category_id(name)}


def _require_own(out_dir: Path) -> None:
    """Raises StorageError where the folder holds anything but an earlier export."""
    if not out_dir.exists() or (out_dir / _DATASET).is_file():
        return
    if not out_dir.is_dir() or any(out_dir.iterdir()):
        raise StorageError(f"{out_dir} holds other files: give --out-dir a new or an empty folder")


def _require_no_source(out_dir: Path, images_dir: str) -> None:
    """Raises StorageError where photos in the export's folder are the dataset's own: they would be replaced."""
    if Path(images_dir).resolve().is_relative_to((out_dir / _IMAGES).resolve()):
        raise StorageError(f"the dataset's photos lie in {out_dir / _IMAGES}: give --out-dir another folder")


def _copy_photos(cache: CocoCache, out_dir: Path, media: Media) -> Path:
    """The photos that the cache holds, into `images`; returns what file names are relative to.

    Files of their own even where the cache's are hard links, but for `link`: whoever edits them edits no artifact.
    """
    ours, draft = out_dir / _IMAGES, out_dir / f".{_IMAGES}.{os.getpid()}"
    if media == "reference":
        return cache.images_dir
    try:
        shutil.copytree(cache.images_dir, draft, copy_function=_link if media == "link" else shutil.copyfile)
        shutil.rmtree(ours, ignore_errors=True)
        draft.rename(ours)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ours


def _images_of(out_dir: Path) -> str | None:
    """Where an earlier export says its photos are."""
    try:
        images_dir: str = json.loads((out_dir / _DATASET).read_text())["images_dir"]
    except (OSError, ValueError, KeyError):
        return None
    return images_dir


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copyfile(source, target)


def _copy(cache: CocoCache, out_dir: Path, images_dir: Path) -> dict[str, Path]:
    """Copy the cache's COCO files; each file appears whole, by rename, `dataset.json` last."""
    (out_dir / _COCO).mkdir(parents=True, exist_ok=True)
    paths = {}
    for part in cache.parts():
        paths[part] = out_dir / _COCO / f"{part}.json"
        draft = paths[part].with_suffix(f".{os.getpid()}")
        shutil.copyfile(cache.json_path(part), draft)
        draft.replace(paths[part])
    for old in (out_dir / _COCO).glob("*.json"):
        if old not in paths.values():
            old.unlink()  # of a part that is no more
    plain: dict[str, Any] = cache.dataset()
    plain["images_dir_from_here"] = os.path.relpath(images_dir.resolve(), out_dir.resolve())
    plain["images_dir"] = _IMAGES if images_dir == out_dir / _IMAGES else str(images_dir)
    draft = out_dir / f".{_DATASET}.{os.getpid()}"
    draft.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    had_photos = plain["images_dir"] != _IMAGES and _images_of(out_dir) == _IMAGES
    draft.replace(out_dir / _DATASET)
    if had_photos:
        shutil.rmtree(out_dir / _IMAGES, ignore_errors=True)  # of an earlier export
    return paths
