"""Recognises files in an annotation tool's own format, and says what to export there instead.

Here: recognition by keys, for readers that need another format. Not here: reading these formats
(`fiftyone_io.annotation_files`).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple


class ForeignFormat(NamedTuple):
    """A format that the current reader does not understand."""

    name: str
    """What the file is, such as `VIA's own JSON`."""
    next_step: str


AGAR = ForeignFormat(
    "an annotation of AGAR", "import the folder with `agar import agar --images-dir FOLDER --dataset NAME`"
)
_LABELME = ForeignFormat(
    "labelme's JSON", "import the folder with `agar import labelme --images-dir FOLDER --dataset NAME`"
)
_LABEL_STUDIO = ForeignFormat("Label Studio's own JSON", "export it there as COCO (Export, COCO)")
_VIA = ForeignFormat("VIA's own JSON", "export it there as COCO (Annotation, Export Annotations (COCO format))")
_VOTT = ForeignFormat("VoTT's own JSON", "export it there as Pascal VOC (Export Settings, Provider)")
_SUPERVISELY = ForeignFormat("Supervisely's own JSON", "run Supervisely's app Export to COCO on the project")
_DARWIN = ForeignFormat("V7's Darwin JSON", "convert it with `darwin convert coco FILES OUT`")
_CVAT_XML = ForeignFormat("CVAT's own XML", "export it there as COCO 1.0 (Actions, Export task dataset)")
_DATUMARO = ForeignFormat("Datumaro's own JSON", "export it from CVAT as COCO 1.0 (Actions, Export task dataset)")
_CREATE_ML = ForeignFormat("CreateML's JSON", "export the dataset as COCO or Pascal VOC")
_GEO_JSON = ForeignFormat("GeoJSON, as QuPath exports it", "export the annotations as COCO or Pascal VOC")
_RESULTS = ForeignFormat("a list of predictions", "give the file that lists the images and their boxes")
_FIFTYONE = ForeignFormat(
    "FiftyOne's own export", "name its dataset in a pipeline file (snapshot.dataset) in place of an import"
)

_COCO = {"images", "annotations"}
_OBJECTS: tuple[tuple[set[str], ForeignFormat], ...] = (
    ({"shapes", "imagePath"}, _LABELME),
    ({"_via_img_metadata"}, _VIA),
    ({"metadata", "view", "attribute"}, _VIA),
    ({"assets", "tags"}, _VOTT),
    ({"asset", "regions"}, _VOTT),
    ({"objects", "size"}, _SUPERVISELY),
    ({"item", "annotations"}, _DARWIN),
    ({"items", "categories"}, _DATUMARO),
    ({"features", "type"}, _GEO_JSON),
    ({"samples"}, _FIFTYONE),
    ({"labels", "colonies_number"}, AGAR),  # before FiftyOne's, because AGAR's files also have `classes`
    ({"classes", "labels"}, _FIFTYONE),
)
_ROWS: tuple[tuple[set[str], ForeignFormat], ...] = (
    ({"data", "annotations"}, _LABEL_STUDIO),
    ({"data", "completions"}, _LABEL_STUDIO),
    ({"annotation_id", "annotator"}, _LABEL_STUDIO),
    ({"image", "annotations"}, _CREATE_ML),
    ({"geometry", "properties"}, _GEO_JSON),
    ({"image_id", "score"}, _RESULTS),
)
_INNER = ({"filename", "regions"}, _VIA)
"""For VIA's JSON, in which the top-level keys are names of photos."""
_TABLES: tuple[tuple[set[str], str], ...] = (
    ({"filename", "region_shape_attributes"}, "VIA's table"),
    ({"image", "xmin", "label"}, "VoTT's table"),
    ({"BX", "BY"}, "ImageJ's table"),
)


def name_json(plain: Any) -> ForeignFormat | None:
    """The foreign format of a JSON file, recognised by the keys of its object or of the first object in its list.

    None for a COCO file or an unknown format.

    >>> name_json({"shapes": [], "imagePath": "1.jpg"}).name
    "labelme's JSON"
    """
    if isinstance(plain, list):
        return _find(_ROWS, next((row for row in plain if isinstance(row, dict)), {}))
    if not isinstance(plain, dict) or plain.keys() >= _COCO:
        return None
    inner = next(iter(plain.values()), None)
    return _find(_OBJECTS, plain) or (_find((_INNER,), inner) if isinstance(inner, dict) else None)


def name_xml(root: str) -> ForeignFormat | None:
    """The foreign format of an XML file, by its root element: CVAT writes one `annotations` for all images."""
    return _CVAT_XML if root == "annotations" else None


def name_table(path: Path) -> str | None:
    """Which tool's table a file is, by its columns; None if it is not a table."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return None
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline(1000)
    columns = {column.strip().strip("\"'#") for column in header.replace("\t", ",").split(",")}
    return next((table for wanted, table in _TABLES if wanted <= columns), "a table")


def _find(known: tuple[tuple[set[str], ForeignFormat], ...], keys: Collection[str]) -> ForeignFormat | None:
    return next((found for wanted, found in known if all(key in keys for key in wanted)), None)
