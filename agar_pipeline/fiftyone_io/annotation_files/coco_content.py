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
from agar_pipeline.text.plurals import plural
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
                f"has no annotations, and boxes in {other!r}; nothing is imported",
                where=path,
                next_step="call that list annotations",
            )
        categories = without_root(categories, annotations)
        images, known = self._ids("images", self.images), self._ids("categories", categories)
        for entry in categories:
            if is_blank(entry.get("name")):
                raise AnnotationError(
                    f"has the name {entry.get('name')!r}, which is empty or not a text",
                    where=f"{path}: category {entry['id']}",
                    next_step="give the category a name",
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
        except OSError as error:
            raise AnnotationError(
                f"cannot be read ({error.strerror})",
                where=self.path,
                next_step="correct its permissions, or give another file with --annotations",
            ) from error
        except TextFileError as error:
            if table := name_table(self.path):
                raise AnnotationError(
                    f"is {table}, from which no boxes can be read",
                    where=self.path,
                    next_step="export the annotations as COCO or Pascal VOC",
                ) from error
            raise AnnotationError(**error.in_file(self.path, ", or give another file with --annotations")) from error
        if (foreign := name_json(plain)) is not None:
            raise AnnotationError(
                f"is not a COCO file, but {foreign.name}", where=self.path, next_step=foreign.next_step
            )
        if not isinstance(plain, dict):
            raise AnnotationError(
                f"is not a COCO file: it holds a {type(plain).__name__}, not an object",
                where=self.path,
                next_step="give another file with --annotations",
            )
        return plain

    def _entries(self, plain: dict[str, Any], key: str) -> list[dict[str, Any]]:
        entries = plain.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise AnnotationError(
                f"is not a COCO file: {key!r} must be a list of objects",
                where=self.path,
                next_step="export the file again as COCO",
            )
        return entries

    def _ids(self, key: str, entries: list[dict[str, Any]]) -> Ids:
        values = [entry.get("id") for entry in entries]
        try:
            ids = Ids(values)
        except IdError as error:
            raise AnnotationError(
                error.what, where=f"{self.path}: an id in {key!r}", next_step=error.next_step
            ) from None
        twice = [str(each) for each, count in Counter(values).items() if count > 1]
        if twice:
            raise AnnotationError(
                f"uses ids more than once in {key!r}: {', '.join(twice[:_SHOWN])}",
                where=self.path,
                next_step="give each entry an id of its own",
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
                f"has {len(without)} of {plural(len(annotations), 'annotation')} without {key}, the first with {keys}; "
                "nothing is imported",
                where=self.path,
                next_step=f"rename the key with this link to {key}",
            )
        links = [entry[key] for entry in annotations]
        if error := ids.explain_broken(links):
            raise AnnotationError(
                f"{error.what}; nothing is imported",
                where=f"{self.path}: the {key} of an annotation",
                next_step=error.next_step,
            )
        lost = [] if one_by_one else [place for place, link in enumerate(links) if link not in ids.values]
        if lost:
            first = annotations[lost[0]]
            raise AnnotationError(
                f"has {len(lost)} of {plural(len(annotations), 'annotation')} of images that it does not list; the "
                f"first is annotation {first.get('id')} with the {key} {quote(first[key])}; nothing is imported",
                where=self.path,
                next_step="list the images, or remove these annotations",
            )

    def name_of(self, entry: dict[str, Any], reading: Reading) -> str | None:
        """Return an image's relative path; None, with a problem added, if it is unusable or leaves the folder."""
        name = entry.get("file_name")
        if not isinstance(name, str) or not name or "\0" in name or not _is_storable(name):
            reading.add_problem(
                AnnotationError(
                    "has no usable file_name",
                    where=f"{self.path}: image {entry['id']}",
                    next_step="write the name of the photo, relative to the images folder",
                )
            )
            return None
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            reading.add_problem(
                AnnotationError(
                    f"has the file_name {name!r}, which must be relative and stay inside the images folder",
                    where=f"{self.path}: image {entry['id']}",
                    next_step="make it relative to the images folder",
                )
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
            if entry["category_id"] not in self.class_names:
                raise AnnotationError(
                    f"has the category {entry['category_id']!r}, which the file does not list; the image is left out",
                    where=where,
                    next_step="list the category, or correct the annotation",
                ) from error
            raise AnnotationError(
                f"cannot be interpreted ({error}); the image is left out",
                where=where,
                next_step="correct the annotation, or remove it",
            ) from error
        sides = [finite_number(side) for side in found.bbox] if isinstance(found.bbox, list) else []
        box = [side for side in sides if side is not None]
        if len(box) != 4 or len(sides) != 4:
            raise AnnotationError(
                f"has the bbox {str(found.bbox)[:60]}, which is not four finite numbers",
                where=where,
                next_step="write x, y, width and height in pixels, or remove the annotation",
            )
        if found.iscrowd not in (None, 0, 1):
            raise AnnotationError(
                f"has iscrowd {str(found.iscrowd)[:20]!r}, which is neither 0 nor 1",
                where=where,
                next_step="write 0 for a single object, or 1 for a region",
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
