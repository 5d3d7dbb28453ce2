"""Checks ids of COCO files, which are whole numbers or, from some tools, texts, and the links that refer to them.

Links must be of the same type as the ids. Nothing is guessed: `0.0`, `"0"` and `0` are three ids, and a link means one
of them. Here: numbering ids and following links. Not here: whether ids are unique, what they belong to (`coco.parse`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from agar_pipeline.text.unplaced_error import UnplacedError

WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_MANY = 40
_KINDS = {
    "bool": "a truth value",
    "int": "a number",
    "float": "a number with a point",
    "str": "text",
    "NoneType": "null",
    "dict": "an object",
    "list": "a list",
}

_NO_SUPERCATEGORY = (None, "", "none", "None")


class IdError(UnplacedError):
    """A value is not an id, or not a link to one."""


class Ids:
    """The ids of one list of a COCO file: all whole numbers, or all texts."""

    def __init__(self, values: Sequence[Any]) -> None:
        """Raises IdError if a value is neither a whole number nor a text, or if both kinds occur."""
        self.kinds = set(map(type, values))
        if not self.kinds <= {int, str}:
            wrong = next(value for value in values if type(value) not in (int, str))
            raise IdError(
                f"is {quote(wrong)}, but must be a whole number or a text",
                next_step="correct it, or export the file again",
            )
        if len(self.kinds) > 1:
            texts = [value for value in values if type(value) is str]
            raise IdError(f"is {quote(texts[0])}, but other ids are numbers", next_step="write all ids in one way")
        self.values = frozenset(values)
        self._numbers: dict[str, int] = {}
        if self.kinds == {str}:
            in_order = list(dict.fromkeys(values))
            whole = all(WHOLE.fullmatch(value) for value in in_order)
            self._numbers = {value: int(value) if whole else place for place, value in enumerate(in_order, start=1)}

    def numbers_of(self, values: Iterable[Any]) -> list[int]:
        """Convert ids, or links to them, to whole numbers.

        Texts that are whole numbers become these numbers; other texts are numbered 1, 2, 3, … in their order.

        >>> Ids(["7", "3"]).numbers_of(["3"]), Ids(["a", "b"]).numbers_of(["b"])
        ([3], [2])
        """
        return [self._numbers[value] for value in values] if self._numbers else list(values)

    def explain_broken(self, links: Sequence[Any]) -> IdError | None:
        """Return an error, with the first value and its type, if some links cannot refer to these ids; else None."""
        if set(map(type, links)) <= self.kinds or (not self.kinds and set(map(type, links)) <= {int}):
            return None
        wrong = [link for link in links if type(link) not in (self.kinds or {int})]
        example = next(iter(sorted(self.values, key=str)), None)
        has = f"the ids are {'texts' if self.kinds == {str} else 'numbers'}"
        has += f", such as {quote(example)}" if example is not None else ""
        return IdError(
            f"is {quote(wrong[0])}, but {has} (links that differ from the ids: {len(wrong):,} of {len(links):,})",
            next_step="write the links and the ids in the same way",
        )


def without_root(categories: list[dict[str, Any]], annotations: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Remove the category that Roboflow puts first: the name of the project, which no box has.

    It is recognised by the lowest id, by having no supercategory, and by being the supercategory of all others.
    """
    roots = [each for each in categories if each.get("supercategory") in _NO_SUPERCATEGORY]
    others = [each for each in categories if each.get("supercategory") not in _NO_SUPERCATEGORY]
    if len(roots) != 1 or not others or categories[0] is not roots[0]:
        return categories
    (root,) = roots
    of_root = all(each.get("supercategory") == root.get("name") for each in others)
    if not of_root or any(each.get("category_id") == root.get("id") for each in annotations):
        return categories
    return others


def find_boxes_elsewhere(plain: dict[str, Any]) -> str | None:
    """Return the key under which a file without annotations has boxes; without it, its photos would look empty."""
    if plain.get("annotations"):
        return None
    lists = {key: value for key, value in plain.items() if isinstance(value, list)}
    return next(
        (key for key, rows in lists.items() if any(isinstance(row, dict) and "bbox" in row for row in rows)), None
    )


def quote(value: Any) -> str:
    """Show a value of a file with its type, shortened.

    >>> quote("7"), quote(7.0)
    ("'7' (text)", '7.0 (a number with a point)')
    """
    text, kind = repr(value), type(value).__name__
    return f"{text if len(text) <= _MANY else text[:_MANY] + '…'} ({_KINDS.get(kind, kind)})"
