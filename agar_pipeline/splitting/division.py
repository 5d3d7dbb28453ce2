"""Divides images into parts with the method that the config names.

Here: calling the method, and handling images in no part and empty parts. Not here: drawing parts (`random_draw`,
`stratify`), reading parts from the dataset or lists (`views_and_lists`), groups of images (`groups`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd

from agar_pipeline.config import DRAWN, GIVEN_PART, Part, SplitConfig
from agar_pipeline.errors import DatasetError, remedy
from agar_pipeline.splitting.groups import group_keys
from agar_pipeline.splitting.random_draw import draw_hash, draw_random
from agar_pipeline.splitting.stratify import draw_stratified, label_counts, labels_of
from agar_pipeline.splitting.views_and_lists import PartsOfImages, by_field, by_lists, by_views
from agar_pipeline.text.plurals import plural

SHOWN = 3
UNLABELLED = "not labelled yet"


@dataclass(frozen=True)
class Division:
    """Part of each image, with counts."""

    parts: np.ndarray
    """(N,) objects in the order of the given images: a part, or None for an image that is left out."""
    counts: dict[Part, int]
    """Part → number of images."""
    left_out: dict[str, int]
    """Reason why images are in no part → number of images."""
    unknown_names: tuple[str, ...]
    """Lines of lists that name no image, or several images."""
    groups: int | None
    """Number of groups of images; None if the images were not grouped."""


def divide(
    config: SplitConfig,
    images: pd.DataFrame,
    *,
    lists: Mapping[Part, Sequence[str]] | None = None,
    duplicates: np.ndarray | None = None,
    there: str = "",
) -> Division:
    """Assign a part to each image; the order of the images does not matter.

    Args:
        images: One row per image: sample_id, and the columns that `config.image_columns` names.
        lists: Part → lines of its list, for method `lists`.
        duplicates: (P, 2) rows of images that look the same, if `config.groups_duplicates` is set.
        there: Existing tags and fields, for messages.

    Raises:
        DatasetError: A part would be empty, an image is in two parts, or in none although that is not allowed.
    """
    labelled, everything = _labelled(config, images), images
    images = images[labelled].reset_index(drop=True)
    if config.method in DRAWN:
        reading, groups = _draw(config, images, _among(duplicates, labelled))
    elif config.method == "lists":  # lists may also name unlabelled images
        reading, groups = by_lists(lists or {}, everything, labelled), None
    else:
        reading, groups = _read(config, images), None
    if config.unassigned == "fail" and reading.left_out:
        raise _unassigned(images, reading, there)
    if config.unknown_names == "fail" and reading.unknown_names:
        raise _unknown(reading.unknown_names)
    wanted, sizes = wanted_parts(config), {part: int((reading.parts == part).sum()) for part in get_args(Part)}
    counts = {part: size for part, size in sizes.items() if size or part in wanted}
    _require_no_empty_part(config, counts, len(images), groups, there)
    parts = np.full(len(everything), None, dtype=object)
    parts[labelled] = reading.parts
    unlabelled = {} if labelled.all() else {UNLABELLED: int((~labelled).sum())}
    return Division(parts, counts, {**reading.left_out, **unlabelled}, reading.unknown_names, groups)


def _labelled(config: SplitConfig, images: pd.DataFrame) -> np.ndarray:
    """Return (N,) bool: the images that may be in a part.

    Raises:
        DatasetError: No image is labelled.
    """
    labelled = images["labelled"].to_numpy(bool) if config.labelled_only else np.ones(len(images), bool)
    if len(images) and not labelled.any():
        raise DatasetError(
            f"no image is labelled yet, of {len(images):,}",
            next_step="annotate some; or, if nothing is on the plates, "
            f"{remedy('set `unlabelled: keep` in the pipeline file', option='give --unlabelled keep')}",
        )
    return labelled


def _among(duplicates: np.ndarray | None, chosen: np.ndarray) -> np.ndarray | None:
    """Renumber pairs of rows for a table of only the chosen rows ((N,) bool); pairs with other rows are dropped.

    >>> _among(np.array([[0, 3], [1, 3]]), np.array([True, False, True, True]))
    array([[0, 2]])
    """
    if duplicates is None or chosen.all() or not len(duplicates):
        return duplicates
    return (np.cumsum(chosen) - 1)[duplicates[chosen[duplicates].all(axis=1)]]


def wanted_parts(config: SplitConfig) -> list[Part]:
    """Return the parts that must not be empty, in the order train, val, test."""
    named: set[Part]
    if config.method == "tags":
        named = set(config.views)
    elif config.method == "lists":
        named = set(config.lists)
    elif config.method in ("field", "given"):
        named = set(config.values.values()) or {"train", "val"}
    else:
        named = {part for part, share in config.fractions.items() if share > 0}
    named |= {"train", "val"}  # training and scoring need both, so they may not be empty
    return [part for part in get_args(Part) if part in named]


def _draw(config: SplitConfig, images: pd.DataFrame, duplicates: np.ndarray | None) -> tuple[PartsOfImages, int | None]:
    ids = images["sample_id"].to_numpy(dtype=object)
    keys = group_keys(config, images, duplicates)
    known = np.array([key is not None for key in keys], dtype=bool)
    left_out = {} if known.all() else {f"no value of {config.group_by}": int((~known).sum())}
    units, unit_of = np.unique(keys[known].astype(str), return_inverse=True)
    sizes = np.bincount(unit_of, minlength=len(units))
    parts = np.full(len(ids), None, dtype=object)
    if config.method == "hash":
        drawn = draw_hash(units, config.fractions, config.seed)
    elif config.stratify_by is None:
        drawn = draw_random(units, sizes, config.fractions, config.seed)
    else:
        counts = label_counts(labels_of(config, images[known]), unit_of, len(units))
        drawn = draw_stratified(sizes, counts, config.fractions, config.seed)
    parts[known] = drawn[unit_of]
    grouped = config.group_by is not None or config.groups_duplicates
    return PartsOfImages(parts, left_out), len(units) if grouped else None


def _read(config: SplitConfig, images: pd.DataFrame) -> PartsOfImages:
    if config.method == "tags":
        return by_views(config.views, images)
    if config.method == "field":
        return by_field(str(config.field), config.values, images)
    return by_field(GIVEN_PART.removeprefix("field:"), {}, images)


def _unassigned(images: pd.DataFrame, reading: PartsOfImages, there: str) -> DatasetError:
    count = sum(reading.left_out.values())
    names = images["path" if "path" in images else "sample_id"].to_numpy()
    missing = np.array([part is None for part in reading.parts])
    examples = ", ".join(repr(str(name)) for name in names[missing][:SHOWN])
    why = "; ".join(f"{reason}: {n}" for reason, n in reading.left_out.items())
    return DatasetError(
        f"images that are in no part of the split: {count} of {len(images):,} ({why}); first {examples}",
        next_step=f"give these images a part, or set `unassigned: leave_out` in the split{_listed(there)}",
    )


def _unknown(names: Sequence[str]) -> DatasetError:
    return DatasetError(
        f"no image of the snapshot, or more than one, fits {plural(len(names), 'line')} of "
        f"{remedy('split.lists', option='the lists')}: {', '.join(map(repr, names[:SHOWN]))}",
        next_step=remedy(
            "write paths below images_dir or sample ids, or set `unknown_names: ignore` in the split",
            option="write paths below the folder of the images, or sample ids",
        ),
    )


def _require_no_empty_part(
    config: SplitConfig, counts: Mapping[Part, int], images: int, groups: int | None, there: str
) -> None:
    empty = next((part for part, count in counts.items() if count == 0), None)
    if empty is None:
        return
    if config.method in DRAWN:
        of = plural(images, "image") + ("" if groups is None else f" in {plural(groups, 'group')}")
        raise DatasetError(
            f"the part {empty!r} gets none of {of} with the fractions {dict(config.fractions)}",
            next_step=remedy(
                "add images, or change split.fractions in the pipeline file", option="add images, or change --fractions"
            ),
        )
    source = {
        "tags": f"view {config.views.get(empty)!r}",
        "field": f"field {config.field!r}",
        "lists": f"list {config.lists.get(empty)!r}",
        "given": "snapshot.files",
    }[config.method]
    raise DatasetError(
        f"the part {empty!r} is empty: {source} names none of {plural(images, 'image')} of the snapshot for it",
        next_step=f"{remedy('correct `split` in the pipeline file', option='correct the options that name the parts')}"
        f"{_listed(there)}",
    )


def _listed(there: str) -> str:
    return f"; there are {there}" if there else ""
