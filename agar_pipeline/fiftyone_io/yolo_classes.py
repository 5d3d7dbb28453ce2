"""The names of YOLO's class numbers: from `data.yaml`, or a text file with one name a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.errors import AnnotationError, DatasetError

_LISTS = ("classes.txt", "obj.names", "*.names")
_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_MOST_CLASSES = 10_000


@dataclass(frozen=True)
class ClassNames:
    """Names in the order of their numbers, and the file that says so."""

    names: list[str]
    path: Path


def find_class_names(images_dir: Path, annotations: Path | None, labels: Iterable[Path] = ()) -> ClassNames:
    """From the file given, else from the first one in the folder given, the images' folder, up to two above it, or any
    folder of the text files (`labels`), where labelImg leaves its `classes.txt`.

    Raises:
        DatasetError: there is no such file.
        AnnotationError: the file cannot be understood.
    """
    if annotations is not None and not annotations.is_dir():
        if not annotations.is_file():
            raise DatasetError(f"--annotations {annotations} does not exist: give data.yaml, or a folder of text files")
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
                    f"{found[0].path} and {other.path} name the class numbers differently: import each folder by "
                    "itself, or give the right file with --annotations"
                )
        if found:
            return found[0]
        looked = ", ".join(dict.fromkeys(str(folder) for folder in folders))
        raise DatasetError(
            f"no names for YOLO's class numbers: none of {', '.join((*_YAMLS[:1], *_LISTS))} in {looked}\n"
            "add one (a name a line, the first for class 0), or give it with --annotations"
        )
    return _read(path)


def _candidates(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        for pattern in (*_YAMLS, *_LISTS):
            yield from sorted(path for path in folder.glob(pattern) if path.is_file())


def _read(path: Path) -> ClassNames:
    import fiftyone.utils.yolo as fouy
    import yaml

    if path.suffix.lower() not in (".yaml", ".yml"):
        return ClassNames(_lines(path), path)
    try:
        plain = yaml.safe_load(path.read_text("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AnnotationError(f"{path} is not YAML ({reason}): mend it, or give another with --annotations") from error
    names = plain.get("names") if isinstance(plain, dict) else None
    if isinstance(names, dict):
        numbers_fit = all(type(number) is int and 0 <= number < _MOST_CLASSES for number in names)
        names = fouy._parse_yolo_classes(names) if names and numbers_fit else None
    if not isinstance(names, list) or not names or not all(type(name) in (str, int, float) for name in names):
        raise AnnotationError(f"{path}: `names` must list the classes, or name each number: mend it")
    return ClassNames([str(name) for name in names], path)


def _lines(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text("utf-8-sig").rstrip().split("\n")]
    except UnicodeDecodeError:
        raise AnnotationError(f"{path} is not text: give the names of the classes, one a line") from None
    if not all(names):
        where = f"line {names.index('') + 1} is" if any(names) else "it is"
        raise AnnotationError(f"{path}: {where} empty: write the names of the classes, one a line")
    return names
