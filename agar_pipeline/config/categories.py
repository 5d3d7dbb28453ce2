"""Reads the class map from COCO files: their categories, numbered 1…K in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agar_pipeline.config.class_map import is_blank
from agar_pipeline.errors import ConfigError
from agar_pipeline.text.ids import Ids, without_root
from agar_pipeline.text.text_files import read_json


def class_map_of_files(paths: Iterable[Path]) -> dict[str, int]:
    """Merge the categories of all files into one class map, so that a class that one file lacks does not shift the ids.

    Raises:
        ConfigError: a file cannot be read, or two files give one id to two names or one name to two ids.
    """
    found: set[tuple[int, str]] = set()
    for path in paths:
        found.update(_read_categories(path))
    by_id: dict[int, str] = {}
    id_of: dict[str, int] = {}
    for category_id, name in sorted(found):
        other_name, other_id = by_id.setdefault(category_id, name), id_of.setdefault(name, category_id)
        if other_name != name or other_id != category_id:
            other = f"also {other_name!r}" if other_name != name else f"{name!r} is also category {other_id}"
            raise ConfigError(
                f"the COCO files do not agree: category {category_id} is {name!r}, but {other}",
                next_step="correct the categories in the files, or write a class_map of names in the pipeline file",
            )
    return {name: number for number, (_, name) in enumerate(sorted(found), start=1)}


def _read_categories(path: Path) -> list[tuple[int, str]]:
    try:
        plain = read_json(path)
        categories = without_root(plain["categories"], plain.get("annotations") or ())
        numbers = Ids([row["id"] for row in categories]).numbers_of([row["id"] for row in categories])
        pairs = [(number, row["name"]) for number, row in zip(numbers, categories, strict=True)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"cannot be read for the class map: {type(error).__name__}: {str(error)[:80]}",
            where=path,
            next_step="correct snapshot.files or the file, or write a class_map in the pipeline file",
        ) from error
    for category_id, name in pairs:
        if type(category_id) is not int or is_blank(name):
            raise ConfigError(
                "must have a whole number as id, and a name",
                where=f"{path}: category {category_id!r} {name!r}",
                next_step="correct it in the file",
            )
    if not pairs:
        raise ConfigError(
            "lists no categories",
            where=path,
            next_step="add them to the file, or write a class_map in the pipeline file",
        )
    return pairs
