"""Finds the images and annotation files below a folder, and pairs those with the same name.

Files that are ignored are listed in the reading. Not here: the content of the files (`annotated_images`, and one module
for each format).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath

from agar_pipeline.errors import AnnotationError, ImageFileError, PipelineError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import Reading
from agar_pipeline.photos.folder_walk import walk_files, without_twins
from agar_pipeline.photos.formats import is_photo


def find_photos(root: Path, reading: Reading, skip: Iterable[Path] = ()) -> list[Path]:
    """List all files below `root` that look like photos, sorted, including formats that cannot be read here."""
    return without_twins(_find(root, is_photo, reading, skip), reading.passed_over)


def find_files(root: Path, suffixes: Iterable[str], reading: Reading, skip: Iterable[Path] = ()) -> list[Path]:
    """List all regular files with these suffixes below `root`, sorted.

    Links out of the folder, folders without permission and names that are not UTF-8 become problems.
    """
    wanted = frozenset(suffixes)
    return _find(root, lambda name: PurePath(name).suffix.lower() in wanted, reading, skip)


def _find(root: Path, is_wanted: Callable[[str], bool], reading: Reading, skip: Iterable[Path]) -> list[Path]:
    skipped, found = frozenset(skip), []

    def enter(folder: Path) -> bool:
        if folder in skipped:
            return False
        _refuse_linked_folder(folder, root, reading)
        return True

    def cannot_list(error: OSError) -> None:
        reading.add_problem(
            AnnotationError(
                f"cannot be listed ({error.strerror})",
                where=error.filename,
                next_step="correct the permissions of the folder",
            )
        )

    for path in walk_files(root, reading.passed_over, enter, cannot_list):
        if not is_wanted(path.name):
            continue
        try:
            _require_utf8(path)
            _require_inside(path, root)
        except PipelineError as error:
            reading.add_problem(error)
        else:
            found.append(path)
    return found


def pair_by_stem(
    images: dict[str, list[Path]], annotations: Mapping[str, Path], root: Path, reading: Reading
) -> list[tuple[Path, Path]]:
    """Pair images and annotations with the same relative name.

    Images and annotations without a partner, and annotations with several images, are listed in the reading, relative
    to `root`, the folder that the user named.
    """
    pairs = []
    for stem, paths in sorted(images.items()):
        if stem not in annotations:
            reading.images_without_annotation += [os.path.relpath(path, root) for path in paths]
        elif len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            reading.add_problem(
                AnnotationError(
                    f"may belong to {names}", where=annotations[stem], next_step="keep one image of that name"
                )
            )
        else:
            pairs.append((paths[0], annotations[stem]))
    lonely = [path for stem, path in sorted(annotations.items()) if stem not in images]
    reading.annotations_without_image += [os.path.relpath(path, root) for path in lonely]
    return pairs


def by_stem(paths: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Group files by their path relative to `root`, without suffix."""
    stems: dict[str, list[Path]] = {}
    for path in paths:
        stems.setdefault(relative_stem(path, root), []).append(path)
    return stems


def relative_stem(path: Path, root: Path) -> str:
    return str(path.relative_to(root).with_suffix(""))


def _refuse_linked_folder(path: Path, root: Path, reading: Reading) -> None:
    """Report a link to a folder outside `root` as a problem; links to folders inside `root` are redundant."""
    target = path.resolve() if path.is_symlink() else root.resolve()
    if not target.is_relative_to(root.resolve()):
        reading.add_problem(
            ImageFileError(
                f"is a link out of {root}, to the folder {target}",
                where=path,
                next_step="import that folder separately, or replace the link by a copy of it",
            )
        )


def _require_utf8(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise AnnotationError(
            "is not UTF-8, and no database can hold it", where=f"the name of {path!r}", next_step="rename the file"
        ) from None


def _require_inside(path: Path, root: Path) -> None:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            target = path.resolve(strict=True)
            if not target.is_relative_to(root.resolve()):
                raise ImageFileError(
                    f"is a link out of {root}, to {target}",
                    where=path,
                    next_step="replace the link by a copy of the file",
                )
            mode = target.stat().st_mode
    except (OSError, RuntimeError) as error:
        raise ImageFileError(
            f"cannot be reached ({error})", where=path, next_step="correct the link or its permissions, or remove it"
        ) from None
    if not stat.S_ISREG(mode):
        raise ImageFileError("is not a regular file", where=path, next_step="remove it")
