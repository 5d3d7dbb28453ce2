"""Whether a home lies where `git clean` deletes it, with all labels, snapshots and checkpoints."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from agar_pipeline.config.places import CHECKOUT


class HomePlaceWarning(UserWarning):
    """A new home lies in a place where it may be deleted."""


def tree_around(home: Path) -> Path | None:
    """The working tree of git, or the checkout without one, that a home lies in; None where it lies in none.

    A user's own folder that is a working tree (of settings) does not count: nobody cleans that.
    """
    if home.is_relative_to(CHECKOUT):
        return CHECKOUT
    above = (folder for folder in home.parents if os.path.lexists(folder / ".git"))
    return next((folder for folder in above if str(folder) != os.path.expanduser("~")), None)  # noqa: PTH111


def place_words(home: Path) -> str | None:
    """What may happen to a home, and what to do about it; None where nothing does."""
    tree = tree_around(home)
    if tree is None:
        return None
    return (
        f"the home {home} lies in {tree}, where `git clean -dx` deletes it with all labels: "
        "set AGAR_HOME to a folder outside, or `agar backup` often"
    )


def warn_of_place(home: Path) -> None:
    """Tell whoever makes a home, once."""
    if words := place_words(home):
        warnings.warn(words, HomePlaceWarning, stacklevel=2)
