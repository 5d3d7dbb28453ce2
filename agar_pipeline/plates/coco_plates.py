"""Generated plates with a COCO file, for what needs neither FiftyOne nor an import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agar_pipeline.coco.columns import CocoColumns, read_coco
from agar_pipeline.plates.generate import CLASS_NAMES, generate_plates


def generate_coco(folder: Path, count: int, size_px: int, seed: int = 0) -> CocoColumns:
    """Write plates 1…count and `plates.json` with their boxes; the photos are in the same folder."""
    generate_plates(folder, count, size_px, seed, colonies_per_plate=(3, 12))
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        for label in json.loads((folder / f"{number}.json").read_text())["labels"]:
            box = [label[key] for key in ("x", "y", "width", "height")]
            category = CLASS_NAMES.index(label["class"]) + 1
            row = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0}
            annotations.append({**row, "bbox": box, "area": box[2] * box[3]})
    numbers = range(1, count + 1)
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": size_px, "height": size_px} for n in numbers],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES, start=1)],
    }
    path = folder / "plates.json"
    path.write_text(json.dumps(content))
    return read_coco(path)
