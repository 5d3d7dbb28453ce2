"""Loads one COCO file and checks its lists, ids, links and categories; images and boxes are checked when they are read.

A file with a box that belongs to no listed image is refused, because its image would be imported without the box. Here:
the content of the file. Not here: which images exist (`coco_files`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from agar_pipeline.coco.foreign_formats import name_json, name_table
from agar_pipeline.coco.rotated_boxes import turn_of, upright_box, without_turn
from agar_pipeline.config import is_blank
from agar_pipeline.errors import AnnotationError
from agar_pipeline.fiftyone_io.annotation_files.annotated_images import Reading, finite_number, plain_attributes
from agar_pipeline.text.ids import IdError, Ids, find_boxes_elsewhere, quote, without_root
from agar_pipeline.text.text_files import TextFileError, read_json

_SHOWN = 5
Box = tuple[str, list[float], dict[str, Any]]


class CocoContent:
    """Images, class names and annotations (image id → annotations) of a COCO file."""

    def __init__(self, path: Path) -> None:
        """Load and check the file.

        Raises:
            AnnotationError: The file is not COCO, an id is used twice, or an annotation names an unlisted image.
        """
        import fiftyone.utils.coco as fouc

        self.path = path
        plain = self._load()
        self.images, annotations, categories = (
            self._entries(plain, key) for key in ("images", "annotations", "categories")
        )
        if other := find_boxes_elsewhere(plain):
            raise AnnotationError(
                f"{path} has no annotations, and boxes in {other!r}",
                next_step="call that list annotations, nothing is imported",
            )
        categories = without_root(categories, annotations)
        images, known = self._ids("images", self.images), self._ids("categories", categories)
        for entry in categories:
            if is_blank(entry.get("name")):
                raise AnnotationError(
                    f"{path}: category {entry['id']} has the name {entry.get('name')!r}", next_step="mend it"
                )
        self.class_names, _ = fouc.parse_coco_categories(categories)
        self._require_links(annotations, "image_id", images)
        self._require_links(annotations, "category_id", known, one_by_one=True)
        self.annotations: dict[Any, list[dict[str, Any]]] = {}
        for entry in annotations:
            self.annotations.setdefault(entry["image_id"], []).append(entry)

    def _load(self) -> dict[str, Any]:
        try:
            plain = read_json(self.path)
        except (OSError, TextFileError) as error:
            reason = error if isinstance(error, TextFileError) else f"cannot be read ({error.strerror})"
            if table := name_table(self.path):
                raise AnnotationError(
                    f"{self.path} is {table}, from which no boxes are read",
                    next_step="export them as COCO or Pascal VOC",
                ) from error
            raise AnnotationError(
                f"{self.path} {reason}", next_step="mend it, or give another with --annotations"
            ) from error
        if (foreign := name_json(plain)) is not None:
            raise AnnotationError(f"{self.path} is not a COCO file, {foreign}")
        if not isinstance(plain, dict):
            raise AnnotationError(
                f"{self.path} holds a {type(plain).__name__}, a COCO file is an object", next_step="give another"
            )
        return plain

    def _entries(self, plain: dict[str, Any], key: str) -> list[dict[str, Any]]:
        entries = plain.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise AnnotationError(f"{self.path} is not a COCO file: {key!r} must be a list of objects")
        return entries

    def _ids(self, key: str, entries: list[dict[str, Any]]) -> Ids:
        values = [entry.get("id") for entry in entries]
        try:
            ids = Ids(values)
        except IdError as error:
            raise AnnotationError(f"{self.path}: an id in {key!r} is {error}", next_step="mend it") from None
        twice = [str(each) for each, count in Counter(values).items() if count > 1]
        if twice:
            raise AnnotationError(
                f"{self.path}: ids used more than once in {key!r}: {', '.join(twice[:_SHOWN])}; mend it"
            )
        return ids

    def _require_links(self, annotations: list[dict[str, Any]], key: str, ids: Ids, one_by_one: bool = False) -> None:
        """Raise AnnotationError if annotations lack `key`, or name an id of the wrong kind or one that is not listed.

        With `one_by_one`, ids that are not listed are accepted here: they leave out only their own image later.
        """
        without = [entry for entry in annotations if key not in entry]
        if without:
            keys = ", ".join(map(str, without[0]))[:80]
            raise AnnotationError(
                f"{self.path}: {len(without)} of {len(annotations)} annotations have no {key}; the first has {keys}",
                next_step=f"name the key {key}, nothing is imported",
            )
        links = [entry[key] for entry in annotations]
        if wrong := ids.explain_broken(links):
            raise AnnotationError(
                f"{self.path}: an annotation has the {key} {wrong}", next_step="write both alike, nothing is imported"
            )
        lost = [] if one_by_one else [place for place, link in enumerate(links) if link not in ids.values]
        if lost:
            first = annotations[lost[0]]
            raise AnnotationError(
                f"{self.path}: {len(lost)} of {len(annotations)} annotations are of images that the file does not list; the first: annotation {first.get('id')}, {key} {quote(first[key])}",
                next_step="list the images, or take these annotations out; nothing is imported",
            )

    def name_of(self, entry: dict[str, Any], reading: Reading) -> str | None:
        """Return an image's relative path; None, with a problem added, if it is unusable or leaves the folder."""
        name = entry.get("file_name")
        if not isinstance(name, str) or not name or "\0" in name or not _is_storable(name):
            reading.problems.append(f"{self.path}: image {entry['id']} has no usable file_name: mend it")
            return None
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            reading.problems.append(
                f"{self.path}: image {entry['id']} has the file_name {name!r}, it must be relative and stay inside the "
                "images folder: mend it"
            )
            return None
        return str(PurePosixPath(name))

    def boxes_of(self, entry: dict[str, Any], name: str) -> list[Box]:
        """Return label, box in pixels and attributes of each annotation of an image."""
        return [self._box(each, name) for each in self.annotations.get(entry["id"], [])]

    def _box(self, entry: dict[str, Any], name: str) -> Box:
        """Parse one annotation with FiftyOne's parser and check its values; a rotated box becomes an upright one."""
        import fiftyone.utils.coco as fouc

        where = f"{self.path}: annotation {entry.get('id')} of {name}"
        try:
            found = fouc.COCOObject.from_anno_dict(_flat(entry))
            label, attributes = found._get_object_label_and_attributes(self.class_names, None, False)
        except (TypeError, ValueError, KeyError) as error:
            known = entry["category_id"] in self.class_names
            what = str(error) if known else f"has the category {entry['category_id']!r}, which the file does not list"
            raise AnnotationError(f"{where} {what}", next_step="mend it, the image is left out") from error
        sides = [finite_number(side) for side in found.bbox] if isinstance(found.bbox, list) else []
        box = [side for side in sides if side is not None]
        if len(box) != 4 or len(sides) != 4:
            raise AnnotationError(
                f"{where} has the bbox {str(found.bbox)[:60]}, it must be four numbers", next_step="mend it"
            )
        if found.iscrowd not in (None, 0, 1):
            raise AnnotationError(
                f"{where} has iscrowd {str(found.iscrowd)[:20]!r}, it must be 0 or 1", next_step="mend it"
            )
        kept = plain_attributes({**found.attributes, **attributes})
        if degrees := turn_of(entry):
            box, kept = upright_box(box, degrees), without_turn(kept)
        score = finite_number(found.score)
        return label, box, kept if score is None else {**kept, "confidence": score}


def _flat(entry: dict[str, Any]) -> dict[str, Any]:
    """Merge CVAT's `attributes` into the annotation; the annotation's own keys take precedence."""
    attributes = entry.get("attributes")
    own = {key: value for key, value in entry.items() if key != "attributes"}
    return {**attributes, **own} if isinstance(attributes, dict) else own


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
