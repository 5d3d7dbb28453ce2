"""Remembers facts about image files by sha256, so that the same content is decoded only once.

Here: an SQLite file that may be deleted at any time. Not here: what is checked (`file_checks`).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 2
"""Raise it if the same content now gives other facts: remembered facts of other formats are ignored."""


@dataclass(frozen=True)
class FileFacts:
    """Facts about a file's content, independent of its name; JSON-ready."""

    rule: str = ""
    """The rule that the content breaks, if any."""
    reason: str = ""
    format: str = ""
    mode: str = ""
    displayed_wh: tuple[int, int] = (0, 0)
    """(0, 0) if it is not known."""
    orientation: int = 1
    """EXIF orientation: 1 is upright."""
    peculiar: str = ""
    """What is unusual about the content, in words: colours, bits, pages."""
    blank: str = ""
    """Why the image is blank, in words; also empty if this was not checked."""


class FactsMemory:
    """Facts by sha256 and depth. A file that cannot be read or written is treated as empty."""

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._known: dict[str, str] = {}
        self._fresh: dict[tuple[str, str], str] = {}

    def look_up(self, sha256s: Sequence[str], depth: str) -> None:
        """Load the facts about these contents into memory, and drop those loaded before."""
        self._known = {}
        with contextlib.suppress(sqlite3.Error, OSError), closing(self._connect()) as connection:
            rows = connection.execute(
                "SELECT sha256, facts FROM json_each(?) AS asked JOIN facts ON facts.sha256 = asked.value"
                " WHERE depth = ? AND format = ?",
                (json.dumps(list(sha256s)), depth, FORMAT),
            )
            self._known = dict(rows)

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=30)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS facts (sha256 TEXT, depth TEXT, format INT, facts TEXT,"
            " PRIMARY KEY (sha256, depth)) WITHOUT ROWID"
        )
        return connection

    def recall(self, sha256: str) -> FileFacts | None:
        """Facts about a content that was looked up; None if they are not known at that depth."""
        text = self._known.get(sha256)
        if text is None:
            return None
        plain = json.loads(text)
        return FileFacts(**{**plain, "displayed_wh": tuple(plain["displayed_wh"])})

    def remember(self, sha256: str, depth: str, facts: FileFacts) -> None:
        """Keep the facts until `save`, unless they may come from a temporary fault."""
        if facts.rule != "unreadable_image" or facts.displayed_wh != (0, 0):
            self._fresh[sha256, depth] = json.dumps(asdict(facts))

    def save(self) -> None:
        try:
            with closing(self._connect()) as connection, connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)",
                    [(sha256, depth, FORMAT, facts) for (sha256, depth), facts in self._fresh.items()],
                )
        except (sqlite3.Error, OSError):
            return
        self._fresh = {}
