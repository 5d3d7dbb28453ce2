"""Reads COCO: one JSON file for all images, or one in each part's folder; runs in a process that imports FiftyOne.

FiftyOne's importer is not used as a whole: it follows `file_name` out of the folder, keeps the last of two images with
the same id, ignores annotations of unknown images, and stops at the first broken entry. Here: finding the files, and
which of their images exist. Not here: the content of a file (`coco_content`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agar_pipeline.coco.annotation_state import is_unfinished
from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import (
    AnnotatedImage,
    ImportSource,
    Reading,
    image_metadata,
)
from agar_pipeline.fiftyone_io.annotation_files.coco_content import CocoContent
from agar_pipeline.fiftyone_io.annotation_files.file_pairs import find_photos
from agar_pipeline.fiftyone_io.annotation_files.given_parts import GivenParts, part_called
from agar_pipeline.fiftyone_io.annotation_files.turned_photos import TurnedPhotos
from agar_pipeline.photos.formats import is_hidden
from agar_pipeline.photos.name_spellings import explain_names, show_names
from agar_pipeline.progress import Progress
from agar_pipeline.text.plurals import plural

_SHOWN = 5
_OF_PART = "_annotations.coco.json"
"""Roboflow's name for the file in each part's folder."""


@dataclass(frozen=True)
class _Given:
    """A COCO file, and the folder to which its file_names are relative."""

    path: Path
    folder: str = ""
    """Folder relative to the images' folder, with a trailing slash; empty for the images' folder itself."""


def read_folder(source: ImportSource, progress: Progress) -> Reading:
    """Read the images below the images' folder that one COCO file, or one in each of its folders, lists.

    Raises:
        AnnotationError: A file is not COCO, uses an id twice, or has boxes of images that it does not list.
        DatasetError: There is no COCO file, or none of the listed images exists.
    """
    images_dir = Path(source.images_dir)
    if not images_dir.is_dir():
        raise DatasetError(
            "is not a folder", where=images_dir, next_step="give the folder that the file_names are relative to"
        )
    files = _find_given(images_dir, source.annotations)
    reading, turns = Reading(), TurnedPhotos(source.exif, "the COCO file")
    on_disk = {str(found.relative_to(images_dir)) for found in find_photos(images_dir, reading)}
    reads, seen, unfinished, unusable = [], set[str](), set[str](), list[str]()
    listed = 0
    for given in files:
        content = CocoContent(given.path)
        listed += len(content.images)
        for entry in content.images:
            written = content.name_of(entry, reading)
            if written is None:
                unusable.append(str(entry.get("file_name")))
                continue
            name = given.folder + written
            if name in seen:
                reading.add_problem(_listed_twice(given.path, name))
            elif name not in on_disk:
                reading.annotations_without_image.append(name)
            elif is_unfinished(entry):
                unfinished.add(name)
            else:
                reads.append(partial(_read_image, images_dir / name, name, entry, content, turns))
            seen.add(name)
    reading.images_without_annotation = sorted((on_disk - seen) | unfinished)
    if hint := explain_names(unusable, sorted(on_disk - seen)):
        reading.notes.append(hint)
    if not (reads or reading.problems or unfinished):
        raise _none_found(files[0].path, listed, images_dir, len(on_disk), reading)
    reading.read_each(reads, progress)
    turns.report(reading)
    reading.parts = _parts(images_dir, files, sorted(on_disk & seen))
    return reading


def _listed_twice(path: Path, name: str) -> AnnotationError:
    return AnnotationError(
        f"lists several images with the file_name {name!r}", where=path, next_step="keep one of them"
    )


def _none_found(path: Path, listed: int, images_dir: Path, on_disk: int, reading: Reading) -> DatasetError:
    names = show_names(reading.annotations_without_image, reading.images_without_annotation)
    example = f"; {names.finding}" if names.finding else ""
    return DatasetError(
        f"lists {plural(listed, 'image')}, and none of them is in {images_dir}, which holds "
        f"{plural(on_disk, 'image')}{example}",
        where=path,
        next_step=names.next_step,
    )


def _find_given(images_dir: Path, annotations: str | None) -> list[_Given]:
    if annotations is not None:
        if not Path(annotations).is_file():
            raise DatasetError(
                "is not a file", where="--annotations", value=annotations, next_step="give the path of the COCO file"
            )
        return [_Given(Path(annotations))]
    found = sorted(path for path in images_dir.glob("*.json") if not is_hidden(path.name))
    if len(found) == 1:
        return [_Given(found[0])]
    of_parts = sorted(path for path in images_dir.glob(f"*/{_OF_PART}") if not is_hidden(path.parent.name))
    if not found and of_parts:
        return [_Given(path, f"{path.parent.name}/") for path in of_parts]
    if not found and (instances := _find_instances(images_dir)):
        return instances
    names = ", ".join(path.name for path in found[:_SHOWN]) or "none"
    raise DatasetError(
        f"must hold one COCO file, or one called {_OF_PART} in each of its folders; its JSON files: {names}",
        where=images_dir,
        next_step="give the COCO file with --annotations FILE.json",
    )


def _find_instances(images_dir: Path) -> list[_Given]:
    """Find COCO's own layout: `annotations/instances_NAME.json` for photos in `NAME/`, `images/NAME/` or `images/`."""
    given = []
    for path in sorted((images_dir / "annotations").glob("instances_*.json")):
        name = path.stem.removeprefix("instances_")
        folders = [folder for folder in (name, f"images/{name}", "images") if (images_dir / folder).is_dir()]
        given.append(_Given(path, f"{folders[0]}/" if folders else ""))
    return given


def _read_image(
    path: Path, name: str, entry: dict[str, Any], content: CocoContent, turns: TurnedPhotos
) -> AnnotatedImage:
    metadata = image_metadata(path)
    stated_wh, where = (entry.get("width"), entry.get("height")), f"{content.path}: image {entry['id']} ({name})"
    found = content.boxes_of(entry, name)
    boxes_xywh = [box for _, box, _ in found]
    return AnnotatedImage(
        path=path,
        name=name,
        metadata=metadata,
        labels=[label for label, _, _ in found],
        boxes_rel_xywh=turns.place(boxes_xywh, (path, name), metadata, stated_wh, where),
        attributes=[attributes for _, _, attributes in found],
    )


def _parts(images_dir: Path, files: list[_Given], names: list[str]) -> GivenParts:
    """Return the parts of images in folders that have their own COCO file and are named after a part."""
    given = GivenParts(images_dir, names)
    for folder in {file.folder for file in files}:
        part = part_called(Path(folder).name)
        if part is not None:
            given.held.setdefault(part, set()).update(name for name in names if name.startswith(folder))
    return given
