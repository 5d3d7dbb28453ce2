"""Checks that image files still hold the pixels that a COCO cache was made from; counts images that a model has seen.

A cache that refers to images outside of it holds their hashes, and anybody may replace the files. A cached hash is
used for a file whose size, times and inode are unchanged, so that it is not read again.
"""

from __future__ import annotations

from pathlib import Path

from agar_pipeline.artifacts import CocoCache, TrainingRun
from agar_pipeline.errors import ArtifactError
from agar_pipeline.progress import Log, progress_bar
from agar_pipeline.snapshot_files.file_hashes import FileMemory

_SHOWN = 3


def require_same_photos(coco_cache: CocoCache, home: Path, log: Log) -> None:
    """Refuse images that were replaced since the snapshot; a missing image is reported later, when it is opened.

    Args:
        coco_cache: A cache with its own copies of images is not checked: they are verified with its other files.
        home: Holds the cached hashes of files.

    Raises:
        ArtifactError: at least one image differs.
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
            f"holds other photos than {coco_cache.root} was made from, {len(replaced)} of {len(paths)}: "
            f"{', '.join(replaced[:_SHOWN])}",
            where=images_dir,
            next_step="put the earlier photos back, or take a new snapshot of the current ones: agar run +coco_cache",
        )


def count_learnt(checkpoint: Path, coco_json: Path) -> tuple[int, int] | None:
    """Return how many images of a COCO file a checkpoint was trained on, and how many images there are.

    Images are compared by hash, independent of name and folder. Returns None if that is unknown: the checkpoint
    belongs to no training run, the file to no COCO cache, or the cache that was trained on was removed or has no
    hashes because it is too old.
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
