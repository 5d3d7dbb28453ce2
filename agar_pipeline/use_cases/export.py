"""Exports a FiftyOne dataset as COCO files into a folder of the user, by the steps of the pipeline, without Dagster.

Snapshot, split and COCO cache are built in the home's store, but no `latest` is moved, so that the pipeline's
artifacts stay current. Here: the classes, the order of the steps, which original images must not be overwritten.
Not here: reading and splitting, the files in the folder (`export_folder`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from agar_pipeline.progress import Log
from agar_pipeline.snapshots.sources import observe_source
from agar_pipeline.store import Key, Store
from agar_pipeline.text.plurals import plural
from agar_pipeline.use_cases.export_folder import PURPOSE, write_export


@dataclass(frozen=True)
class Exported:
    """The result of an export."""

    json_paths: dict[str, Path]
    """Part → COCO file."""
    counts: dict[str, dict[str, int]]
    """Part → number of images and annotations."""
    images_dir: Path
    class_names: list[str]
    left_out: dict[str, int]
    """Label without a class → number of its boxes, which were left out."""
    absent: list[str]
    """Requested classes without a box."""
    notes: list[str]
    """Sentences: labels assigned to a class by spelling, classes with similar names, and why boxes are left out."""


@dataclass(frozen=True)
class ExportMedia:
    """Whether images are exported too, and at which size: see `CocoCacheConfig`.

    Raises:
        ConfigError: `media` and `max_side` do not fit together.
    """

    media: Media = "reference"
    max_side: int | None = None

    def __post_init__(self) -> None:
        check_media(self.media, self.max_side)


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
        classes: Names in order of their ids, 1…K; if empty, the dataset's labels over all parts, sorted.
        out_dir: Created if it does not exist. Our files of an earlier export are replaced, all other files stay.
        home: Holds the embedded database, and the artifacts that are built.
        own: Whether images are put into `out_dir/images`.
        unlabelled: What is done with images that nobody has labelled yet, as in `PipelineConfig`.

    Raises:
        PipelineError: any error of the steps; `out_dir` is unchanged.
        StorageError: foreign files or images of a dataset in `out_dir` would be replaced, or it cannot be written.
    """
    OwnFolder(out_dir, PURPOSE).require_alone()
    if blank := [name for name in classes if is_blank(name)]:
        raise ConfigError(
            "is an empty name",
            where="--classes",
            value=repr(blank[0]),
            next_step="give the names of the classes, or leave --classes out to export every label",
        )
    # boxes with unknown labels are left out and reported; without --classes every label is a class
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
    taken = _take_snapshot(store, pipeline, log)
    class_map = class_map_of(classes or sorted(taken.dataset()["labels"]))
    pipeline = dataclasses.replace(pipeline, class_map=class_map)
    cache = _build_cache(store, pipeline, taken, log)
    originals = Originals(_originals(snapshot, split, taken, out_dir, home))
    images_dir, paths = write_export(cache, OwnFolder(out_dir, PURPOSE, originals), own.media, log)
    return _describe(cache, taken.dataset(), classes, class_map, images_dir, paths)


def _take_snapshot(store: Store, pipeline: PipelineConfig, log: Log) -> Snapshot:
    """Freeze the dataset. Raises DatasetError if images without labels are in it, and that is refused."""
    node = pipeline_nodes(pipeline, {})[Key("snapshot")]
    observe = lambda: observe_source(node.config, store.home).version  # noqa: E731
    taken: Snapshot = build_snapshot(store, node, observe, log, repoint=False).artifact
    dataset = taken.dataset()
    if dataset["unlabelled"] and pipeline.unlabelled == "fail":
        raise DatasetError(
            f"holds images that nobody has labelled yet: {dataset['unlabelled']} of {dataset['images']}",
            where=f"dataset {dataset['dataset']!r}",
            next_step="label them, or give --unlabelled leave_out, or --unlabelled keep if they are empty plates",
        )
    return taken


def _describe(
    cache: CocoCache,
    dataset: Mapping[str, Any],
    classes: tuple[str, ...],
    class_map: dict[str, int],
    images_dir: Path,
    json_paths: dict[str, Path],
) -> Exported:
    labels = dataset["labels"]
    match = Spellings(class_map).match(labels)
    unnamed = dataset["boxes"] - sum(labels.values())
    left_out = {label: count for label, count in labels.items() if label not in match.category_ids}
    return Exported(
        json_paths=json_paths,
        counts=cache.dataset()["parts"],
        images_dir=images_dir,
        class_names=cache.class_names,
        left_out=left_out,
        absent=[name for name in classes if class_map[name] not in match.category_ids.values()],
        notes=[
            *match.tell_merged(),
            *tell_alike(class_map),
            *(
                f"{plural(count, 'box is', 'boxes are')} left out: {match.explain_unknown(label)}"
                for label, count in left_out.items()
            ),
            *([f"{plural(unnamed, 'box is', 'boxes are')} left out: no label"] if unnamed else []),
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
    """Yield the exported images and the split lists; if `out_dir` is not empty, also the images of all datasets.

    A view may leave out images that are originals too, and another dataset may refer to the files of an earlier
    export.
    """
    images_dir = taken.dataset()["images_dir"]
    yield from (f"{images_dir}/{path}" for path in taken.images()["path"])
    yield from split.lists.values()
    if out_dir.is_dir() and any(out_dir.iterdir()):
        from agar_pipeline.fiftyone_io.reading.source import read_photo_paths

        yield from read_photo_paths(snapshot.database, home)
