"""A name for a folder of the home that Dagster takes as it is.

Dagster looks for `dagster.yaml` as for a pattern, and puts the paths of its databases into addresses: a home called
`[lab]`, `50%25` or `really?` would be another one to it, in silence. Such a home has a link to its folder among the
temporary files, in a folder that is ours alone.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from agar_pipeline.files.private_files import private_folder

_READ_OTHERWISE = frozenset("*?[]%#")
"""By glob, or in an address."""


def plainly_named(folder: Path) -> Path:
    """The folder itself, or a link to it, made anew where somebody tidied the temporary files.

    Raises:
        StorageError: another user has taken the place of the link.
    """
    if not _READ_OTHERWISE.intersection(str(folder)):
        return folder
    name = f"agar-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    temporary = next(place for place in (tempfile.gettempdir(), "/tmp") if not _READ_OTHERWISE.intersection(place))
    link = private_folder(Path(temporary) / name) / folder.name
    if not link.is_symlink() or link.readlink() != folder:
        draft = link.with_name(f"{link.name}.{os.getpid()}")
        draft.symlink_to(folder, target_is_directory=True)
        draft.replace(link)
    return link
