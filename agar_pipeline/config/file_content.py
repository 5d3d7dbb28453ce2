"""A file that a config names, known by its content: where it lies is no input, what it holds is.

The hash is remembered under the home as long as the file looks untouched (size, mtime, ctime, inode), so that a plan
reads no hundred megabytes of weights each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from agar_pipeline.config.places import agar_home, expanded, home_is_made
from agar_pipeline.files.disk import replace_file, sha256_of

_SETTLED_NS = 1_000_000_000
"""A file changed less than this ago is hashed again next time: a second change may leave the same times behind."""


def named_by_content(value: str | None) -> str | None:
    """`sha256:…` where the value is the path of a file; else the value itself."""
    if value is None or not (path := expanded(value)).is_file():
        return value
    return f"sha256:{hash_content(path)[:32]}"


def hash_content(path: Path) -> str:
    """sha256 of a file, hexadecimal; read again only where it may have changed."""
    path = path.resolve()
    memory = agar_home() / "file_contents" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    stamp = _stamp(path)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(memory.read_text())
        if known["stamp"] == stamp:
            return str(known["sha256"])
    digest = sha256_of(path)
    if home_is_made() and stamp == _stamp(path) and abs(time.time_ns() - stamp[2]) > _SETTLED_NS:
        with contextlib.suppress(OSError):  # a home that cannot be written is no obstacle
            memory.parent.mkdir(parents=True, exist_ok=True)
            replace_file(memory, json.dumps({"stamp": stamp, "sha256": digest}))
    return digest


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
