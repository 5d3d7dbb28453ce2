"""Reads the declarations of a YOLO data set: the names of its class numbers, its keypoints and its task.

They are read from `data.yaml`; the names can also be in a text file with one name per line. Not here: the parts of the
split (`yolo_parts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agar_pipeline.config import is_blank
from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.photos.formats import is_hidden
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.text_files import TextFileError, read_lines, read_yaml

_LISTS = ("classes.txt", "obj.names", "*.names", "darknet.labels", "_darknet.labels")
_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_MOST_CLASSES = 10_000


@dataclass(frozen=True)
class ClassNames:
    """Class names in the order of their numbers, and the file that lists them."""

    names: list[str]
    path: Path


@dataclass(frozen=True)
class Declared:
    """Content of a `data.yaml` other than the names; empty if there is none."""

    path: Path | None = None
    plain: dict[str, Any] = field(default_factory=dict)
    keypoints: tuple[int, int] | None = None
    """Number of keypoints of a box, and numbers per keypoint: 2, or 3 with the visibility."""
    task: str | None = None

    def spell_keypoints(self) -> str:
        return f"kpt_shape {list(self.keypoints or ())} of {self.path}"


def find_class_names(images_dir: Path, annotations: Path | None, labels: Iterable[Path] = ()) -> ClassNames:
    """Find and read the names of the class numbers.

    If `annotations` is a file, it is read. Otherwise the first file is used that is in the folder `annotations`, its
    parent, the images' folder or one of the two folders above it, or in a folder of the text files `labels`, where
    labelImg writes its `classes.txt`.

    Raises:
        DatasetError: There is no such file.
        AnnotationError: The file cannot be understood, or two folders of text files name the classes differently.
    """
    if annotations is not None and not annotations.is_dir():
        if not annotations.is_file():
            raise DatasetError(
                "does not exist",
                where="--annotations",
                value=annotations,
                next_step="give data.yaml, or a folder of text files",
            )
        return _read(annotations)
    folders = [images_dir, images_dir.parent, images_dir.parent.parent]
    if annotations is not None:
        folders = [annotations, annotations.parent, *folders]
    path = next(_candidates(folders), None)
    if path is None:
        beside = {above for path in labels for above in path.parents if above == path.parent or "labels" in above.parts}
        found = [_read(path) for path in _candidates(sorted(beside))]
        for other in found[1:]:
            if other.names != found[0].names:
                raise AnnotationError(
                    "name the class numbers differently",
                    where=f"{found[0].path} and {other.path}",
                    next_step="import each folder separately, or give the right file with --annotations",
                )
        if found:
            return found[0]
        looked = ", ".join(dict.fromkeys(str(folder) for folder in folders))
        raise DatasetError(
            f"there are no names for YOLO's class numbers: none of {', '.join((*_YAMLS[:1], *_LISTS))} is in {looked}",
            next_step="add classes.txt with one name per line, the first for class 0, or give --annotations FILE",
        )
    return _read(path)


def find_declared(images_dir: Path, annotations: Path | None, names: ClassNames) -> Declared:
    """Read the declarations from the file of the names if that is YAML, or else from the first YAML file nearby.

    Raises:
        AnnotationError: The file cannot be understood.
    """
    path: Path | None = names.path
    if not _is_yaml(names.path):
        folders = [names.path.parent, images_dir, images_dir.parent, images_dir.parent.parent]
        if annotations is not None and annotations.is_dir():
            folders = [annotations, annotations.parent, *folders]
        path = next((found for found in _candidates(folders) if _is_yaml(found)), None)
    if path is None:
        return Declared()
    plain = _load(path)
    plain = plain if isinstance(plain, dict) else {}
    shape, task = plain.get("kpt_shape"), plain.get("task")
    if shape is not None and not (
        isinstance(shape, list) and [type(each) for each in shape] == [int, int] and shape[0] > 0 and shape[1] in (2, 3)
    ):
        raise AnnotationError(
            "must be [number of keypoints, 2 or 3]",
            where=f"{path}: kpt_shape",
            value=str(shape)[:40],
            next_step="write for example kpt_shape: [17, 3]",
        )
    return Declared(path, plain, None if shape is None else (shape[0], shape[1]), str(task) if task else None)


def _is_yaml(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


def _candidates(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        for pattern in (*_YAMLS, *_LISTS):
            yield from sorted(path for path in folder.glob(pattern) if path.is_file() and not is_hidden(path.name))


def _load(path: Path) -> Any:
    try:
        return read_yaml(path)
    except TextFileError as error:
        raise AnnotationError(**error.in_file(path, ", or give another file with --annotations")) from error


def _read(path: Path) -> ClassNames:
    if not _is_yaml(path):
        return ClassNames(_lines(path), path)
    plain = _load(path)
    names = plain.get("names") if isinstance(plain, dict) else None
    if isinstance(names, dict):
        numbers_fit = all(type(number) is int and 0 <= number < _MOST_CLASSES for number in names)
        names = [names.get(i, str(i)) for i in range(max(names) + 1)] if names and numbers_fit else None
    if not isinstance(names, list) or not names or not all(type(name) in (str, int, float) for name in names):
        raise AnnotationError(
            "must list the classes, or map each number to a name",
            where=f"{path}: `names`",
            next_step="write for example names: [first, second]",
        )
    count = plain.get("nc")
    if type(count) is int and count != len(names):
        raise AnnotationError(
            f"has nc: {count}, but `names` lists {plural(len(names), 'class', 'classes')}",
            where=path,
            next_step="correct the one that is wrong",
        )
    names = [str(name) for name in names]
    for number, name in enumerate(names):
        if is_blank(name):
            raise AnnotationError(
                f"has the name {name!r}, which is empty or cannot be seen",
                where=f"{path}: class {number}",
                next_step="give the class a name",
            )
    return ClassNames(names, path)


def _lines(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in read_lines(path)]
    except TextFileError as error:
        raise AnnotationError(**error.in_file(path, ", with one name of a class per line")) from error
    while names and not names[-1]:
        names.pop()
    blank = [line for line, name in enumerate(names, start=1) if is_blank(name)]
    if blank or not names:
        where = f"{path}: line {blank[0]}" if len(blank) < len(names) else path
        raise AnnotationError(
            "is empty", where=where, next_step="write the names of all classes, one per line, the first for class 0"
        )
    return names
