"""The address with the access token: printed for the owner, and saved in a file that only the owner can read."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from agar_pipeline.files.disk import replace_file
from agar_pipeline.web.rules import TOKEN

FOLDER = "web"
"""Folder in the home."""


@dataclass(frozen=True)
class Address:
    """The address of a page, with its own token. A copy is useless after the server has ended."""

    port: int
    path: str = "/"
    query: dict[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{quote(self.path)}?{urlencode({**self.query, TOKEN: self.token})}"


@contextlib.contextmanager
def published(address: Address, home: Path, name: str) -> Iterator[Path]:
    """Keep the address in `home/web/NAME-PORT.json` during the block, so that a second terminal can find it.

    It is not put on a command line or into the environment, because other users could read it there.
    """
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}-{address.port}.json"
    replace_file(path, json.dumps({"url": address.url, "pid": os.getpid()}), mode=0o600)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
