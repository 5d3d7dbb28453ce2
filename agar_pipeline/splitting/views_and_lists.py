"""Reads the parts of images from views of the dataset, from a field, or from lists in text files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import get_args

import numpy as np
import pandas as pd

from agar_pipeline.config import Part, SplitConfig, hash_list
from agar_pipeline.errors import ConfigError, DatasetError
from agar_pipeline.splitting.stratify import is_missing
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.text_files import TextFileError, read_lines

SHOWN = 3


@dataclass(frozen=True)
class PartsOfImages:
    """Parts that were read or drawn."""

    parts: np.ndarray
    """(N,) objects: a part, or None."""
    left_out: dict[str, int]
    """Reason why images are in no part → number of images."""
    unknown_names: tuple[str, ...] = ()
    """Lines of lists that name no image, or several images."""


def by_views(views: Mapping[Part, str], images: pd.DataFrame) -> PartsOfImages:
    """Assign each image to the part whose view contains it.

    Raises:
        DatasetError: An image is in the views of two parts.
    """
    held = {part: images[f"view:{view}"].to_numpy(dtype=bool) for part, view in views.items()}
    parts = _one_part(held, images, {part: f"view {view!r}" for part, view in views.items()})
    return PartsOfImages(parts, _none_of(parts, "in none of " + ", ".join(views.values())))


def by_field(field: str, values: Mapping[str, Part], images: pd.DataFrame) -> PartsOfImages:
    """Assign each image to a part by the value of a field."""
    mapping = dict(values) or {part: part for part in get_args(Part)}
    found = images[f"field:{field}"].to_list()
    parts = np.array([None if is_missing(value) else mapping.get(str(value)) for value in found], dtype=object)
    rest = [value for value, part in zip(found, parts, strict=True) if part is None]
    missing = sum(is_missing(value) for value in rest)
    left_out = {f"no value of {field!r}": missing} if missing else {}
    for value, count in sorted(Counter(str(value) for value in rest if not is_missing(value)).items()):
        left_out[f"{field} is {value!r}, which names no part"] = count
    return PartsOfImages(parts, left_out)


def by_lists(lists: Mapping[Part, Sequence[str]], images: pd.DataFrame, asked: np.ndarray) -> PartsOfImages:
    """Assign each image of `asked`, (N,) bool, to the part whose list names it.

    A line of a list is a path, a sample id, a file name, or a file name without suffix.

    Raises:
        DatasetError: An image is in the lists of two parts.
    """
    rows_of = _rows_by_name(images)
    paths = frozenset(images["path"])
    held = {part: np.zeros(len(images), dtype=bool) for part in lists}
    unknown: dict[str, None] = {}
    for part, names in lists.items():
        for name in names:
            rows = _find_rows(name, rows_of, paths)
            if len(rows) == 1:
                held[part][rows[0]] = True
            else:
                unknown[name] = None
    parts = _one_part(held, images, {part: f"the list of {part}" for part in lists})[asked]
    return PartsOfImages(parts, _none_of(parts, "in no list"), tuple(unknown))


def _find_rows(name: str, rows_of: Mapping[str, list[int]], paths: frozenset[str]) -> list[int]:
    """Find the rows of a name: as written, else as a Windows path, else as a longer path that ends with an image's."""
    plain = name.replace("\\", "/").removeprefix("./")
    folders = plain.split("/")
    ends = ["/".join(folders[first:]) for first in range(1, len(folders))]
    tried = [name, plain, *(end for end in ends if end in paths)]
    return next((rows_of[each] for each in tried if each in rows_of), [])


def _rows_by_name(images: pd.DataFrame) -> dict[str, list[int]]:
    """Map each possible name of an image to its rows; paths precede ids, then file names, then stems."""
    paths, ids = images["path"].to_list(), images["sample_id"].to_list()
    found: dict[str, list[int]] = {}
    for names in (
        paths,
        ids,
        [PurePosixPath(path).name for path in paths],
        [PurePosixPath(path).stem for path in paths],
    ):
        rows = defaultdict(list)
        for row, name in enumerate(names):
            rows[str(name)].append(row)
        found = {**rows, **found}
    return found


def read_lists(config: SplitConfig) -> dict[Part, list[str]]:
    """Read the lines of the lists, without blank lines and comments (`# …`).

    Raises:
        ConfigError: A list is missing, is not a text, or was edited since the config was read.
    """
    lists: dict[Part, list[str]] = {}
    for part in config.lists:
        path = config.list_path(part)
        lists[part] = _read_lines(path, part)
        if config.list_hashes.get(part, hash_list(path)) != hash_list(path):
            raise ConfigError(
                "was edited after the run had begun", where=f"split.lists.{part}: {path}", next_step="start again"
            )
    return lists


def _read_lines(path: Path, part: str) -> list[str]:
    try:
        lines = read_lines(path)
    except (OSError, TextFileError) as error:
        raise ConfigError(
            f"cannot be read ({error})",
            where=f"split.lists.{part}: {path}",
            next_step="give a text file with one path, file name or sample id per line",
        ) from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("# ")]


def _one_part(held: Mapping[Part, np.ndarray], images: pd.DataFrame, called: Mapping[Part, str]) -> np.ndarray:
    twice = np.sum(list(held.values()), axis=0) > 1
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        both = [called[part] for part in held if held[part][row]]
        name = images["path" if "path" in images else "sample_id"].iloc[row]
        raise DatasetError(
            f"{plural(int(twice.sum()), 'image is', 'images are')} in two parts of the split: "
            f"{str(name)!r} is in {' and '.join(both)}",
            next_step="remove each of them from one of the two",
        )
    parts = np.full(len(images), None, dtype=object)
    for part, rows in held.items():
        parts[rows] = part
    return parts


def _none_of(parts: np.ndarray, reason: str) -> dict[str, int]:
    count = sum(part is None for part in parts)
    return {reason: count} if count else {}
