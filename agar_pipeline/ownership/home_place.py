"""Warns if a home lies where `git clean` deletes it, with all labels, snapshots and checkpoints."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from agar_pipeline.config.places import PROJECT


class HomePlaceWarning(UserWarning):
    """A new home is in a place where it may be deleted."""


def tree_around(home: Path) -> Path | None:
    """Return the git working tree, or the project or checkout without git, that contains a home; None if there is none.

    A user's own home folder that is a working tree (of settings) does not count, because it is not cleaned.
    """
    if PROJECT and home.is_relative_to(PROJECT):
        return PROJECT
    above = (folder for folder in home.parents if os.path.lexists(folder / ".git"))
    return next((folder for folder in above if str(folder) != os.path.expanduser("~")), None)  # noqa: PTH111


def place_words(home: Path) -> str | None:
    """Describe the risk for a home and the remedy; None if there is no risk."""
    tree = tree_around(home)
    if tree is None:
        return None
    return (
        f"the home {home} lies in {tree}, where `git clean -dx` deletes it with all labels: "
        "set AGAR_HOME to a folder outside, or run `agar backup` often"
    )


def warn_of_place(home: Path) -> None:
    """Warn once, when the home is created."""
    if words := place_words(home):
        warnings.warn(words, HomePlaceWarning, stacklevel=2)
