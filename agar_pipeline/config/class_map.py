"""Decides which class a label means. All code that compares class names uses this module, so that the answers agree.

A label means the class that the class map lists under exactly this text. If there is none, it means the one class whose
name differs from it only in spelling (case, spaces, dots, underscores, hyphens between letters), unless another label
of the data has the same spelling.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

_HYPHENS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d", "-"))
_BETWEEN = re.compile(r"[\s._-]+")
_UNIT = re.compile(r"(?<=\d)([ ._-]?[^\W\d_]{1,3})(?![^\W\d_])")
"""A short word behind a number, as in `5 mM`. Its case is kept, because mM, MM and mm are three units."""


def spelling_of(name: str) -> str:
    """Return what all spellings of a name have in common: `saureus` for `S. aureus`, `S.aureus` and `s_AUREUS`.

    A sign (`lac+`, `lac-`, `-5`), a decimal point (`1.5`), an exponent (`10²`, `1e-3`), a separator between two digits
    (`1 5`) and the case of a unit (`5 mM`) change the meaning and are kept. The result is empty for a name that
    consists of separators only.

    >>> spelling_of("S. aureus"), spelling_of("s_AUREUS"), spelling_of("lac-"), spelling_of("5 mM")
    ('saureus', 'saureus', 'lac-', '5mM')
    """
    text = unicodedata.normalize("NFKC", "".join(_plain(character) for character in name)).translate(_HYPHENS)
    text = "".join(piece if unit % 2 else piece.casefold() for unit, piece in enumerate(_UNIT.split(text)))
    pieces, at = [], 0
    for run in _BETWEEN.finditer(text):
        pieces += [text[at : run.start()], _kept_of(text[: run.start()], run.group(), text[run.end() :])]
        at = run.end()
    return "".join([*pieces, text[at:]])


def _plain(character: str) -> str:
    """Remove invisible characters; keep `²`, `₂`, `②` and `½` apart from the digits before them."""
    kind = unicodedata.category(character)
    if kind in ("Cf", "Cc") and not character.isspace():
        return ""
    if kind != "No":
        return character
    return ("^" if unicodedata.decomposition(character).startswith("<super>") else " ") + character


def _kept_of(before: str, run: str, after: str) -> str:
    """Return what remains of the separators between two texts: nothing, unless they are a sign or part of a number."""
    if before[-1:].isdigit() and after[:1].isdigit():
        return re.sub(r"[\s_]+", " ", run)
    is_joining = before[-1:].isalnum() and after[:1].isalpha() and (run[0] == "-") == (run[-1] == "-")
    sign = "" if is_joining else "-" * run.count("-")  # `E-coli`, `E - coli`; but `glucose -lac`, `lac- strain`
    return sign + ("." if run.endswith(".") and after[:1].isdigit() else "")


def is_blank(name: object) -> bool:
    """Whether a name is no text, or has only invisible characters."""
    return not isinstance(name, str) or not any(_is_seen(character) for character in name)


_UNSEEN_KINDS = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
_UNSEEN = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Characters that Unicode counts as letters or symbols, but that are drawn as blanks."""


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN_KINDS and character not in _UNSEEN


def class_map_of(names: Iterable[str]) -> dict[str, int]:
    """Give each name an id 1…K in the order given. Blank and repeated names get none.

    >>> class_map_of(["S.aureus", "E.coli", " ", "S.aureus"])
    {'S.aureus': 1, 'E.coli': 2}
    """
    return {name: number for number, name in enumerate(dict.fromkeys(n for n in names if not is_blank(n)), start=1)}


def spelt_alike(names: Iterable[str]) -> list[list[str]]:
    """Group the names that differ only in spelling, sorted. A person has to decide whether such names are one class.

    >>> spelt_alike(["E.coli", "e coli", "S.aureus"])
    [['E.coli', 'e coli']]
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(spelling_of(name), []).append(name)
    return [group for spelling, group in groups.items() if spelling and len(group) > 1]


def tell_alike(names: Iterable[str]) -> list[str]:
    """Return a sentence for each group of `spelt_alike`."""
    return [
        f"{' and '.join(map(repr, group))} differ only in spelling, but are {len(group)} classes: "
        "give them the same id in the class map if they are the same class"
        for group in spelt_alike(names)
    ]


class Spellings:
    """A class map that is looked up by label and by spelling."""

    def __init__(self, class_map: Mapping[str, int]) -> None:
        self.class_map = class_map

    @cached_property
    def class_names(self) -> dict[int, str]:
        """category_id → name of the class, which is the first label in the class map with this id."""
        names: dict[int, str] = {}
        for label, category_id in self.class_map.items():
            names.setdefault(category_id, label)
        return names

    @cached_property
    def by_spelling(self) -> dict[str, set[int]]:
        """Spelling → ids of all classes with this spelling."""
        found: dict[str, set[int]] = {}
        for label, category_id in self.class_map.items():
            found.setdefault(spelling_of(label), set()).add(category_id)
        return found

    def match(self, labels: Iterable[object]) -> LabelMatch:
        """Decide which class each label of a data set means.

        All labels are needed at once: two labels of the data with the same spelling are not merged into one class
        unless the class map lists both.

        >>> match = Spellings({"S.aureus": 1, "E.coli": 2}).match(["s aureus", "E.coli", "yeast"])
        >>> match.category_ids, match.by_spelling
        ({'s aureus': 1, 'E.coli': 2}, {'s aureus': 'S.aureus'})
        """
        texts = list(dict.fromkeys(label for label in labels if isinstance(label, str) and not is_blank(label)))
        spelt: dict[str, list[str]] = {}
        for text in texts:
            spelt.setdefault(spelling_of(text), []).append(text)
        ids, by_spelling = {}, {}
        for text in texts:
            spelling = spelling_of(text)
            classes = self.by_spelling.get(spelling, set()) if spelling else set()
            if text in self.class_map:
                ids[text] = self.class_map[text]
            elif len(classes) == 1 and len(spelt[spelling]) == 1:
                ids[text] = next(iter(classes))
                by_spelling[text] = self.class_names[ids[text]]
        return LabelMatch(self, ids, by_spelling, spelt)


@dataclass(frozen=True)
class LabelMatch:
    """The class that each label of a data set means; made by `Spellings.match`."""

    spellings: Spellings
    category_ids: dict[str, int]
    """Label → category_id, for the labels that mean a class."""
    by_spelling: dict[str, str]
    """Label → class name, for the labels that were matched by spelling only."""
    spelt: dict[str, list[str]]
    """Spelling → labels of the data with this spelling."""

    def class_name(self, label: str) -> str:
        """Return the name of the class that a label means, or the label itself if it means none."""
        category_id = self.category_ids.get(label)
        return label if category_id is None else self.spellings.class_names[category_id]

    def tell_merged(self) -> list[str]:
        """Return a sentence for each label that was matched to a class by spelling only."""
        return [f"label {label!r} is taken for the class {name!r}" for label, name in sorted(self.by_spelling.items())]

    def explain_unknown(self, label: object) -> str:
        """Describe a label that means no class, with the nearest class: `label 'S.aureas', nearest class 'S.aureus'`.

        If a class has the same spelling, the text says why the label is not matched to it.
        """
        if not isinstance(label, str) or is_blank(label):
            return f"label {label!r}, which is an empty or invisible name" if isinstance(label, str) else "no label"
        spelling, names = spelling_of(label), self.spellings.class_names
        alike = [repr(names[category_id]) for category_id in sorted(self.spellings.by_spelling.get(spelling, ()))]
        rivals = alike[1:] or [f"the label {other!r}" for other in self.spelt.get(spelling, []) if other != label]
        if alike and rivals:
            also = f"{' and '.join(rivals)} {'has' if len(rivals) == 1 else 'have'} the same spelling"
            return f"label {label!r}, spelt like the class {alike[0]}, but {also}: list the label in the class map"
        near = difflib.get_close_matches(spelling, self.spellings.by_spelling, n=1, cutoff=0.5)
        nearest = names[min(self.spellings.by_spelling[near[0]])] if near else None
        return f"label {label!r}" + (f", nearest class {nearest!r}" if nearest else "")
