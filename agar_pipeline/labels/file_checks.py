"""Checks each image file against the COCO file: whether it exists, is safe to open, and can be decoded.

Here: finding. Not here: reading one file (`file_facts`), the verdict (`findings`), loading for a model
(`load_and_resize`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from agar_pipeline.cluster.partitions import open_pool
from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import ImageChecks
from agar_pipeline.labels.box_rules import concat_findings
from agar_pipeline.labels.file_facts import read_facts
from agar_pipeline.labels.file_memory import FactsMemory, FileFacts
from agar_pipeline.labels.image_rules import describe_images
from agar_pipeline.photos.image_paths import find_image_file
from agar_pipeline.progress import Progress

SHA256_DIGITS = 64
FILE_RULES = (
    "missing_image",
    "unsafe_file_name",
    "unreadable_image",
    "damaged_image",
    "oversized_image",
    "image_size_mismatch",
    "rotated_image",
    "unusual_image",
    "blank_image",
)


def check_files(
    columns: CocoColumns,
    part: str,
    images_dir: Path,
    depth: ImageChecks,
    *,
    hashes: Sequence[tuple[str, int]] | None = None,
    memory: FactsMemory | None = None,
    progress: Progress = lambda done, total: None,
    threads: int | None = None,
) -> pd.DataFrame:
    """Check the files of all images.

    Args:
        columns: The images, and the sizes they should have.
        images_dir: Folder that `file_name` is relative to.
        depth: `skip` only checks that the file exists and may be opened.
        hashes: sha256 and size in bytes of each image, if known. A file of this size is assumed to have this content.
        memory: Facts about contents with known hashes; it is read and extended.
        progress: Called after every 64 files and at the end.

    Returns:
        One row per finding, ordered by rule and image; an image may have several.
    """
    names = columns.file_names.tolist()
    sizes_wh = [(int(width), int(height)) for width, height in columns.sizes_wh.tolist()]
    known: Sequence[tuple[str, int] | None] = hashes or [None] * len(names)
    if memory is not None:
        memory.look_up([sha256 for sha256, _ in hashes or () if _is_hash(sha256)], depth)
    asked = (_Asked.of(name, row_hash, memory) for name, row_hash in zip(names, known, strict=True))
    found: list[tuple[int, str, str]] = []
    with warnings.catch_warnings(), open_pool(threads) as pool:
        warnings.simplefilter("ignore")  # PIL warns at half of MAX_PIXELS, which is the limit here
        for row, (seen, sha256) in enumerate(pool.map(partial(_look, Path(images_dir), depth), asked)):
            if isinstance(seen, tuple):
                found.append((row, *seen))
            elif seen is not None:
                found += [(row, *finding) for finding in compare_file(names[row], sizes_wh[row], seen)]
                if memory is not None and sha256 is not None:
                    memory.remember(sha256, depth, seen)
            if row % 64 == 63 or row + 1 == len(names):
                progress(row + 1, len(names))
    if memory is not None:
        memory.save()
    return _describe(columns, part, found)


def _describe(columns: CocoColumns, part: str, found: Sequence[tuple[int, str, str]]) -> pd.DataFrame:
    by_rule = {rule: [(row, value) for row, name, value in found if name == rule] for rule in FILE_RULES}
    return concat_findings(
        [
            describe_images(columns, part, rule, np.array([row for row, _ in of_rule]), [value for _, value in of_rule])
            for rule, of_rule in by_rule.items()
            if of_rule
        ]
    )


@dataclass(frozen=True)
class _Asked:
    file_name: str
    sha256: str | None = None
    size_bytes: int = -1
    """Size of the content with this hash."""
    facts: FileFacts | None = None
    """Remembered facts about this content."""

    @classmethod
    def of(cls, name: str, known: tuple[str, int] | None, memory: FactsMemory | None) -> _Asked:
        if memory is None or known is None or not _is_hash(known[0]):
            return cls(name)  # the hash is null if the snapshot found no file
        return cls(name, *known, memory.recall(known[0]))


def _is_hash(text: object) -> bool:
    return isinstance(text, str) and len(text) == SHA256_DIGITS


def _look(images_dir: Path, depth: ImageChecks, asked: _Asked) -> tuple[tuple[str, str] | FileFacts | None, str | None]:
    """Check one file.

    Returns:
        The broken rule and the reason if the file cannot be used; or the facts about it; or None if the depth is
        `skip`. And the hash under which the facts are to be remembered, if they are new and the hash is known.
    """
    file = find_image_file(images_dir, asked.file_name)
    if file.path is None:
        return (file.rule, file.reason), None
    if depth == "skip":
        return None, None
    is_known = asked.sha256 is not None and file.path.stat().st_size == asked.size_bytes
    if is_known and asked.facts is not None:
        return asked.facts, None
    return read_facts(file.path, deep=depth == "decode"), asked.sha256 if is_known else None


def compare_file(file_name: str, declared_wh: tuple[int, int], facts: FileFacts) -> list[tuple[str, str]]:
    """The rules that a file breaks, each with a value: by its content, by its name, and by its declared size."""
    found = [(facts.rule, facts.reason)] if facts.rule else []
    if facts.displayed_wh == (0, 0):
        return found
    width, height = facts.displayed_wh
    if facts.displayed_wh != declared_wh:
        turned = f" as displayed (EXIF orientation {facts.orientation})" if facts.orientation != 1 else ""
        declared = f"declared {declared_wh[0]}×{declared_wh[1]}"
        found.append(("image_size_mismatch", f"{declared}, the file is {width}×{height}{turned}"))
    if facts.orientation != 1:
        found.append(("rotated_image", f"EXIF orientation {facts.orientation}, displayed {width}×{height}"))
    if unusual := _unusual(file_name, facts):
        found.append(("unusual_image", "; ".join(unusual)))
    if facts.blank:
        found.append(("blank_image", facts.blank))
    return found


def _unusual(file_name: str, facts: FileFacts) -> list[str]:
    Image.init()
    named = Image.registered_extensions().get(Path(file_name).suffix.lower())
    is_jpeg = {named, facts.format} <= {"JPEG", "MPO"}
    words = [f"{facts.format} named {Path(file_name).suffix or 'without a suffix'}"] if named != facts.format else []
    return ([] if is_jpeg else words) + ([facts.peculiar] if facts.peculiar else [])
