"""Finds the parts of a YOLO data set in `data.yaml`, in darknet's `*.data`, in lists, or in the names of its folders.

The first of these sources that matches at least one image is used. Here: finding the sources. Not here: matching their
entries with images (`given_parts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agar_pipeline.errors import AnnotationError
from agar_pipeline.fiftyone_io.annotation_files.given_parts import GivenParts, part_called
from agar_pipeline.fiftyone_io.annotation_files.yolo_classes import Declared
from agar_pipeline.photos.name_spellings import without_suffix
from agar_pipeline.text.text_files import TextFileError, read_lines


def find_parts(images_dir: Path, names: Sequence[str], declared: Declared) -> GivenParts:
    """Find the parts of images, whose names are relative to `images_dir`.

    Raises:
        AnnotationError: A file that names parts cannot be read.
    """
    given = GivenParts(images_dir, names)
    if declared.path is not None:
        given.add_declared(declared.plain, declared.path)
    folders = (images_dir, images_dir.parent, images_dir.parent.parent)
    for path in (path for folder in folders for path in sorted(folder.glob("*.data")) if path.is_file()):
        if not given.held:
            given.add_declared(_read_darknet(path), path)
    if not given.held:
        stems = set(map(without_suffix, names))
        for folder in folders[:2]:
            _add_lists(given, folder, stems if folder == images_dir else set())
    if not given.held:
        given.add_folders()
    return given


def _read_darknet(path: Path) -> dict[str, str]:
    """Read the keys of a `*.data` file, with lines such as `train = data/train.txt`."""
    try:
        pairs = [line.split("=", 1) for line in read_lines(path) if "=" in line]
    except OSError as error:
        raise AnnotationError(
            f"cannot be read ({error.strerror})", where=path, next_step="correct its permissions, or remove it"
        ) from error
    except TextFileError as error:
        raise AnnotationError(**error.in_file(path, ", or remove it")) from error
    return {key.strip(): value.strip() for key, value in pairs}


def _add_lists(given: GivenParts, folder: Path, labels: set[str]) -> None:
    """Add lists such as `train.txt` or `val2017.txt`, unless they match no image or are the label file of an image."""
    for path in sorted(folder.glob("*.txt")):
        part = part_called(path.stem)
        if part is None or path.stem in labels or not path.is_file():
            continue
        alone = GivenParts(given.root, given.names)
        alone.add_lists({part: path})
        if alone.held:
            given.held.setdefault(part, set()).update(alone.held[part])
            given.unknown.setdefault(part, []).extend(alone.unknown.get(part, []))
