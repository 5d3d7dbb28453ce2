"""Walks the files below a folder, without those that operating systems and editors hide there.

`agar predict`, every importer and all other code that searches for photos or labels use this walk. Not here: which
files are photos (`formats`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agar_pipeline.config.places import is_for_our_own_use
from agar_pipeline.photos.formats import can_be_read, is_hidden, may_be_missed
from agar_pipeline.text.name_list import name_some

_SHOWN = 3


@dataclass
class PassedOver:
    """Files and folders that a walk skipped. Each is reported once, however often the folder is walked."""

    hidden: dict[Path, None] = field(default_factory=dict)
    """Hidden files and folders, in the order in which they were found."""
    twins: dict[Path, None] = field(default_factory=dict)
    """Photos that cannot be read, next to a readable one of the same name: a camera's raw file next to its JPEG."""

    def notes(self, root: Path) -> list[str]:
        """Return at most one sentence for each kind."""
        kinds = {
            "hidden files or folders are skipped": self.hidden,
            "files that cannot be read here are skipped, because a photo of the same name is beside them": self.twins,
        }
        return [f"{what}: {len(paths)} ({_names(paths, root)})" for what, paths in kinds.items() if paths]


def _names(paths: dict[Path, None], root: Path) -> str:
    names = [str(path.relative_to(root) if path.is_relative_to(root) else path) for path in paths]
    return name_some(names, _SHOWN)


def walk_files(
    root: Path,
    passed_over: PassedOver,
    enter: Callable[[Path], bool] = lambda folder: True,
    on_error: Callable[[OSError], None] = lambda error: None,
) -> Iterator[Path]:
    """Yield all files below a folder, sorted within each folder. Links to folders are not followed.

    Args:
        root: Where to begin; it may be hidden itself.
        passed_over: Receives hidden folders, photos and labels. Other hidden files, and our own, are not reported.
        enter: Whether a folder below `root` is walked.
        on_error: Called for a folder that cannot be listed.
    """
    for folder, folders, names in os.walk(root, onerror=on_error):
        for name in sorted((*folders, *filter(may_be_missed, names))):
            if is_hidden(name) and not is_for_our_own_use(name):
                passed_over.hidden[Path(folder, name)] = None
        folders[:] = sorted(name for name in folders if not is_hidden(name) and enter(Path(folder, name)))
        yield from (Path(folder, name) for name in sorted(names) if not is_hidden(name))


def without_twins(photos: list[Path], passed_over: PassedOver) -> list[Path]:
    """Remove the photos that cannot be read and that are next to a readable one of the same name."""
    readable = {path.with_suffix("") for path in photos if can_be_read(path)}
    twins = dict.fromkeys(path for path in photos if path.with_suffix("") in readable and not can_be_read(path))
    passed_over.twins |= twins
    return [path for path in photos if path not in twins]
