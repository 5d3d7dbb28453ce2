"""Which class a label means. Whatever compares class names asks here, so that all answers are the same.

A label means the class that the class map lists under exactly this text; else the one class whose name is the same but
for its spelling (case, spaces, dots, underscores, hyphens between letters), if no other label of the data is spelt so.
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
"""A short word behind a number: mM, MM and mm are three units."""


def spelling_of(name: str) -> str:
    """What two spellings of one name share: `saureus` of `S. aureus`, `S.aureus` and `s_AUREUS`.

    A sign (`lac+`, `lac-`, `-5`), a decimal point (`1.5`), an exponent (`10²`, `1e-3`), the limits of a number (`1 5`)
    and the case of a unit (`5 mM`) are more than spelling and stay. Empty where a name has nothing but separators.
    """
    text = unicodedata.normalize("NFKC", "".join(_plain(character) for character in name)).translate(_HYPHENS)
    text = "".join(piece if unit % 2 else piece.casefold() for unit, piece in enumerate(_UNIT.split(text)))
    pieces, at = [], 0
    for run in _BETWEEN.finditer(text):
        pieces += [text[at : run.start()], _kept_of(text[: run.start()], run.group(), text[run.end() :])]
        at = run.end()
    return "".join([*pieces, text[at:]])


def _plain(character: str) -> str:
    """Without what nobody sees; `²`, `₂`, `②` and `½` stay apart from the digits before them."""
    kind = unicodedata.category(character)
    if kind in ("Cf", "Cc") and not character.isspace():
        return ""
    if kind != "No":
        return character
    return ("^" if unicodedata.decomposition(character).startswith("<super>") else " ") + character


def _kept_of(before: str, run: str, after: str) -> str:
    """What is left of separators between two texts: nothing, unless they are a sign or part of a number."""
    if before[-1:].isdigit() and after[:1].isdigit():
        return re.sub(r"[\s_]+", " ", run)
    is_joining = before[-1:].isalnum() and after[:1].isalpha() and (run[0] == "-") == (run[-1] == "-")
    sign = "" if is_joining else "-" * run.count("-")  # `E-coli`, `E - coli`; but `glucose -lac`, `lac- strain`
    return sign + ("." if run.endswith(".") and after[:1].isdigit() else "")


def is_blank(name: object) -> bool:
    """Whether it names nothing: no text, or only characters that nobody sees."""
    return not isinstance(name, str) or not any(_is_seen(character) for character in name)


_UNSEEN_KINDS = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
_UNSEEN = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols, for Unicode, that are blanks."""


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN_KINDS and character not in _UNSEEN


def class_map_of(names: Iterable[str]) -> dict[str, int]:
    """Ids 1…K in the order given, a class for each name; what is blank is none."""
    return {name: number for number, name in enumerate(dict.fromkeys(n for n in names if not is_blank(n)), start=1)}


def spelt_alike(names: Iterable[str]) -> list[list[str]]:
    """Names that differ in nothing but their spelling, sorted: whether they are one class is for a person to say."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(spelling_of(name), []).append(name)
    return [group for spelling, group in groups.items() if spelling and len(group) > 1]


def tell_alike(names: Iterable[str]) -> list[str]:
    """A sentence for each of `spelt_alike`."""
    return [
        f"{' and '.join(map(repr, group))} differ only in spelling, and are {len(group)} classes: "
        "give them one id in the class map if they are one"
        for group in spelt_alike(names)
    ]


class Spellings:
    """A class map, asked by label."""

    def __init__(self, class_map: Mapping[str, int]) -> None:
        self.class_map = class_map

    @cached_property
    def class_names(self) -> dict[int, str]:
        """category_id → the first label that has it: the class's name."""
        names: dict[int, str] = {}
        for label, category_id in self.class_map.items():
            names.setdefault(category_id, label)
        return names

    @cached_property
    def by_spelling(self) -> dict[str, set[int]]:
        """Spelling → the ids of all classes that are spelt so."""
        found: dict[str, set[int]] = {}
        for label, category_id in self.class_map.items():
            found.setdefault(spelling_of(label), set()).add(category_id)
        return found

    def match(self, labels: Iterable[object]) -> LabelMatch:
        """What the labels of some data mean, given all of them: two that stand side by side are never one class
        unless the class map lists both."""
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
    """Which class each label of some data means."""

    spellings: Spellings
    category_ids: dict[str, int]
    """Of those labels that mean a class."""
    by_spelling: dict[str, str]
    """Label → name of its class, of those that the class map does not list as they are."""
    spelt: dict[str, list[str]]
    """Spelling → the labels that are spelt so."""

    def class_name(self, label: str) -> str:
        """The name of the class that a label means; the label itself where it means none."""
        category_id = self.category_ids.get(label)
        return label if category_id is None else self.spellings.class_names[category_id]

    def tell_merged(self) -> list[str]:
        """A sentence for each label that is taken for a class by its spelling."""
        return [f"label {label!r} is taken for the class {name!r}" for label, name in sorted(self.by_spelling.items())]

    def explain_unknown(self, label: object) -> str:
        """`label 'S.aureas', nearest class 'S.aureus'`; and why it is not that class, where it is spelt like it."""
        if not isinstance(label, str) or is_blank(label):
            return f"label {label!r}, which names nothing" if isinstance(label, str) else "no label"
        spelling, names = spelling_of(label), self.spellings.class_names
        alike = [repr(names[category_id]) for category_id in sorted(self.spellings.by_spelling.get(spelling, ()))]
        rivals = alike[1:] or [f"the label {other!r}" for other in self.spelt.get(spelling, []) if other != label]
        if alike and rivals:
            also = f"{' and '.join(rivals)} {'is' if len(rivals) == 1 else 'are'} spelt so too"
            return f"label {label!r}, spelt like the class {alike[0]}, but {also}: list it in the class map"
        near = difflib.get_close_matches(spelling, self.spellings.by_spelling, n=1, cutoff=0.5)
        nearest = names[min(self.spellings.by_spelling[near[0]])] if near else None
        return f"label {label!r}" + (f", nearest class {nearest!r}" if nearest else "")
