"""Writes single files that a command is given by path: a page, a report, a model."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from agar_pipeline.config.places import OURS
from agar_pipeline.errors import StorageError
from agar_pipeline.files.disk import NO_LINKS
from agar_pipeline.ownership.folders import OwnFolder
from agar_pipeline.ownership.originals import Originals


@contextlib.contextmanager
def replacing_files(
    paths: Sequence[Path | None], purpose: str, originals: Originals
) -> Iterator[dict[Path | None, Path]]:
    """Yield a map from each path to where that file is written. The files are moved to their paths if no error occurs.

    Args:
        paths: None stands for a file that was not requested. A terminal or a pipe is written to directly.
        originals: Files that must not be lost, as in `OwnFolder`.

    Raises:
        StorageError: a file exists that we did not make, or that was changed since; nothing was written.
    """
    places: dict[Path | None, Path] = {}
    by_folder: dict[str, list[Path]] = {}
    for path in paths:
        if path is not None and _is_stream(path):
            places[path] = path
        elif path is not None:
            by_folder.setdefault(os.path.realpath(path.parent), []).append(path)
    folders = {folder: OwnFolder(of[0].parent, purpose, originals) for folder, of in by_folder.items()}
    for folder, of in by_folder.items():
        folders[folder].require_writable([path.name for path in of])
    with contextlib.ExitStack() as stack:
        for folder, of in by_folder.items():
            draft = stack.enter_context(folders[folder].replacing([path.name for path in of]))
            places |= {path: draft.path(path.name) for path in of}
        yield places


def create_file(path: Path, text: str) -> None:
    """Write a file that belongs to the user from then on. It appears complete, and never replaces another file.

    Raises:
        StorageError: a file of this name exists.
    """
    draft = path.with_name(f"{OURS}draft-{secrets.token_hex(4)}")
    try:
        draft.write_text(text)
        try:
            os.link(draft, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            with path.open("x") as stream:
                stream.write(text)
    except FileExistsError:
        raise StorageError(
            "exists, because somebody wrote it just now, and was not replaced; what was done before is complete",
            where=path,
            next_step="read the file: keep it, or correct it by hand",
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)
    return False
