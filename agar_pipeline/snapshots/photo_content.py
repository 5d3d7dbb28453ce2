"""Whether photos hold the pixels that a COCO cache was made from; which ones of two caches differ.

A cache that refers to photos holds their hashes, and they lie where anybody may replace them. What is remembered of
each file by its size, times and inode answers without reading it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agar_pipeline.artifacts import CocoCache, TrainingRun
from agar_pipeline.errors import ArtifactError
from agar_pipeline.progress import progress_bar
from agar_pipeline.snapshot_files.file_hashes import FileMemory

_SHOWN = 3


def require_same_photos(coco_cache: CocoCache, home: Path, log: Callable[[str], None]) -> None:
    """Refuse photos that were replaced since the snapshot; one that is gone is told of by whoever opens it.

    Args:
        coco_cache: One with photos of its own has them verified with its other files.
        home: Holds what is remembered of files.
        log: Told the progress, where photos have to be read.

    Raises:
        ArtifactError: at least one holds something else.
    """
    if coco_cache.has_own_photos:
        return
    photos, images_dir = coco_cache.photos(), coco_cache.images_dir
    paths = [f"{images_dir}/{name}" for name in photos["file_name"]]
    with (
        progress_bar("comparing photos with the COCO cache", log) as progress,
        FileMemory(home, on_read=lambda count: progress(count, len(paths))) as memory,
    ):
        found = memory.look_up(paths).sha256
    rows = zip(photos["file_name"], photos["sha256"].fillna(""), found, strict=True)
    replaced = [name for name, sha256, now in rows if now is not None and now != sha256]
    if replaced:
        raise ArtifactError(
            f"{len(replaced)} of {len(paths)} photos in {images_dir} are not those that {coco_cache.root} was made "
            f"from: {', '.join(replaced[:_SHOWN])}\nput them back, or take them in: agar run +coco_cache"
        )


def count_learnt(checkpoint: Path, coco_json: Path) -> tuple[int, int] | None:
    """Of the photos of a COCO file, how many a checkpoint was trained on, and how many there are.

    By what the photos hold, whatever they are called and wherever they lie. None where that is not known: the
    checkpoint is of no training run, the file of no COCO cache, or the cache that was trained on is gone or older than
    this record.
    """
    trained, scored = checkpoint.resolve().parent.parent, coco_json.resolve().parent.parent
    try:
        training, cache = TrainingRun.open(trained), CocoCache.open(scored)
        version = training.manifest.inputs["coco_cache"]
        roots = [cache.root, *(trained.parent.parent.parent / CocoCache.asset).glob("[0-9a-f]*")]
        own = next(own for own in map(CocoCache.open, roots) if own.data_version == version)
        learnt, photos = own.photos().query("part == 'train'"), cache.photos().query("part == @coco_json.stem")
    except (ArtifactError, OSError, KeyError, StopIteration):
        return None
    return int(photos["sha256"].isin(learnt["sha256"]).sum()), len(photos)
