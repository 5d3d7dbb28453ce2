"""Finds passwords and keys in text, by parsing addresses, and hides them.

Here: what may be shown of an address, a line, or plain values. `errors` passes all our error messages through `mask`.
Other text that is printed, stored or logged is masked where it is created. This module imports no other module of ours.

In free text the end of an address is not known, and people forget to percent-encode their passwords. Therefore `mask`
hides too much rather than too little: everything from `scheme://` to the last `@` of the line, and everything in a line
after `password=`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "…"
"""Replaces a secret value."""
PLACEHOLDERS = ("USER:PASSWORD@HOST:PORT", "USER:PASSWORD@HOST", "HOST:PORT")
"""Example addresses in our own messages. They are not secret and are not masked."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_NEW_ADDRESS = re.compile(r"(?<=[\s'\"`(<\[{,;])(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_SECRET_KEY = re.compile(
    r"(?:(?<=[?&;])pass(?![^\W_])|passwords?|passwd|passphrase|pwd|jwt|secret|token|signature|credentials?|"
    r"(?:access|api|account|private|secret|sas)[_-]?key)",
    re.IGNORECASE,
)
"""Matches anywhere in the name of a key."""
_PAIR = re.compile(rf"({_SECRET_KEY.pattern}[\w.-]{{0,40}}(?:\s*=|\\*[\"']\s*[:=])\s*)(?=\S).*", re.IGNORECASE)
_ADDRESS = re.compile(r"://[^\s'\"]*")
_KEPT = tuple(f"\ue000{index}\ue001" for index in range(len(PLACEHOLDERS)))


def mask(text: str) -> str:
    """Remove user names, passwords and options from addresses, and the values of secret keys.

    Whole lines are processed. If an `@` that is not part of an address follows later in the line, the text before it is
    lost as well.

    >>> mask("mongodb://ana:pw@host:27017/agar?ssl=1 cannot be reached")
    'mongodb://host:27017/agar cannot be reached'
    """
    for kept, placeholder in zip(_KEPT, PLACEHOLDERS, strict=True):
        text = text.replace(f"://{placeholder}", f"://{kept}")
    text = "\n".join(map(_mask_line, text.split("\n")))
    for kept, placeholder in zip(_KEPT, PLACEHOLDERS, strict=True):
        text = text.replace(kept, placeholder)
    return text


def mask_plain(value: Any, key: str = "") -> Any:
    """Mask every text in plain values (of JSON or YAML), and hide the value of every secret key."""
    if isinstance(value, Mapping):
        return {name: mask_plain(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([mask_plain(inner, key) for inner in value])
    if not isinstance(value, str):
        return value
    return HIDDEN if value and is_secret_name(key) else mask(value)


def is_secret_name(name: str) -> bool:
    """Whether a variable or setting of this name contains a password or a key.

    >>> is_secret_name("RAY_AUTH_TOKEN"), is_secret_name("AGAR_HOME")
    (True, False)
    """
    return bool(_SECRET_KEY.search(name))


def has_secret(text: str) -> bool:
    """Whether a text contains a recognisable password or key. A user name alone is not one."""
    return any(_PAIR.search(line) or any(map(_has_password, _addresses(line))) for line in text.split("\n"))


def mask_error(error: BaseException) -> BaseException:
    """Mask the texts of an error and of its causes, because a traceback shows all of them."""
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
    """Split a line into pieces with one address at most in each.

    A further `scheme://` begins a new piece only if the text before it cannot contain a password, that is, if it has no
    colon and no `@`.
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
        return before + (HIDDEN if _PAIR.search(hidden) else rest)  # a secret value extends to the end of the line
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
    """Whether an address begins with `name:something` that is no port: an address without its `@HOST`."""
    authority = re.split("[/?#]", address, maxsplit=1)[0]
    hosts = (re.sub(r"^\[[0-9a-f:.%]*\]", "", host) for host in authority.split(","))
    return any(":" in host and not re.fullmatch(r"[^:]*:\d{0,5}[).,;:]*", host) for host in hosts)
