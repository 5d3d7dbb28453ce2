"""Reads AGAR's `training_lists/`, which assign plates to subsets; each list becomes a tag on the imported samples."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import AnnotatedImage, ImportSource
from agar_pipeline.fiftyone_io.annotation_files.part_tags import ListCount, Membership
from agar_pipeline.photos.folder_walk import PassedOver, walk_files
from agar_pipeline.text.text_files import TextFileError, read_json, read_lines

FOLDER = "training_lists"
_SUFFIXES = frozenset({".txt", ".csv", ".json"})


def read_membership(source: ImportSource, images: list[AnnotatedImage]) -> Membership:
    """Read the lists in `source.training_lists`, or in `training_lists/` near the images, and find their plates.

    Raises:
        DatasetError: The folder `source.training_lists` does not exist or has no list.
    """
    membership = Membership()
    places = _places(images)
    for tag, path in sorted(_find_lists(source, membership).items()):
        try:
            entries = list(dict.fromkeys(_entries(path)))
        except AnnotationError as error:
            membership.problems.append(error.in_one_line)
            continue
        count = ListCount(tag, entries=len(entries))
        membership.counts.append(count)
        for entry in entries:
            _place(entry, places, count, membership.tags)
    return membership


def _place(entry: str, places: dict[str, list[AnnotatedImage]], count: ListCount, tags: dict[str, set[str]]) -> None:
    path = PurePosixPath(entry.replace("\\", "/"))
    found = places.get(str(path)) or places.get(path.name) or []
    if len(found) != 1:
        (count.ambiguous if found else count.unknown).append(entry)
    elif found[0].uncountable:
        count.left_out.append(entry)
    else:
        count.tagged += 1
        tags.setdefault(found[0].name, set()).add(count.tag)


def _places(images: Iterable[AnnotatedImage]) -> dict[str, list[AnnotatedImage]]:
    """Map each name that a list may use to its images: relative path, else file name or stem, else AGAR's sample_id."""
    ways: list[dict[str, list[AnnotatedImage]]] = [{}, {}, {}]
    for image in images:
        path = PurePosixPath(image.name)
        sample_id = image.fields.get("agar_sample_id")
        calls = {sample_id} if sample_id else set(), {path.name, path.stem}, {str(path), str(path.with_suffix(""))}
        for way, names in zip(ways, calls, strict=True):
            for name in names:
                way.setdefault(name, []).append(image)
    return ways[0] | ways[1] | ways[2]


def _find_lists(source: ImportSource, membership: Membership) -> dict[str, Path]:
    images_dir = Path(source.images_dir)
    nearby = [images_dir / FOLDER, images_dir.parent / FOLDER]
    folder = Path(source.training_lists) if source.training_lists else next((f for f in nearby if f.is_dir()), None)
    if folder is None:
        return {}
    if not folder.is_dir():
        raise DatasetError(
            "is not a folder",
            where="--training-lists",
            value=folder,
            next_step="give the folder of AGAR's training lists",
        )
    lists: dict[str, Path] = {}
    for path in sorted(walk_files(folder, PassedOver())):
        if path.suffix.lower() not in _SUFFIXES or not path.is_file():
            continue
        if not path.stem.isprintable():
            unprintable = AnnotationError(
                "has characters that no tag can have", where=f"the name of {path!r}", next_step="rename the file"
            )
            membership.problems.append(unprintable.in_one_line)
            continue
        if path.stem in lists:
            alike = AnnotationError(
                "would give the same tag", where=f"{path} and {lists[path.stem]}", next_step="rename one of them"
            )
            membership.problems.append(alike.in_one_line)
        lists.setdefault(path.stem, path)
    if not lists and source.training_lists:
        raise DatasetError(
            "holds no .txt, .csv or .json file",
            where="--training-lists",
            value=folder,
            next_step="give the folder of AGAR's training lists",
        )
    return lists


def _entries(path: Path) -> list[str]:
    """Read ids or file names from a JSON array, or from text that is separated by line ends or commas."""
    try:
        lines = read_lines(path)
        is_json = path.suffix.lower() == ".json" or "".join(lines).lstrip().startswith("[")
        listed = read_json(path) if is_json else None
    except TextFileError as error:
        raise AnnotationError(**error.in_file(path, ", or remove it from the training lists")) from error
    except OSError as error:
        raise AnnotationError(
            f"cannot be read ({error.strerror})", where=path, next_step="correct its permissions, or remove it"
        ) from error
    if not is_json:
        return [word.strip().strip("\"'") for line in lines for word in line.split(",") if word.strip()]
    if not isinstance(listed, list) or not all(type(entry) in (int, str) for entry in listed):
        raise AnnotationError(
            "is not a JSON array of ids or file names", where=path, next_step="correct it, or remove it"
        )
    return [str(entry).strip() for entry in listed]
