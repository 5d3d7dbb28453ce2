"""What was seen in image files, remembered under their sha256: the same content is decoded once.

Here: an SQLite file that may be lost at any time. Not here: what is looked for (`file_checks`).
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1
"""Raise it when the same content gives other facts: what is remembered is then forgotten."""


@dataclass(frozen=True)
class FileFacts:
    """What a file's content says, whatever its name; JSON-ready."""

    rule: str = ""
    """The rule that it breaks by itself, if any."""
    reason: str = ""
    format: str = ""
    mode: str = ""
    displayed_wh: tuple[int, int] = (0, 0)
    """0, 0 where it is not known."""
    orientation: int = 1
    """EXIF's: 1 is upright."""


class FactsMemory:
    """Facts by sha256 and depth. One that cannot be read or written is as good as an empty one."""

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._known: dict[tuple[str, str], str] = {}
        self._fresh: dict[tuple[str, str], str] = {}
        try:
            with closing(self._connect()) as connection:
                rows = connection.execute("SELECT sha256, depth, facts FROM facts WHERE format = ?", (FORMAT,))
                self._known = {(sha256, depth): facts for sha256, depth, facts in rows}
        except (sqlite3.Error, OSError):
            pass

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=30)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS facts (sha256 TEXT, depth TEXT, format INT, facts TEXT,"
            " PRIMARY KEY (sha256, depth)) WITHOUT ROWID"
        )
        return connection

    def recall(self, sha256: str, depth: str) -> FileFacts | None:
        """None where this content was not looked at so deeply."""
        text = self._known.get((sha256, depth))
        if text is None:
            return None
        plain = json.loads(text)
        return FileFacts(**{**plain, "displayed_wh": tuple(plain["displayed_wh"])})

    def remember(self, sha256: str, depth: str, facts: FileFacts) -> None:
        """Keep them until `save`, unless they may be the moment's fault."""
        if facts.rule != "unreadable_image" or facts.displayed_wh != (0, 0):
            self._fresh[sha256, depth] = json.dumps(asdict(facts))

    def save(self) -> None:
        """Write what is new."""
        try:
            with closing(self._connect()) as connection, connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)",
                    [(sha256, depth, FORMAT, facts) for (sha256, depth), facts in self._fresh.items()],
                )
        except (sqlite3.Error, OSError):
            return
        self._known |= self._fresh
        self._fresh = {}
