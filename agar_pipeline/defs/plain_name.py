"""Gives Dagster a path of the home's folder without characters that it would misread.

Dagster looks for `dagster.yaml` with glob, and puts the paths of its databases into URLs. It would silently use another
folder for a home called `[lab]`, `50%25` or `really?`. For such a home a link to its folder is created in a private
folder among the temporary files.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from agar_pipeline.files.private_files import private_folder

_TMP = "/tmp"  # noqa: S108 - a private folder of ours is made in it
_READ_OTHERWISE = frozenset("*?[]%#")
"""Characters with a meaning in glob patterns or URLs."""


def plainly_named(folder: Path) -> Path:
    """Return the folder itself or a link to it; a link that was removed from the temporary files is created again.

    Raises:
        StorageError: another user owns the place of the link.
    """
    if not _READ_OTHERWISE.intersection(str(folder)):
        return folder
    name = f"agar-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    temporary = next(place for place in (tempfile.gettempdir(), _TMP) if not _READ_OTHERWISE.intersection(place))
    link = private_folder(Path(temporary) / name) / folder.name
    if not link.is_symlink() or link.readlink() != folder:
        draft = link.with_name(f"{link.name}.{os.getpid()}")
        draft.symlink_to(folder, target_is_directory=True)
        draft.replace(link)
    return link
