"""Explains which other spelling would make listed photo names agree with the names in a folder.

It only produces messages. No photo is matched this way, because two photos may differ in their spelling alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from functools import partial
from html import unescape
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from agar_pipeline.text.plurals import plural

Spell = Callable[[str], str]
_UPLOADED = re.compile(r"\A[0-9a-f]{8}-")
_CALLED = (
    "the file lists",
    "the folder holds",
    "change the names in the file, or give the folder that they start from",
)
_PAIRED = ("an annotation is called", "an image", "rename one file of each pair")


class SpellingHint(NamedTuple):
    """Why names are not found; as a text, both parts with a colon between them."""

    finding: str
    """An example of each side, and the spelling that would find names; empty if there is no example."""
    next_step: str

    def __str__(self) -> str:
        return ": ".join(filter(None, self))


def explain_names(missing: Collection[str], there: Collection[str], *, paired: bool = False) -> str | None:
    """Return the text of `find_spelling`; None if no spelling finds a name."""
    hint = find_spelling(missing, there, paired=paired)
    return str(hint) if hint else None


def find_spelling(missing: Collection[str], there: Collection[str], *, paired: bool = False) -> SpellingHint | None:
    """Find the other spelling that finds most of the missing names; None if no spelling finds one.

    Args:
        missing: Names that a file lists and that are not in the folder.
        there: Names in the folder that are not listed.
        paired: Whether the names are those of annotation files and of images, without suffixes, that should be pairs.
    """
    best: tuple[int, str, str, str] = (0, "", "", "")
    for words, of_file, of_folder in _ways(missing):
        wanted, found = Counter(map(of_file, missing)), Counter(map(of_folder, there))
        fitting = [name for name in missing if wanted[of_file(name)] == found[of_file(name)] == 1]
        if len(fitting) > best[0]:
            in_folder = next(name for name in there if of_folder(name) == of_file(fitting[0]))
            best = len(fitting), words, fitting[0], in_folder
    count, words, written, in_folder = best
    if not count:
        return None
    lists, holds, cure = _PAIRED if paired else _CALLED
    match = plural(len(missing), "name matches", "names match")
    finding = f"{lists} {written!r}, {holds} {in_folder!r}; {count} of {match} {words}"
    return SpellingHint(finding, cure)


def show_names(missing: Collection[str], there: Collection[str]) -> SpellingHint:
    """Return `find_spelling`, or otherwise an example of each side."""
    cure = "give the folder that its file_names are relative to"
    if not missing or not there:
        return SpellingHint("", cure)
    examples = f"the file lists for example {min(missing)!r}, the folder holds {min(there)!r}"
    return find_spelling(missing, there) or SpellingHint(examples, cure)


def _same(name: str) -> str:
    return name


def _slashed(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _decoded(name: str) -> str:
    return _slashed(unquote(name)).rpartition("?d=")[2]  # Label Studio's address of a file on its own machine


_KNOWN: dict[str, Spell] = {"with / in place of \\": _slashed, "after URL-decoding": unquote}
"""Description → change. Later ways of `_ways` apply both changes too; their words name those that alter a name."""


def _ways(missing: Collection[str]) -> Iterator[tuple[str, Spell, Spell]]:
    """Yield a description and the two functions that spell names of the file and of the folder, least change first."""
    yield "with / in place of \\", _slashed, _same
    yield "after URL-decoding", unquote, _same
    yield "after URL-decoding and with / in place of \\", _decoded, _same
    yield "without blanks at both ends", str.strip, str.strip
    yield "after HTML-decoding", unescape, _same
    yield "in one form of Unicode (NFC)", lambda name: _nfc(_decoded(name)), _nfc
    yield "without regard to upper and lower case", lambda name: _nfc(_decoded(name)).casefold(), _cased
    also = [word for word, spell in _KNOWN.items() if any(spell(name) != name for name in missing)]
    before = "".join(f"{word} and " for word in also)
    for depth in range(1, max((len(_parts(name)) for name in missing), default=0)):
        folders = "their first folder" if depth == 1 else f"their first {depth} folders"
        yield f"{before}without {folders}", partial(_without, depth), _same
    yield (
        f"{before}with another suffix",
        lambda name: without_suffix(_cased(_decoded(name))),
        lambda name: without_suffix(_cased(name)),
    )
    yield f"{before}by the base name", lambda name: _base(_decoded(name)), _base
    yield (
        f"{before}by the base name, without regard to case and suffix",
        lambda name: without_suffix(_base(_cased(_decoded(name)))),
        lambda name: without_suffix(_base(_cased(name))),
    )
    yield "without the eight digits that Label Studio puts before names", _as_uploaded, _same
    yield (
        "by the base name, without the eight digits that Label Studio puts before names",
        lambda name: _base(_as_uploaded(name)),
        _base,
    )


def _as_uploaded(name: str) -> str:
    folder, slash, base = _decoded(name).rpartition("/")
    return folder + slash + _UPLOADED.sub("", base)


def _base(name: str) -> str:
    return PurePosixPath(name).name


def without_suffix(name: str) -> str:
    """Remove the suffix of a file name.

    >>> without_suffix("a/1.jpg")
    'a/1'
    """
    before, dot, suffix = name.rpartition(".")
    return before if dot and "/" not in suffix else name


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(_decoded(name).lstrip("/")).parts


def _without(depth: int, name: str) -> str:
    return "/".join(_parts(name)[depth:])


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _cased(name: str) -> str:
    return _nfc(name).casefold()
