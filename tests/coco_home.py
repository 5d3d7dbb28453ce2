"""A home that begins at the COCO cache: a few small plates, for trainings without FiftyOne and Dagster."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from agar_pipeline.artifacts import ARTIFACTS, Artifact
from agar_pipeline.chain.nodes import pipeline_nodes
from agar_pipeline.config import load_pipeline
from agar_pipeline.plates.generate import CLASS_NAMES, generate_plates
from agar_pipeline.store import Content, Key, Store
from tests.conftest import Run, copy_configs, runner


def describe_plates(images_dir: Path, numbers: range, size_px: int) -> dict[str, Any]:
    """Generated plates as a COCO file."""
    annotations: list[dict[str, Any]] = []
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


def make_home(
    folder: Path, train: int = 8, val: int = 2, size_px: int = 96, colonies: tuple[int, int] = (3, 8)
) -> tuple[Run, Path]:
    """A home with a COCO cache of pipeline `demo` and its report, as if copied there, and a caller of commands."""
    home, images = folder / "home", folder / "images"
    generate_plates(images, train + val, size_px, 0, None, colonies)

    def write_cache(kind: type[Artifact], out_dir: Path) -> None:
        (out_dir / "coco").mkdir()
        for part, numbers in {"train": range(1, train + 1), "val": range(train + 1, train + val + 1)}.items():
            path = out_dir / "coco" / f"{part}.json"
            path.write_text(json.dumps(describe_plates(images, numbers, size_px)))
        plain = {"images_dir": str(images), "class_names": list(CLASS_NAMES)}
        (out_dir / "dataset.json").write_text(json.dumps(plain))
        write_photos(out_dir, images, train, val)
        _touch(kind, out_dir)  # training reads none of the others

    configs = copy_configs(folder / "configs")
    nodes = pipeline_nodes(load_pipeline("demo"), {})
    store, made = Store(home), dict[Key, Content]()
    for asset, write in {
        "snapshot": _touch,
        "split": _touch,
        "coco_cache": write_cache,
        "bbox_report": _report,
    }.items():
        node = nodes[Key(asset)]
        inputs = {str(key): made.get(key, Content("1", {})) for key in node.inputs}
        built = store.build(node.key, node.recorded_config, inputs, partial(write, ARTIFACTS[asset]), print).artifact
        made[node.key] = Content.of(built.manifest)
    for asset in ("snapshot", "split"):
        shutil.rmtree(store.folder(Key(asset)))
    return runner({"AGAR_HOME": str(home), "AGAR_CONFIGS": str(configs)}), home


def write_photos(out_dir: Path, images: Path, train: int, val: int) -> None:
    names = [f"{number}.jpg" for number in range(1, train + val + 1)]
    sha256 = [hashlib.sha256((images / name).read_bytes()).hexdigest() for name in names]
    table = pd.DataFrame({"part": ["train"] * train + ["val"] * val, "file_name": names, "sha256": sha256})
    table.to_parquet(out_dir / "photos.parquet", index=False)


def _touch(kind: type[Artifact], out_dir: Path) -> None:
    for name in kind.files:
        (out_dir / name).touch()


def _report(kind: type[Artifact], out_dir: Path) -> None:
    _touch(kind, out_dir)
    (out_dir / "report.json").write_text('{"ok": true}')
