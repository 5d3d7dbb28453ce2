"""Pascal VOC: one XML file per image, read by FiftyOne's own parser. Runs where FiftyOne may be imported.

FiftyOne's importer is not used as a whole: it cuts coordinates to whole pixels, believes the size in the XML rather
than the image's, and follows the `path` in it out of the folder.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from agar_pipeline.detection.image_paths import IMAGE_SUFFIXES
from agar_pipeline.errors import AnnotationError, DatasetError
from agar_pipeline.fiftyone_io.annotated import (
    AnnotatedImage,
    ImportSource,
    Progress,
    Reading,
    finite_number,
    image_metadata,
    pixels_to_shares,
    plain_attributes,
    require_size,
)
from agar_pipeline.fiftyone_io.file_pairs import by_stem, find_files, pair_by_stem

_IMAGES, _ANNOTATIONS = "JPEGImages", "Annotations"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_folder(source: ImportSource, progress: Progress) -> Reading:
    """Images with an XML file of their name in VOC's `Annotations/`, in a folder given, or beside them.

    Raises:
        DatasetError: no image has one.
    """
    images_dir = Path(source.images_dir)
    images_root, xml_root = _roots(images_dir, source.annotations)
    reading = Reading()
    images = by_stem(find_files(images_root, IMAGE_SUFFIXES, reading), images_root)
    annotations = by_stem(find_files(xml_root, {".xml"}, reading), xml_root)
    pairs = pair_by_stem(images, {stem: paths[0] for stem, paths in annotations.items()}, images_dir, reading)
    if not pairs and not reading.problems:
        raise DatasetError(
            f"{len(images)} images in {images_root} and {len(annotations)} XML files in {xml_root}, but no image with "
            "an XML file of its name\n"
            f"give a folder with {_IMAGES}/ and {_ANNOTATIONS}/, or --annotations with the folder of the XML files"
        )
    reading.read_each([partial(_read_image, image, path, images_dir) for image, path in pairs], progress)
    return reading


def _roots(images_dir: Path, annotations: str | None) -> tuple[Path, Path]:
    """Where images are, and where XML files of the same relative names are."""
    if not images_dir.is_dir():
        raise DatasetError(f"{images_dir} is not a folder: give the folder that holds the images")
    images_root = images_dir / _IMAGES if (images_dir / _IMAGES).is_dir() else images_dir
    if annotations is not None:
        if not Path(annotations).is_dir():
            raise DatasetError(f"--annotations {annotations} is not a folder: give the folder that holds the XML files")
        return images_root, Path(annotations)
    nearby = [images_dir / _ANNOTATIONS]
    if images_dir.name == _IMAGES:
        nearby.append(images_dir.parent / _ANNOTATIONS)
    return images_root, next((folder for folder in nearby if folder.is_dir()), images_root)


def _read_image(image_path: Path, xml_path: Path, images_dir: Path) -> AnnotatedImage:
    annotation, corners = _parse(xml_path)
    metadata = image_metadata(image_path)
    stated = annotation.metadata
    if stated is not None:
        require_size((stated.width, stated.height), metadata, str(xml_path))
    boxes_xywh = [[left, top, right - left, bottom - top] for left, top, right, bottom in corners]
    return AnnotatedImage(
        path=image_path,
        name=str(image_path.relative_to(images_dir)),
        metadata=metadata,
        labels=[each.name for each in annotation.objects],
        boxes_rel_xywh=pixels_to_shares(boxes_xywh, metadata),
        attributes=[plain_attributes(each.attributes) for each in annotation.objects],
    )


def _parse(path: Path) -> tuple[Any, list[list[float]]]:
    """FiftyOne's `VOCAnnotation`, and the corners of its objects as written, in pixels."""
    import fiftyone.core.utils as fou
    import fiftyone.utils.voc as fouv

    try:
        plain = fou.load_xml_as_json_dict(str(path))
        annotation = fouv.VOCAnnotation.from_dict(plain)
        entries = plain["annotation"].get("object") or []
        corners = [
            [float(entry["bndbox"][corner]) for corner in _CORNERS]
            for entry in (entries if isinstance(entries, list) else [entries])
        ]
    except OSError:
        raise
    except Exception as error:  # the parsers raise whatever they stumble over
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).removeprefix("Failed to read ")
        raise AnnotationError(
            f"{path} is not a VOC annotation ({reason.splitlines()[0][:120] if reason else type(error).__name__}): "
            "mend it, or remove it with its image"
        ) from error
    for index, each in enumerate(annotation.objects):
        if not isinstance(each.name, str) or not each.name:
            raise AnnotationError(f"{path}: object {index + 1} has no name: mend the file, or remove it with its image")
        if any(finite_number(corner) is None for corner in corners[index]):
            raise AnnotationError(f"{path}: object {index + 1} has a corner that is no number: mend the file")
    return annotation, corners
