"""Identifies a file that a config names by its content, so that moving the file changes no fingerprint.

The hash is cached in the home as long as size, mtime, ctime and inode of the file stay the same. Without the cache,
every plan would read weights of hundreds of megabytes again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from agar_pipeline.config.places import agar_home, expanded, home_is_made
from agar_pipeline.files.disk import SETTLED_NS, replace_file, sha256_of


def named_by_content(value: str | None) -> str | None:
    """Return `sha256:…` if the value is the path of a file or of a folder; otherwise the value itself.

    A folder is named by the names and contents of the files in it; those in folders inside it are left out.
    """
    if value is None or not (path := expanded(value)).exists():
        return value
    if path.is_file():
        return f"sha256:{hash_content(path)[:32]}"
    lines = [f"{hash_content(file)} {file.name}" for file in sorted(path.iterdir()) if file.is_file()]
    return f"sha256:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:32]}"


def hash_content(path: Path) -> str:
    """Return the sha256 of a file, hexadecimal. The file is read again only if it may have changed."""
    path = path.resolve()
    memory = agar_home() / "file_contents" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    stamp = _stamp(path)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(memory.read_text())
        if known["stamp"] == stamp:
            return str(known["sha256"])
    digest = sha256_of(path)
    if home_is_made() and stamp == _stamp(path) and abs(time.time_ns() - stamp[2]) > SETTLED_NS:
        with contextlib.suppress(OSError):  # a home that cannot be written is not an error
            memory.parent.mkdir(parents=True, exist_ok=True)
            replace_file(memory, json.dumps({"stamp": stamp, "sha256": digest}))
    return digest


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
