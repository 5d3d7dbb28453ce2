"""Real plates and blood smears, imported, split, cached and validated: exactly the defects that they have."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agar_pipeline.artifacts import BboxReport, CocoCache, Split
from agar_pipeline.store import Key, Store
from tests.conftest import copy_configs, runner


def count_colonies(folder: Path) -> dict[str, Any]:
    """Counted from the annotations by themselves."""
    plates = [json.loads(path.read_text())["labels"] for path in folder.glob("*.json")]
    sides = [min(label["width"], label["height"]) for labels in plates for label in labels]
    return {
        "images": len(plates),
        "annotations": len(sides),
        "degenerate_box": sum(side <= 0 for side in sides),
        "small_box": sum(0 < side < 2 for side in sides),
        "empty": sum(not labels for labels in plates),
        "most": max(map(len, plates)),
        "broken": {},
    }


def count_cells(folder: Path) -> dict[str, Any]:
    """Counted from the annotations by themselves."""
    sides: dict[str, list[float]] = {}
    for path in sorted((folder / "Annotations").glob("*.xml")):
        boxes = [[float(side.text or "nan") for side in box] for box in ElementTree.parse(path).iter("bndbox")]
        sides[path.stem] = [min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes]
    return {
        "images": len(sides),
        "annotations": sum(map(len, sides.values())),
        "degenerate_box": sum(side <= 0 for found in sides.values() for side in found),
        "small_box": sum(0 < side < 2 for found in sides.values() for side in found),
        "empty": sum(not found for found in sides.values()),
        "most": max(map(len, sides.values())),
        "broken": {name for name, found in sides.items() if min(found, default=1) <= 0},
    }


@pytest.mark.parametrize(
    ("name", "kind", "count", "known"),
    [
        ("colonies", "agar", count_colonies, {"images": 684, "annotations": 12_641, "degenerate_box": 1, "empty": 4}),
        ("bccd", "voc", count_cells, {"images": 364, "annotations": 4_888, "degenerate_box": 2, "empty": 0}),
    ],
    ids=["colonies, in AGAR's format", "blood cells, in Pascal VOC"],
)
def test_real_data_is_validated_with_exactly_its_defects(
    shared_data: Path, home: Path, tmp_path: Path, name: str, kind: str, count: Any, known: dict[str, int]
) -> None:
    truth = count(shared_data / name)
    assert {key: truth[key] for key in known} == known, "what the data's own README says"
    configs = copy_configs(tmp_path / "configs")
    with (configs / "pipeline" / f"{name}.yaml").open("a") as file:
        file.write("images: decode\n")
    run = runner({"AGAR_HOME": str(home), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": name})
    for command in (
        ("import", kind, "--images-dir", str(shared_data / name), "--dataset", name),
        ("run", "snapshot", "split", "coco_cache", "bbox_report"),
    ):
        done = run("agar", *command)
        assert done.returncode == 0, done.stderr
    store = Store(home)
    cache: CocoCache = store.open_latest(Key("coco_cache"))
    report: BboxReport = store.open_latest(Key("bbox_report"))
    split: Split = store.open_latest(Key("split"))
    plain, findings = report.report(), report.findings()
    assert split.table()["part"].value_counts().to_dict() == {
        "train": round(0.8 * truth["images"]),
        "val": truth["images"] - round(0.8 * truth["images"]),
    }
    assert plain["before"] == {"images": truth["images"], "annotations": truth["annotations"]}
    assert plain["annotations_dropped"] == truth["degenerate_box"], "configs/pipeline says drop_box"
    counts = {rule: entry["count"] for rule, entry in plain["findings"].items() if entry["count"]}
    expected = {rule: truth[rule] for rule in ("degenerate_box", "small_box") if truth[rule]}
    assert counts == expected, "every photo was decoded, and nothing else is wrong"
    assert plain["image_files"] == {"depth": "decode", "opened": truth["images"], "of": truth["images"]}
    assert plain["health"]["colonies_per_plate"]["empty"] == truth["empty"]
    if truth["broken"]:
        broken = findings.loc[findings["rule"] == "degenerate_box", "file_name"]
        assert {Path(file_name).stem for file_name in broken} == truth["broken"]
        assert truth["broken"] == {"BloodImage_00338", "BloodImage_00343"}
    else:
        assert plain["health"]["colonies_per_plate"]["most"] == 228
    listed = [json.loads(cache.json_path(part).read_text()) for part in cache.parts()]
    assert sum(len(file["annotations"]) for file in listed) == truth["annotations"] - truth["degenerate_box"]
    assert not pd.isna(plain["health"]["colony_sizes"]["chosen_scale"])
