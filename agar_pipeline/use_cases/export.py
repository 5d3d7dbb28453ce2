"""A FiftyOne dataset as COCO files in a folder of the user's own, by the steps of the pipeline, without Dagster.

Snapshot, split and COCO cache are built in the home's store as ever, but nothing's `latest` is moved: what the
pipeline made stays current. Here: the classes, the order of the steps, which originals are at stake. Not here: any
reading or splitting, and the files in the folder (`export_folder`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.artifacts import Artifact, CocoCache, Snapshot
from agar_pipeline.chain.build import build_node, build_snapshot
from agar_pipeline.chain.nodes import pipeline_nodes
from agar_pipeline.config import (
    PipelineConfig,
    SnapshotConfig,
    Spellings,
    SplitConfig,
    UnlabelledPolicy,
    class_map_of,
    is_blank,
    tell_alike,
)
from agar_pipeline.config.media import Media, check_media
from agar_pipeline.errors import ConfigError, DatasetError
from agar_pipeline.ownership.folders import OwnFolder
from agar_pipeline.ownership.originals import Originals
from agar_pipeline.snapshots.sources import known_photos, observe_source
from agar_pipeline.store import Key, Store
from agar_pipeline.use_cases.export_folder import PURPOSE, write_export

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
    notes: list[str]
    """Which labels were taken for which class, which stand apart, and why some are left out; sentences."""


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
    unlabelled: UnlabelledPolicy = "leave_out",
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
        unlabelled: What becomes of images that nobody has labelled yet, as in `PipelineConfig`.

    Raises:
        PipelineError: whatever the steps raise; `out_dir` is as it was.
        StorageError: `out_dir` holds files of others or photos of a dataset in the way, or cannot be written.
    """
    OwnFolder(out_dir, PURPOSE).require_alone()
    if blank := [name for name in classes if is_blank(name)]:
        raise ConfigError(f"--classes {blank[0]!r} names nothing: give the names of the classes, or leave it out")
    # unknown labels are left out here and named; without classes of the user's own there are none
    pipeline = PipelineConfig(
        "export",
        snapshot,
        {},
        split,
        box_policy={"unknown_class": "drop_box"},
        unlabelled=unlabelled,
        media=own.media,
        max_side=own.max_side,
    )
    store = Store(home)
    node = pipeline_nodes(pipeline, {})[Key("snapshot")]
    taken: Snapshot = build_snapshot(
        store, node, lambda: observe_source(node.config, home).version, log, repoint=False
    ).artifact
    labels, without_labels = taken.dataset()["labels"], taken.dataset()["unlabelled"]
    if without_labels and unlabelled == "fail":
        raise DatasetError(
            f"nobody has labelled {without_labels} of {taken.dataset()['images']} images yet\n"
            "label them, or choose what becomes of them: --unlabelled leave_out, or keep for empty plates"
        )
    class_map = class_map_of(classes or sorted(labels))
    pipeline = dataclasses.replace(pipeline, class_map=class_map)
    cache = _build_cache(store, pipeline, taken, log)
    originals = Originals(_originals(snapshot, split, taken, out_dir, home))
    images_dir, paths = write_export(cache, OwnFolder(out_dir, PURPOSE, originals), own.media, log)
    match = Spellings(class_map).match(labels)
    unnamed = taken.dataset()["boxes"] - sum(labels.values())
    left_out = {label: count for label, count in labels.items() if label not in match.category_ids}
    return Exported(
        json_paths=paths,
        counts=cache.dataset()["parts"],
        images_dir=images_dir,
        class_names=cache.class_names,
        left_out=left_out,
        absent=[name for name in classes if class_map[name] not in match.category_ids.values()],
        notes=[
            *match.tell_merged(),
            *tell_alike(class_map),
            *(f"{count} boxes left out: {match.explain_unknown(label)}" for label, count in left_out.items()),
            *([f"{unnamed} boxes left out: they have no label"] if unnamed else []),
        ],
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
