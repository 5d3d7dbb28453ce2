"""Which class a label means: exactly as written in the class map, else by its spelling without case and separators."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property

_SEPARATORS = re.compile(r"[\s._-]+")


def normalised_spelling(label: str) -> str:
    """`S. aureus`, `S.aureus` and `s_AUREUS` alike: `saureus`. Empty where a label has nothing but separators."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", label).casefold())


def refuse_ambiguous_spellings(class_map: Mapping[str, int]) -> None:
    """Raises ValueError where two category ids share a normalised spelling: a label could mean either."""
    seen: dict[str, str] = {}
    for label, category_id in class_map.items():
        first = seen.setdefault(normalised_spelling(label), label)
        if class_map[first] != category_id:
            raise ValueError(
                f"{first!r} and {label!r} are spellings of one name (case, spaces, dots, underscores and hyphens do "
                f"not count), but have the category ids {class_map[first]} and {category_id}: give them one id"
            )


class Spellings:
    """A class map, asked by label."""

    def __init__(self, class_map: Mapping[str, int]) -> None:
        self._class_map = class_map

    @cached_property
    def _by_spelling(self) -> dict[str, int]:
        return {normalised_spelling(label): category_id for label, category_id in self._class_map.items()}

    @cached_property
    def class_names(self) -> dict[int, str]:
        """category_id → the first label that has it: the class's name."""
        names: dict[int, str] = {}
        for label, category_id in self._class_map.items():
            names.setdefault(category_id, label)
        return names

    def category_id(self, label: object) -> int | None:
        """The id of a label; None where no class is meant, or the label is no text."""
        if not isinstance(label, str):
            return None
        return self._class_map.get(label) or self._by_spelling.get(normalised_spelling(label))

    def category_ids(self, labels: Iterable[object]) -> dict[object, int]:
        """Label → category id, of those labels that mean a class."""
        known = {label: self.category_id(label) for label in labels}
        return {label: category_id for label, category_id in known.items() if category_id is not None}

    def class_name(self, label: str) -> str:
        """The name of the class that a label means; the label itself where it means none."""
        category_id = self.category_id(label)
        return label if category_id is None else self.class_names[category_id]

    def nearest(self, label: str) -> str | None:
        """The class that is spelt most like an unknown label."""
        by_spelling = {normalised_spelling(name): name for name in self._class_map}
        found = difflib.get_close_matches(normalised_spelling(label), by_spelling, n=1, cutoff=0.5)
        return self.class_name(by_spelling[found[0]]) if found else None

    def explain_unknown(self, label: object) -> str:
        """`label 'S.aureas', nearest class 'S.aureus'`."""
        near = self.nearest(label) if isinstance(label, str) else None
        return f"label {label!r}" + (f", nearest class {near!r}" if near else "")
