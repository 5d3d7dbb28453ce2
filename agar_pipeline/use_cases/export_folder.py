"""Writes the folder of an export: the cache's COCO files, images if they are exported too, and `dataset.json` last.

Here: what is copied and linked. Not here: what may be replaced there (`ownership`), building the cache (`export`).
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import CocoCache
from agar_pipeline.config.media import Media
from agar_pipeline.files.disk import link_or_copy
from agar_pipeline.files.storage_errors import clear_storage_errors
from agar_pipeline.ownership.draft_files import Draft
from agar_pipeline.ownership.folders import OwnFolder
from agar_pipeline.progress import Log
from agar_pipeline.text.name_list import name_some

PURPOSE = "export-coco"
_DATASET, _IMAGES = "dataset.json", "images"
_SHOWN = 3


def write_export(cache: CocoCache, folder: OwnFolder, media: Media, log: Log) -> tuple[Path, dict[str, Path]]:
    """Replace an earlier export by this one; return the folder of the images, and part → COCO file.

    Raises:
        StorageError: foreign files or original images would be replaced (nothing was written), or the disk is full.
    """
    photos = {} if media == "reference" else _photos_of(cache)
    parts = {part: f"coco/{part}.json" for part in cache.parts()}
    images_dir = cache.images_dir if media == "reference" else folder.root / _IMAGES
    names = [*photos, *parts.values(), _DATASET]
    with folder.replacing(names, whole=True) as draft, clear_storage_errors(folder.root):
        for name, sha256 in photos.items():
            _bring_photo(cache.root / name, name, sha256, media, draft, folder)
        for part, name in parts.items():
            shutil.copyfile(cache.json_path(part), draft.path(name))
        text = json.dumps(_describe(cache, folder.root, images_dir), indent=1, ensure_ascii=False)
        draft.path(_DATASET).write_text(text + "\n")
    if draft.kept:
        log(f"note: kept {name_some(draft.kept, _SHOWN)}: files of an earlier export that were changed since")
    return images_dir, {part: folder.root / name for part, name in parts.items()}


def _photos_of(cache: CocoCache) -> dict[str, str]:
    """Return path in the cache → sha256 of the copies of images that the cache holds."""
    return {file["path"]: file["sha256"] for file in cache.manifest.files if file["path"].startswith(f"{_IMAGES}/")}


def _bring_photo(source: Path, name: str, sha256: str, media: Media, draft: Draft, folder: OwnFolder) -> None:
    """Link or copy one image of the cache into the draft, unless it is there already.

    Except for `link`, the file is a copy even if the cache's own file is a hard link, so that editing it does not
    change the artifact.
    """
    if media != "link":
        if not draft.keep(name, sha256):
            shutil.copyfile(source, draft.path(name))
            draft.sha256[name] = sha256
        return
    if draft.keep_link(name, source):
        return
    link_or_copy(source, draft.path(name))
    draft.sha256[name] = sha256
    original = folder.originals.name_of(draft.path(name))
    if original is not None:
        draft.links[name] = original


def _describe(cache: CocoCache, out_dir: Path, images_dir: Path) -> dict[str, Any]:
    plain = cache.dataset()
    plain["images_dir_from_here"] = os.path.relpath(images_dir.resolve(), out_dir.resolve())
    plain["images_dir"] = _IMAGES if images_dir == out_dir / _IMAGES else str(images_dir)
    return plain
