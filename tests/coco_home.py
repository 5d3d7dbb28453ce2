"""A home that begins at the COCO cache: a few small plates, for trainings without FiftyOne and Dagster."""

from __future__ import annotations

import json
from pathlib import Path

from agar_pipeline.artifacts import ARTIFACTS, BboxReport, CocoCache
from agar_pipeline.plates import CLASS_NAMES, generate_plates
from agar_pipeline.store import Content, Key, Store
from tests.conftest import Run, copy_configs, runner


def describe_plates(images_dir: Path, numbers: range, size_px: int) -> dict:
    """Generated plates as a COCO file."""
    annotations = []
    for number in numbers:
        for label in json.loads((images_dir / f"{number}.json").read_text())["labels"]:
            bbox = [label[key] for key in ("x", "y", "width", "height")]
            category_id = CLASS_NAMES.index(label["class"]) + 1
            annotations.append({"image_id": number, "category_id": category_id, "bbox": bbox})
    return {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": size_px, "height": size_px} for n in numbers],
        "annotations": [{"id": i, **a, "area": a["bbox"][2] * a["bbox"][3]} for i, a in enumerate(annotations)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES, start=1)],
    }


def make_home(folder: Path, train: int = 8, val: int = 2, size_px: int = 96) -> tuple[Run, Path]:
    """A home with a published COCO cache and its report, and a caller of commands there."""
    home, images = folder / "home", folder / "images"
    generate_plates(images, train + val, size_px, 0, None, (3, 8))

    def write_cache(out_dir: Path) -> None:
        (out_dir / "coco").mkdir()
        for part, numbers in {"train": range(1, train + 1), "val": range(train + 1, train + val + 1)}.items():
            path = out_dir / "coco" / f"{part}.json"
            path.write_text(json.dumps(describe_plates(images, numbers, size_px)))
        plain = {"images_dir": str(images), "class_names": list(CLASS_NAMES)}
        (out_dir / "dataset.json").write_text(json.dumps(plain))
        for name in CocoCache.files:  # training reads none of the others
            (out_dir / name).touch()

    store = Store(home)
    inputs = {name: Content("1", dict.fromkeys(ARTIFACTS[name].files, "0")) for name in CocoCache.inputs}
    cache = store.build(Key("coco_cache"), {}, inputs, write_cache, print).artifact
    assert isinstance(cache, CocoCache)
    report = {"coco_cache": Content.of(cache.manifest)}
    store.build(Key("bbox_report"), {}, report, _write_report, print)
    configs = copy_configs(folder / "configs")
    return runner({"AGAR_HOME": str(home), "AGAR_CONFIGS": str(configs)}), home


def _write_report(out_dir: Path) -> None:
    for name in BboxReport.files:
        (out_dir / name).touch()
    (out_dir / "report.json").write_text('{"ok": true}')
