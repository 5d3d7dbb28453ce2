"""Says which image files were replaced, are missing or were found again between two tables.

Here: comparing the hashes that the tables hold.
Not here: boxes (`diff`), the files as they are now (`photo_content`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from agar_pipeline.text.plurals import plural

_NAMED = 3
"""Maximum number of images that a reason names."""


@dataclass(frozen=True)
class PhotoComparison:
    """For each row of two tables of the same images, whether its file differs, and how."""

    replaced: pd.Series
    missing: pd.Series
    found: pd.Series


PHOTO_WORDS = {
    "replaced": ("photo replaced", "photos replaced"),
    "missing": ("photo missing on disk", "photos missing on disk"),
    "found": ("photo no longer missing", "photos no longer missing"),
}
"""Kind in `PhotoComparison` → words for one, and for several."""


def compare_photos(before: pd.DataFrame, after: pd.DataFrame) -> PhotoComparison:
    """Compare files row by row, by `sha256` and, if both tables have it, the size in pixels.

    A file without a hash could not be read; it counts as missing.
    """
    gone, was_gone = after["sha256"].isna(), before["sha256"].isna()
    known = [name for name in ("sha256", "width", "height") if name in before and name in after]
    unknown_twice = after[known].isna() & before[known].isna()
    differs = ((after[known] != before[known]) & ~unknown_twice).any(axis=1)
    return PhotoComparison(differs & (gone == was_gone), gone & ~was_gone, was_gone & ~gone)


def summarize_photos(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """Return reasons such as `3 photos replaced: 17.jpg, 18.jpg, 19.jpg`; the tables have file_name and sha256."""
    were, now = before.set_index("file_name"), after.set_index("file_name")
    both = now.loc[now.index.isin(were.index)]
    photos = compare_photos(were.loc[both.index], both)
    names = {kind: both.index[getattr(photos, kind)].tolist() for kind in PHOTO_WORDS}
    return [counted(names[kind], *words) for kind, words in PHOTO_WORDS.items() if names[kind]]


def counted(names: Sequence[str], one: str, many: str) -> str:
    """Say how many there are, and name the first of them.

    >>> counted(["1.jpg", "2.jpg", "3.jpg", "4.jpg"], "photo replaced", "photos replaced")
    '4 photos replaced: 1.jpg, 2.jpg, 3.jpg, …'
    """
    return plural(len(names), one, many) + name_few(names)


def name_few(names: Sequence[str]) -> str:
    return f": {', '.join([*names[:_NAMED], *(['…'] if len(names) > _NAMED else [])])}"
