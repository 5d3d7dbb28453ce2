"""A FiftyOne dataset as COCO files in a folder of the user's own, by the steps of the pipeline, without Dagster.

Snapshot, split and COCO cache are built in the home's store as ever, but nothing's `latest` is moved: what the
pipeline made stays current. Here: the classes, the order of the steps, which originals are at stake. Not here: any
reading or splitting, and the files in the folder (`export_folder`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.artifacts import Artifact, CocoCache, Snapshot
from agar_pipeline.building import build_node, build_snapshot
from agar_pipeline.chain import pipeline_nodes
from agar_pipeline.config import PipelineConfig, SnapshotConfig, Spellings, SplitConfig
from agar_pipeline.config.media import Media, check_media
from agar_pipeline.errors import ConfigError
from agar_pipeline.export_folder import PURPOSE, write_export
from agar_pipeline.ownership.folders import OwnFolder
from agar_pipeline.ownership.originals import Originals
from agar_pipeline.sources import known_photos, observe_source
from agar_pipeline.store import Key, Store

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
        out_dir: Made where it is not there; of an earlier export in it our files are replaced, all others stay.
        home: Holds the embedded database, and what is built on the way.
        log: Told what the steps tell.
        own: Whether `out_dir` gets photos of its own, in `images`.

    Raises:
        PipelineError: whatever the steps raise; `out_dir` is as it was.
        StorageError: `out_dir` holds files of others or photos of a dataset in the way, or cannot be written.
    """
    OwnFolder(out_dir, PURPOSE).require_alone()
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
    originals = Originals(_originals(snapshot, split, taken, out_dir, home))
    images_dir, paths = write_export(cache, OwnFolder(out_dir, PURPOSE, originals), own.media, log)
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


def _originals(
    snapshot: SnapshotConfig, split: SplitConfig, taken: Snapshot, out_dir: Path, home: Path
) -> Iterator[str | Path]:
    """The photos that are exported and the lists that say how; where the folder is in use, those of all datasets too.

    A view leaves photos out that are originals all the same, and another dataset may stand on an earlier export.
    """
    images_dir = taken.dataset()["images_dir"]
    yield from (f"{images_dir}/{path}" for path in taken.images()["path"])
    yield from split.lists.values()
    if out_dir.is_dir() and any(out_dir.iterdir()):
        yield from known_photos(snapshot, home)


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
