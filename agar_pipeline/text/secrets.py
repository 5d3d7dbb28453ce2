"""Passwords and keys in text: found by taking addresses apart, and hidden.

Here: what may be shown of an address, of a line, of plain values. `errors` passes every message of ours through `mask`;
what else is printed, stored or logged goes through it where it is made. Nothing of ours is imported here.

Free text does not say where an address ends, and people forget to percent-encode their passwords. So `mask` hides too
much rather than too little: all from `scheme://` to the last `@` of the line, and all of a line after `password=`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "…"
"""In place of a value that is secret."""
PLACEHOLDERS = ("USER:PASSWORD@HOST:PORT", "USER:PASSWORD@HOST", "HOST:PORT")
"""What our own messages show of an address that a user should write; it is no secret, and stays."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_NEW_ADDRESS = re.compile(r"(?<=[\s'\"`(<\[{,;])(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_SECRET_KEY = re.compile(
    r"(?:(?<=[?&;])pass(?![^\W_])|passwords?|passwd|passphrase|pwd|jwt|secret|token|signature|credentials?|"
    r"(?:access|api|account|private|secret|sas)[_-]?key)",
    re.IGNORECASE,
)
"""Somewhere in a key's name."""
_PAIR = re.compile(rf"({_SECRET_KEY.pattern}[\w.-]{{0,40}}(?:\s*=|\\*[\"']\s*[:=])\s*)(?=\S).*", re.IGNORECASE)
_ADDRESS = re.compile(r"://[^\s'\"]*")
_KEPT = tuple(f"\ue000{index}\ue001" for index in range(len(PLACEHOLDERS)))


def mask(text: str) -> str:
    """The text without user names, passwords and options of addresses, and without the values of keys that are secret.

    Whole lines are looked at. An `@` later in a line that has nothing to do with an address costs what stands between.
    """
    for kept, placeholder in zip(_KEPT, PLACEHOLDERS, strict=True):
        text = text.replace(f"://{placeholder}", f"://{kept}")
    text = "\n".join(map(_mask_line, text.split("\n")))
    for kept, placeholder in zip(_KEPT, PLACEHOLDERS, strict=True):
        text = text.replace(kept, placeholder)
    return text


def mask_plain(value: Any, key: str = "") -> Any:
    """Plain values (of JSON, of YAML) with every text masked, and the value of every secret key hidden."""
    if isinstance(value, Mapping):
        return {name: mask_plain(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([mask_plain(inner, key) for inner in value])
    if not isinstance(value, str):
        return value
    return HIDDEN if value and is_secret_name(key) else mask(value)


def is_secret_name(name: str) -> bool:
    """Whether what a variable or a setting of this name holds is a password or a key."""
    return bool(_SECRET_KEY.search(name))


def has_secret(text: str) -> bool:
    """Whether a text holds a password or a key, as far as can be seen; a user's name alone is none."""
    return any(_PAIR.search(line) or any(map(_has_password, _addresses(line))) for line in text.split("\n"))


def mask_error(error: BaseException) -> BaseException:
    """The same error with its texts masked, and those of the errors behind it: a traceback shows them all."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        if (found := left.pop()) is None or id(found) in seen:
            continue
        seen.add(id(found))
        found.args = tuple(mask(part) if isinstance(part, str) else part for part in found.args)
        left += [found.__cause__, found.__context__]
    return error


def _mask_line(line: str) -> str:
    if "://" in line:
        line = "".join(map(_mask_address, _addresses(line)))
    line = _PAIR.sub(rf"\1{HIDDEN}", line)
    return _ADDRESS.sub(_without_options, line)


def _without_options(address: re.Match[str]) -> str:
    before, mark, _ = address[0].partition("?")
    return before.removesuffix("/") if mark else before


def _addresses(line: str) -> list[str]:
    """The line in pieces, with one address at most in each.

    A further `scheme://` begins a new piece only where what stands before it can hold no password: without a colon and
    without an `@`, it is an address of its own.
    """
    pieces = [""]
    for part in _NEW_ADDRESS.split(line):
        before = _SCHEME.split(pieces[-1], maxsplit=1)
        if len(before) == 1 or not re.search("[:@]", before[1]):
            pieces.append(part)
        else:
            pieces[-1] += part
    return pieces


def _mask_address(piece: str) -> str:
    found = _SCHEME.search(piece)
    if found is None or found[0].lower() == "file://":
        return piece
    before, rest = piece[: found.end()], piece[found.end() :]
    if "@" in rest:
        hidden, _, rest = rest.rpartition("@")
        return before + (HIDDEN if _PAIR.search(hidden) else rest)  # a pair has no end but that of the line
    where = re.match(r"[^\s'\"]*", rest)
    if where is not None and _has_stray_password(where[0]):
        return before + HIDDEN + rest[where.end() :]
    return piece


def _has_password(piece: str) -> bool:
    found = _SCHEME.search(piece)
    if found is None or found[0].lower() == "file://":
        return False
    rest = piece[found.end() :]
    return ":" in rest.rpartition("@")[0] if "@" in rest else _has_stray_password(re.split(r"[\s'\"]", rest)[0])


def _has_stray_password(address: str) -> bool:
    """Whether one begins `name:something` where no port can be meant: an address whose `@HOST` was left out."""
    authority = re.split("[/?#]", address, maxsplit=1)[0]
    hosts = (re.sub(r"^\[[0-9a-f:.%]*\]", "", host) for host in authority.split(","))
    return any(":" in host and not re.fullmatch(r"[^:]*:\d{0,5}[).,;:]*", host) for host in hosts)
