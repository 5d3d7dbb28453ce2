"""Small exports in the shape of annotation tools: what each writes around the boxes, and the names it gives its files.

All of them hold `TRUTH`, the boxes of two classes on photos of 100×80 pixels, as far as the tool's format can say it.
Shapes are taken from the tools' own exporters; an entry that a tool adds is there although no reader needs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from agar_pipeline.fiftyone_io.annotation_files.annotated_images import Format
from tests.fiftyone_io.annotation_files.test_import_formats import photo

CLASSES = ["E.coli", "S. aureus"]
TRUTH: dict[str, list[tuple[str, list[float]]]] = {
    "1": [("E.coli", [10, 10, 20, 10]), ("S. aureus", [50, 40, 10, 20])],
    "2": [("E.coli", [30, 20, 16, 16])],
}
"""Photo, without suffix → its boxes in pixels. A third photo, `3`, was looked at, and there is nothing on it."""
Places = tuple[Path, Path | None]
"""What `--images-dir` and `--annotations` are given."""


class Export(NamedTuple):
    """One way out of one tool."""

    tool: str
    what: str
    """The format, as the tool's menu calls it."""
    format: Format
    """The reader that takes it."""
    make: Callable[[Path], Places]
    without: tuple[str, ...] = ()
    """Photos that it says nothing of."""
    prefix: str = ""
    """Of the photos' names."""

    def stem_of(self, name: str) -> str:
        """The photo of `TRUTH` that a name stands for."""
        return Path(name).name.removeprefix(self.prefix)[0]


class OwnFormat(NamedTuple):
    """A tool's own format, which is refused."""

    tool: str
    what: str
    format: Format
    make: Callable[[Path], Places]
    words: tuple[str, ...]
    """That the refusal must hold."""


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def photos(folder: Path, name: str = "{}.jpg", stems: str = "123") -> Path:
    for stem in stems:
        photo(folder / name.format(stem))
    return folder


def coco(
    name: str = "{}.jpg",
    *,
    first: int = 1,
    root: bool = False,
    image: dict[str, Any] | None = None,
    box: dict[str, Any] | None = None,
    stems: str = "123",
    **more: Any,
) -> dict[str, Any]:
    """A COCO file.

    Args:
        name: Of photos.
        first: The first category's id.
        root: Whether there is a category above all others, as Roboflow has it.
        image: What each image has besides.
        box: What each box has besides.
        stems: The photos.
        more: What the file has besides.
    """
    categories = [{"id": first + i, "name": label, "supercategory": ""} for i, label in enumerate(CLASSES)]
    if root:
        for category in categories:
            category |= {"id": int(str(category["id"])) + 1, "supercategory": "colonies"}
        categories.insert(0, {"id": first, "name": "colonies", "supercategory": "none"})
    ids = {category["name"]: category["id"] for category in categories}
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, stem in enumerate(stems, start=first):
        images.append({"id": number, "width": 100, "height": 80, "file_name": name.format(stem), **(image or {})})
        for label, xywh in TRUTH.get(stem, []):
            area = {"area": xywh[2] * xywh[3], "segmentation": [], "iscrowd": 0}
            annotations.append(
                {"id": len(annotations) + first, "image_id": number, "category_id": ids[label], "bbox": xywh}
                | area
                | (box or {})
            )
    return {"images": images, "categories": categories, "annotations": annotations, **more}


def voc(folder: Path, stems: str = "123", head: str = "", inside: str = "", name: str = "{}.jpg") -> None:
    """An XML file per photo: `head` before the objects, `inside` each of them."""
    for stem in stems:
        objects = "".join(
            f"<object><name>{label}</name><pose>Unspecified</pose>{inside}<bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            for label, (x, y, w, h) in TRUTH.get(stem, [])
        )
        file = name.format(stem)
        write(
            (folder / file).with_suffix(".xml"),
            f"<annotation><folder/><filename>{file}</filename>{head}<size><width>100</width><height>80</height>"
            f"<depth>3</depth></size><segmented>0</segmented>{objects}</annotation>",
        )


def yolo(folder: Path, stems: str = "123", name: str = "{}.txt") -> None:
    for stem in stems:
        rows = [
            f"{CLASSES.index(label)} {(x + w / 2) / 100:.6f} {(y + h / 2) / 80:.6f} {w / 100:.6f} {h / 80:.6f}"
            for label, (x, y, w, h) in TRUTH.get(stem, [])
        ]
        write(folder / name.format(stem), "\n".join(rows))


# CVAT


def cvat_coco(folder: Path) -> Places:
    file = coco(
        image={"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0},
        box={"attributes": {"occluded": False, "rotation": 0.0, "id": 7, "category_id": "0", "gram": "negative"}},
        licenses=[{"name": "", "id": 0, "url": ""}],
        info={"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
    )
    # drawn upright about the same centre and turned by a right angle: the box stands, it does not lie
    file["annotations"][0] |= {"bbox": [15, 5, 10, 20], "attributes": {"occluded": True, "rotation": 90.0}}
    return photos(folder / "images" / "default"), write(folder / "annotations" / "instances_default.json", file)


def cvat_voc(folder: Path) -> Places:
    photos(folder / "JPEGImages")
    attribute = "<attributes><attribute><name>rotation</name><value>0.0</value></attribute></attributes>"
    inside = f"<truncated>0</truncated><occluded>0</occluded><difficult>0</difficult>{attribute}"
    voc(folder / "Annotations", inside=inside)
    write(folder / "ImageSets" / "Main" / "default.txt", "1\n2\n3\n")
    write(folder / "labelmap.txt", "# label:color_rgb:parts:actions\nE.coli:170,240,209::\n")
    return folder, None


def cvat_yolo(folder: Path) -> Places:
    photos(folder / "obj_train_data")
    yolo(folder / "obj_train_data")
    write(folder / "obj.names", "\n".join(CLASSES) + "\n")
    write(folder / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    write(folder / "train.txt", "".join(f"data/obj_train_data/{stem}.jpg\n" for stem in "123"))
    return folder, None


def cvat_ultralytics(folder: Path) -> Places:
    photos(folder / "images" / "train")
    yolo(folder / "labels" / "train", "12")
    write(folder / "data.yaml", "names:\n  0: E.coli\n  1: S. aureus\npath: .\ntrain: train.txt\n")
    write(folder / "train.txt", "".join(f"data/images/train/{stem}.jpg\n" for stem in "123"))
    return folder, None


def cvat_xml(folder: Path) -> Places:
    box = '<box label="E.coli" source="manual" occluded="0" xtl="10.0" ytl="10.0" xbr="30.0" ybr="20.0" z_order="0"/>'
    image = f'<image id="0" name="1.jpg" width="100" height="80">{box}</image>'
    return photos(folder / "images"), write(
        folder / "annotations.xml", f"<annotations><version>1.1</version><meta/>{image}</annotations>"
    ).parent


def datumaro(folder: Path) -> Places:
    categories = {"label": {"labels": [{"name": "E.coli", "parent": ""}], "attributes": []}}
    items = [{"id": "1", "annotations": [], "attr": {"frame": 0}, "image": {"path": "1.jpg", "size": [80, 100]}}]
    return photos(folder), write(folder / "default.json", {"info": {}, "categories": categories, "items": items})


# Label Studio

PREFIX = "90fbb0c7-"


def label_studio_coco(folder: Path) -> Places:
    photos(folder / "images", f"{PREFIX}{{}}.jpg")
    info = {"year": 2026, "version": "1.0", "contributor": "Label Studio"}
    write(folder / "result.json", coco(f"images/{PREFIX}{{}}.jpg", first=0, box={"ignore": 0}, info=info))
    return folder, None


def label_studio_yolo(folder: Path) -> Places:
    """A task without boxes has an empty text file, whether it was looked at or not."""
    photos(folder / "images", f"{PREFIX}{{}}.jpg")
    yolo(folder / "labels", name=f"{PREFIX}{{}}.txt")
    write(folder / "classes.txt", "\n".join(CLASSES) + "\n")
    write(folder / "notes.json", {"categories": [{"id": 0, "name": "E.coli"}], "info": {"contributor": "Label Studio"}})
    return folder, None


def label_studio_voc(folder: Path) -> Places:
    """A task without boxes has no file, whether it was looked at or not."""
    head = "<source><database>MyDatabase</database></source><owner><flickrid>NULL</flickrid></owner>"
    inside = "<truncated>0</truncated><difficult>0</difficult>"
    voc(folder / "Annotations", "12", head=head, inside=inside, name=f"{PREFIX}{{}}.jpg")
    photos(folder / "images", f"{PREFIX}{{}}.jpg")
    return folder, None


def label_studio_json(folder: Path) -> Places:
    value = {"x": 10, "y": 12.5, "width": 20, "height": 12.5, "rotation": 0, "rectanglelabels": ["E.coli"]}
    result = {"type": "rectanglelabels", "value": value, "original_width": 100, "original_height": 80}
    task = {"id": 1, "annotations": [{"id": 1001, "result": [result], "was_cancelled": False}], "predictions": []}
    tasks = [{**task, "data": {"image": f"/data/upload/1/{PREFIX}1.jpg"}}]
    return photos(folder), write(folder / "project-1-at-2026-11-27.json", tasks)


def label_studio_json_min(folder: Path) -> Places:
    label = [{"x": 10, "y": 12.5, "width": 20, "height": 12.5, "rotation": 0, "rectanglelabels": ["E.coli"]}]
    task = {"image": f"/data/upload/1/{PREFIX}1.jpg", "id": 1, "label": label, "annotator": 1, "annotation_id": 1}
    return photos(folder), write(folder / "project-1-at-2026-11-27.json", [task])


# Roboflow

HASHED = "{}_jpg.rf.79a28071be7ca7c93095c750f93f929d"


def roboflow_coco(folder: Path) -> Places:
    """A folder and a file for each part; ids begin anew in each, and the project's name is the first category."""
    info = {"year": "2026", "version": "1", "description": "Exported from roboflow.com", "contributor": ""}
    image = {"license": 1, "date_captured": "2026-04-03T14:35:24+00:00", "extra": {"name": "1.jpg"}}
    for part, stems in (("train", "12"), ("valid", "3")):
        photos(folder / part, f"{HASHED}.jpg", stems)
        file = coco(f"{HASHED}.jpg", first=0, root=True, image=image, stems=stems, info=info, licenses=[])
        write(folder / part / "_annotations.coco.json", file)
    write(folder / "README.roboflow.txt", "colonies - v1\n")
    return folder, None


def roboflow_voc(folder: Path) -> Places:
    photos(folder / "train", f"{HASHED}.jpg")
    inside = "<truncated>0</truncated><difficult>0</difficult><occluded>0</occluded>"
    voc(
        folder / "train", head="<source><database>roboflow.com</database></source>", inside=inside, name=f"{HASHED}.jpg"
    )
    write(folder / "README.dataset.txt", "colonies\n")
    return folder / "train", None


def roboflow_yolo(folder: Path) -> Places:
    photos(folder / "train" / "images", f"{HASHED}.jpg")
    yolo(folder / "train" / "labels", name=f"{HASHED}.txt")
    parts = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    write(folder / "data.yaml", f"{parts}\nnc: 2\nnames: ['E.coli', 'S. aureus']\n\nroboflow:\n  version: 1\n")
    write(folder / "README.dataset.txt", "colonies\n")
    return folder, None


def roboflow_darknet(folder: Path) -> Places:
    photos(folder / "train", f"{HASHED}.jpg")
    yolo(folder / "train", name=f"{HASHED}.txt")
    write(folder / "train" / "_darknet.labels", "\n".join(CLASSES))
    return folder / "train", None


def create_ml(folder: Path) -> Places:
    place = {"x": 20, "y": 15, "width": 20, "height": 10}
    rows = [{"image": "1.jpg", "annotations": [{"label": "E.coli", "coordinates": place}]}]
    return photos(folder), write(folder / "_annotations.createml.json", rows)


# labelme


def labelme(folder: Path) -> Places:
    photos(folder)
    for stem in "123":
        shapes: list[dict[str, Any]] = [
            {
                "label": label,
                "points": [[x + w, y + h], [x, y]],
                "group_id": None,
                "shape_type": "rectangle",
                "flags": {},
            }
            for label, (x, y, w, h) in TRUTH.get(stem, [])
        ]
        if stem == "2":  # a colony is most often drawn as a circle: its centre, and a point on its edge
            shapes[0] |= {"shape_type": "circle", "points": [[38, 28], [46, 28]], "flags": {"merged": True}}
        plain: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"{stem}.jpg",
            "imageData": None,
        }
        write(folder / f"{stem}.json", {**plain, "imageHeight": 80, "imageWidth": 100})
    return folder, None


# VIA


def via_coco(folder: Path) -> Places:
    file = coco(image={"license": 0, "flickr_url": "1.jpg", "coco_url": "1.jpg", "date_captured": ""})
    for annotation in file["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    info = {
        "year": 2026,
        "version": "1.0",
        "description": "VIA project exported to COCO format using VGG Image Annotator",
    }
    return photos(folder), write(folder / "via_project_coco.json", {**file, "info": info})


def via_coco_with_text_ids(folder: Path) -> Places:
    """As its versions up to 2.0.8 wrote it."""
    images_dir, path = via_coco(folder)
    assert path is not None
    plain = json.loads(path.read_text())
    for image in plain["images"]:
        image["id"] = str(image["id"] - 1)
    for annotation in plain["annotations"]:
        annotation["image_id"] = str(annotation["image_id"] - 1)
    return images_dir, write(path, plain)


def via_json(folder: Path) -> Places:
    shape = {"name": "rect", "x": 10, "y": 10, "width": 20, "height": 10}
    regions = [{"shape_attributes": shape, "region_attributes": {"class": "E.coli"}}]
    image = {"filename": "1.jpg", "size": 4711, "regions": regions, "file_attributes": {}}
    return photos(folder), write(folder / "via_region_data.json", {"1.jpg4711": image})


def via_project(folder: Path) -> Places:
    _, path = via_json(folder)
    assert path is not None
    project = {"_via_settings": {}, "_via_img_metadata": json.loads(path.read_text()), "_via_attributes": {}}
    return folder, write(path, project)


def via_csv(folder: Path) -> Places:
    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    return photos(folder), write(folder / "via_region_data.csv", f'{header}1.jpg,4711,"{{}}",0,0,"{{}}","{{}}"\n')


# VoTT


def vott_voc(folder: Path) -> Places:
    export = folder / "plates-PascalVOC-export"
    photos(export / "JPEGImages")
    voc(export / "Annotations", head="<path>plates-PascalVOC-export/Annotations/1.jpg</path>")
    write(export / "pascal_label_map.pbtxt", "item {\n id: 1\n name: 'E.coli'\n}\n")
    write(export / "ImageSets" / "Main" / "E.coli_train.txt", "1.jpg 1\n2.jpg 1\n3.jpg -1")
    return export, None


def vott_json(folder: Path) -> Places:
    asset = {"format": "jpg", "id": "a1", "name": "1.jpg", "path": "file:1.jpg", "size": {"width": 100, "height": 80}}
    place = {"height": 10, "width": 20, "left": 10, "top": 10}
    regions = [{"id": "r", "type": "RECTANGLE", "tags": ["E.coli"], "boundingBox": place, "points": []}]
    project = {"name": "plates", "tags": [{"name": "E.coli", "color": "#5db300"}], "version": "2.2.0"}
    assets = {"a1": {"asset": asset, "regions": regions, "version": "2.2.0"}}
    return photos(folder), write(folder / "plates-export.json", {**project, "assets": assets})


def vott_csv(folder: Path) -> Places:
    rows = '"image","xmin","ymin","xmax","ymax","label"\n"1.jpg",10.0,10.0,30.0,20.0,"E.coli"\n'
    return photos(folder), write(folder / "plates-export.csv", rows)


# Supervisely


def supervisely_coco(folder: Path) -> Places:
    image = {"license": "None", "url": "None", "date_captured": "2026-01-01T00:00:00.000Z"}
    return photos(folder / "images"), write(folder / "annotations" / "instances.json", coco(image=image))


def supervisely_json(folder: Path) -> Places:
    points = {"exterior": [[10, 10], [30, 20]], "interior": []}
    shape = {"id": 1, "classId": 2, "geometryType": "rectangle", "tags": [], "classTitle": "E.coli", "points": points}
    plain = {"description": "", "tags": [], "size": {"height": 80, "width": 100}, "objects": [shape]}
    return photos(folder / "img"), write(folder / "ann" / "1.jpg.json", plain)


# Darwin (V7)


def darwin_coco(folder: Path) -> Places:
    """Ids are checksums of names, of 32 bits."""
    image = {"license": 0, "coco_url": "n/a", "date_captured": "", "darwin_url": "n/a", "tag_ids": []}
    file = coco(image=image, box={"extra": {"instance_id": 4}}, tag_categories=[])
    of_images = {each["id"]: crc32(f"/{each['file_name']}".encode()) for each in file["images"]}
    of_classes = {each["id"]: crc32(each["name"].encode()) for each in file["categories"]}
    for entry in file["images"]:
        entry["id"] = of_images[entry["id"]]
    for entry in file["categories"]:
        entry |= {"id": of_classes[entry["id"]], "supercategory": "root"}
    for entry in file["annotations"]:
        entry |= {"image_id": of_images[entry["image_id"]], "category_id": of_classes[entry["category_id"]]}
    return photos(folder / "images"), write(folder / "output.json", file)


def darwin_voc(folder: Path) -> Places:
    head = "<path>images/1.jpg</path><source><database>darwin</database></source>"
    voc(folder, head=head, inside="<truncated>0</truncated><difficult>0</difficult>")
    return photos(folder / "images"), folder


def darwin_yolo(folder: Path) -> Places:
    yolo(folder / "annotations")
    write(folder / "annotations" / "darknet.labels", "\n".join(CLASSES) + "\n")
    return photos(folder / "images"), folder / "annotations"


def darwin_json(folder: Path) -> Places:
    item = {"name": "1.jpg", "path": "/", "slots": [{"type": "image", "slot_name": "0", "width": 100, "height": 80}]}
    box = {"id": "b", "name": "E.coli", "bounding_box": {"h": 10, "w": 20, "x": 10, "y": 10}, "slot_names": ["0"]}
    plain = {"version": "2.0", "schema_ref": "schema.json", "item": item, "annotations": [box]}
    return photos(folder), write(folder / "1.json", plain)


# makesense


def makesense_yolo(folder: Path) -> Places:
    """Without the names of its classes, which the tool does not write: here as its list of labels, saved by hand."""
    yolo(folder, "12")
    return photos(folder), write(folder / "names.txt", "\n".join(CLASSES))


def makesense_voc(folder: Path) -> Places:
    voc(folder, "12", inside="<truncated>Unspecified</truncated><difficult>Unspecified</difficult>")
    return photos(folder), None


def makesense_coco(folder: Path) -> Places:
    """Of polygons only; photos without one are not listed."""
    file = coco(stems="12", info={"description": "my-project-name"})
    for annotation in file["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return photos(folder), write(folder / "labels_my-project-name.json", file)


def makesense_csv(folder: Path) -> Places:
    return photos(folder), write(folder / "labels_my-project-name.csv", "E.coli,10,10,20,10,1.jpg,100,80\n")


# FiftyOne


def fiftyone_coco(folder: Path) -> Places:
    file = coco(info={"year": "", "version": ""}, box={"supercategory": "", "score": None, "drawn_rotation": 90.0})
    return photos(folder / "data"), write(folder / "labels.json", file)


def fiftyone_voc(folder: Path) -> Places:
    voc(folder / "labels", head="<path>/somewhere/else/1.jpg</path>", inside="<difficult/>")
    photos(folder / "data")
    return folder, None


def fiftyone_yolo(folder: Path) -> Places:
    photos(folder / "images" / "val")
    yolo(folder / "labels" / "val")
    write(folder / "dataset.yaml", "names:\n  0: E.coli\n  1: S. aureus\npath: /somewhere/else\nval: ./images/val/\n")
    return folder, None


def fiftyone_dataset(folder: Path) -> Places:
    sample = {"filepath": "data/1.jpg", "ground_truth": {"_cls": "Detections", "detections": []}}
    return photos(folder / "data"), write(folder / "samples.json", {"samples": [sample]})


def fiftyone_labels(folder: Path) -> Places:
    labels = {"1": [{"label": "E.coli", "bounding_box": [0.1, 0.125, 0.2, 0.125]}]}
    return photos(folder / "data"), write(folder / "labels.json", {"classes": None, "labels": labels})


# Tools of a microscopy lab


def qupath_geojson(folder: Path) -> Places:
    corners = [[10, 10], [30, 10], [30, 20], [10, 20], [10, 10]]
    named = {"objectType": "annotation", "classification": {"name": "E.coli", "color": [200, 0, 0]}}
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [corners]}, "properties": named}
    return photos(folder), write(folder / "1.json", {"type": "FeatureCollection", "features": [feature]})


def imagej_results(folder: Path) -> Places:
    return photos(folder), write(folder / "Results.csv", " ,Label,Area,BX,BY,Width,Height\n1,1.jpg,200,10,10,20,10\n")


READ = [
    Export("CVAT", "COCO 1.0", "coco", cvat_coco),
    Export("CVAT", "PASCAL VOC 1.1", "voc", cvat_voc),
    Export("CVAT", "YOLO 1.1", "yolo", cvat_yolo),
    Export("CVAT", "Ultralytics YOLO Detection 1.0", "yolo", cvat_ultralytics, ("3",)),
    Export("Label Studio", "COCO", "coco", label_studio_coco, prefix=PREFIX),
    Export("Label Studio", "YOLO", "yolo", label_studio_yolo, prefix=PREFIX),
    Export("Label Studio", "Pascal VOC XML", "voc", label_studio_voc, ("3",), PREFIX),
    Export("Roboflow", "COCO", "coco", roboflow_coco),
    Export("Roboflow", "Pascal VOC", "voc", roboflow_voc),
    Export("Roboflow", "YOLOv8", "yolo", roboflow_yolo),
    Export("Roboflow", "YOLO Darknet", "yolo", roboflow_darknet),
    Export("labelme", "JSON", "labelme", labelme),
    Export("VIA", "COCO", "coco", via_coco),
    Export("VIA", "COCO of 2.0.8 and before", "coco", via_coco_with_text_ids),
    Export("VoTT", "Pascal VOC", "voc", vott_voc),
    Export("Supervisely", "COCO", "coco", supervisely_coco),
    Export("Darwin (V7)", "COCO", "coco", darwin_coco),
    Export("Darwin (V7)", "Pascal VOC", "voc", darwin_voc),
    Export("Darwin (V7)", "YOLO", "yolo", darwin_yolo),
    Export("makesense", "YOLO", "yolo", makesense_yolo, ("3",)),
    Export("makesense", "VOC XML", "voc", makesense_voc, ("3",)),
    Export("makesense", "COCO", "coco", makesense_coco, ("3",)),
    Export("FiftyOne", "COCODetectionDataset", "coco", fiftyone_coco),
    Export("FiftyOne", "VOCDetectionDataset", "voc", fiftyone_voc),
    Export("FiftyOne", "YOLOv5Dataset", "yolo", fiftyone_yolo),
]
REFUSED = [
    OwnFormat("CVAT", "CVAT for images 1.1", "voc", cvat_xml, ("CVAT", "COCO 1.0")),
    OwnFormat("CVAT", "Datumaro 1.0", "coco", datumaro, ("Datumaro", "COCO 1.0")),
    OwnFormat("Label Studio", "JSON", "coco", label_studio_json, ("Label Studio", "as COCO")),
    OwnFormat("Label Studio", "JSON-MIN", "coco", label_studio_json_min, ("Label Studio", "as COCO")),
    OwnFormat("Roboflow", "CreateML JSON", "coco", create_ml, ("CreateML", "as COCO")),
    OwnFormat("VIA", "JSON", "coco", via_json, ("VIA", "as COCO")),
    OwnFormat("VIA", "project", "coco", via_project, ("VIA", "as COCO")),
    OwnFormat("VIA", "CSV", "coco", via_csv, ("VIA", "table")),
    OwnFormat("VoTT", "VoTT JSON", "coco", vott_json, ("VoTT", "Pascal VOC")),
    OwnFormat("VoTT", "CSV", "coco", vott_csv, ("VoTT", "table")),
    OwnFormat("Supervisely", "Supervisely JSON", "coco", supervisely_json, ("Supervisely", "Export to COCO")),
    OwnFormat("Darwin (V7)", "Darwin JSON", "coco", darwin_json, ("Darwin", "darwin convert coco")),
    OwnFormat("makesense", "CSV", "coco", makesense_csv, ("table", "COCO")),
    OwnFormat("FiftyOne", "FiftyOneDataset", "coco", fiftyone_dataset, ("FiftyOne", "snapshot.dataset")),
    OwnFormat("FiftyOne", "FiftyOneImageDetectionDataset", "coco", fiftyone_labels, ("FiftyOne", "snapshot.dataset")),
    OwnFormat("QuPath", "GeoJSON", "coco", qupath_geojson, ("GeoJSON", "COCO")),
    OwnFormat("ImageJ", "Results.csv", "coco", imagej_results, ("ImageJ", "table")),
]
