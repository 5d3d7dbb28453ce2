"""Reads Pascal VOC: one XML file per image, with the image's name; the parts in `ImageSets/` become tags.

FiftyOne's importer is not used: it trusts the size in the XML file instead of the image's, and follows its `path` out
of the folder. Here: which XML file belongs to which image. Not here: its content (`voc_annotation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import (
    AnnotatedImage,
    ImportSource,
    Reading,
    image_metadata,
)
from agar_pipeline.fiftyone_io.annotation_files.file_pairs import by_stem, find_files, find_photos, pair_by_stem
from agar_pipeline.fiftyone_io.annotation_files.given_parts import GivenParts
from agar_pipeline.fiftyone_io.annotation_files.turned_photos import TurnedPhotos
from agar_pipeline.fiftyone_io.annotation_files.voc_annotation import read_voc
from agar_pipeline.photos.formats import is_photo
from agar_pipeline.progress import Progress
from agar_pipeline.text.plurals import plural

_IMAGES, _ANNOTATIONS = "JPEGImages", "Annotations"
_OTHER_LAYOUTS = (("images", _ANNOTATIONS), ("data", "labels"))
"""Folders of images and annotations in exports of Label Studio and of FiftyOne."""


def read_folder(source: ImportSource, progress: Progress) -> Reading:
    """Read the images with an XML file of the same name in `source.annotations`, in `Annotations/`, or beside them.

    Raises:
        DatasetError: No image has such a file.
    """
    images_dir = Path(source.images_dir)
    images_root, xml_root = _roots(images_dir, source.annotations)
    reading = Reading()
    images = by_stem(find_photos(images_root, reading), images_root)
    annotations = by_stem(find_files(xml_root, {".xml"}, reading), xml_root)
    pairs = pair_by_stem(images, {stem: paths[0] for stem, paths in annotations.items()}, images_dir, reading)
    if not pairs and not reading.problems:
        if len(annotations) == 1:
            read_voc(*next(iter(annotations.values())))  # raises a clear error for CVAT's single file for all images
        raise DatasetError(
            f"found {plural(len(images), 'image')} in {images_root} and {plural(len(annotations), 'XML file')} in "
            f"{xml_root}, but no image has an XML file of the same name",
            next_step=f"give a folder with {_IMAGES}/ and {_ANNOTATIONS}/, or --annotations with the folder of the XML "
            "files",
        )
    turns = TurnedPhotos(source.exif, "the XML file")
    photos: dict[str, list[Path]] = {}
    for path in (path for found in images.values() for path in found):
        photos.setdefault(path.stem.casefold(), []).append(path)
    read = partial(_read_image, images_dir=images_dir, photos=photos, turns=turns)
    reading.read_each([partial(read, image, path) for image, path in pairs], progress)
    turns.report(reading)
    reading.parts = _find_parts(images_dir, images_root, [str(image.relative_to(images_dir)) for image, _ in pairs])
    return reading


def _find_parts(images_dir: Path, images_root: Path, names: list[str]) -> GivenParts:
    """Find the parts from the lists in `ImageSets/Main/` (not `trainval`, which is both), or else from folder names."""
    given = GivenParts(images_dir, names)
    for folder in (images_root.parent / "ImageSets" / "Main", images_dir / "ImageSets" / "Main"):
        lists = {part: folder / f"{part}.txt" for part in ("train", "val", "test")}
        if not given.held:
            given.add_lists({part: path for part, path in lists.items() if path.is_file()})
    if not given.held:
        given.add_folders()
    return given


def _roots(images_dir: Path, annotations: str | None) -> tuple[Path, Path]:
    """Return the folder of the images, and the folder of XML files with the same relative names."""
    if not images_dir.is_dir():
        raise DatasetError("is not a folder", where=images_dir, next_step="give the folder that holds the images")
    images_root = images_dir / _IMAGES if (images_dir / _IMAGES).is_dir() else images_dir
    if annotations is not None:
        if not Path(annotations).is_dir():
            raise DatasetError(
                "is not a folder",
                where="--annotations",
                value=annotations,
                next_step="give the folder that holds the XML files",
            )
        return images_root, Path(annotations)
    if images_root == images_dir:
        for images, annotated in _OTHER_LAYOUTS:
            if (images_dir / images).is_dir() and (images_dir / annotated).is_dir() and not _has_photos(images_dir):
                return images_dir / images, images_dir / annotated
    nearby = [images_dir / _ANNOTATIONS]
    if images_dir.name == _IMAGES:
        nearby.append(images_dir.parent / _ANNOTATIONS)
    return images_root, next((folder for folder in nearby if folder.is_dir()), images_root)


def _has_photos(folder: Path) -> bool:
    return any(is_photo(path.name) for path in folder.iterdir())


def _read_image(
    image_path: Path, xml_path: Path, images_dir: Path, photos: Mapping[str, list[Path]], turns: TurnedPhotos
) -> AnnotatedImage:
    annotation = read_voc(xml_path)
    _require_own_name(annotation.file_name, image_path, xml_path, photos)
    name, metadata = str(image_path.relative_to(images_dir)), image_metadata(image_path)
    return AnnotatedImage(
        path=image_path,
        name=name,
        metadata=metadata,
        labels=annotation.labels,
        boxes_rel_xywh=turns.place(
            annotation.boxes_xywh, (image_path, name), metadata, annotation.stated_wh, str(xml_path)
        ),
        attributes=annotation.attributes,
    )


def _require_own_name(stated: str, image_path: Path, xml_path: Path, photos: Mapping[str, list[Path]]) -> None:
    """Refuse an XML file whose `<filename>` names another existing photo; if that does not exist, it was renamed.

    Suffix and case are ignored, because photos are converted, and other systems change the case of names.

    Raises:
        AnnotationError: The XML file's own name and its `<filename>` belong to two different photos.
    """
    written = PurePosixPath(stated)
    stems = {written.stem.casefold(), written.name.casefold()}  # a stem may contain a dot
    if not stated or (image_path.stem.casefold() in stems and not _is_elsewhere(written, image_path, photos)):
        return
    others = [path for stem in sorted(stems) for path in photos.get(stem, ())]
    if others:
        named = [path for path in others if path.as_posix().casefold().endswith(f"/{stated}".casefold())]
        nearest = next((path for path in others if path.parent == image_path.parent), others[0])
        raise AnnotationError(
            f"belongs to {image_path} by its own name, and to {(named or [nearest])[0]} by its <filename> {stated!r}",
            where=xml_path,
            next_step="look at the boxes on both photos, then rename the file or correct <filename>",
        )


def _is_elsewhere(written: PurePosixPath, image_path: Path, photos: Mapping[str, list[Path]]) -> bool:
    """Whether a name with a folder refers to a photo of the same name in another folder."""
    if len(written.parts) < 2:
        return False
    alike = [path for path in photos.get(image_path.stem.casefold(), ()) if path.parts[-2:-1] == written.parts[-2:-1]]
    return bool(alike) and image_path not in alike
