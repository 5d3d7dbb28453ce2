"""Caches composed configs in the home, because Hydra takes 0.14 to 0.2 s to load and to compose one.

The cache key is the content of every config file and the overrides, so that each edit is noticed. A config that may
depend on anything else (a resolver such as `${oc.env:X}`, another search path) is not cached.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from agar_pipeline.config.places import agar_home, configs_dir, home_is_made
from agar_pipeline.files.disk import replace_file

_DEPENDS_ON_MORE = re.compile(rb"\$\{[^}]*:|searchpath|pkg://")
_KEPT = 100
"""Maximum number of cached files; the oldest ones are deleted."""


def recall(config_name: str, overrides: Sequence[str]) -> dict[str, Any] | None:
    """Return the cached config for the current files and these overrides, or None."""
    path = _path(config_name, overrides)
    try:
        plain = json.loads(path.read_text()) if path else None
    except (OSError, ValueError):
        return None
    return plain if isinstance(plain, dict) else None


def remember(config_name: str, overrides: Sequence[str], plain: dict[str, Any]) -> None:
    """Cache a composed config if JSON preserves its values. Errors are ignored if the home cannot be written."""
    path, text = _path(config_name, overrides), json.dumps(plain)
    if path is None or not home_is_made() or json.loads(text) != plain:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text)
        for old in sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime_ns)[:-_KEPT]:
            old.unlink()


def _path(config_name: str, overrides: Sequence[str]) -> Path | None:
    """Return the file of the cache entry; None if the config may depend on more than the config files."""
    words = [metadata.version("hydra-core"), metadata.version("omegaconf"), config_name, *overrides]
    content = hashlib.sha256(json.dumps(words).encode())
    texts = [json.dumps(words).encode()]
    for file in sorted(
        Path(folder, name) for folder, _, names in os.walk(configs_dir(), followlinks=True) for name in names
    ):
        texts.append(file.read_bytes())
        name = file.relative_to(configs_dir()).as_posix()
        content.update(json.dumps([name, hashlib.sha256(texts[-1]).hexdigest()]).encode())
    if any(_DEPENDS_ON_MORE.search(text) for text in texts):
        return None
    return agar_home() / "composed" / f"{content.hexdigest()[:32]}.json"
