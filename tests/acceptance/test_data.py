"""Cases 16 to 35: photos, boxes, ids, classes, views and splits that are not as they should be."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agar_pipeline.coco.columns import read_coco
from agar_pipeline.commands import main
from agar_pipeline.config import SplitConfig
from agar_pipeline.detection.loading.dataset import DetectionDataset
from agar_pipeline.errors import PipelineError
from agar_pipeline.splitting.division import divide
from agar_pipeline.store import Key
from tests.acceptance.grading import Unclear, refused, right
from tests.acceptance.lab import DATA_ASSETS, PLATES, SIZE_PX, Lab, in_full

SHARES = "method: random, seed: 0, fractions: {train: 0.8, val: 0.2}"
Plain = dict[str, Any]


def agar_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in this process, which spares the seconds of another."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


class Coco:
    """A COCO file of the lab's plates and a copy of their photos, to be spoilt."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        cache = lab.open("coco_cache")
        self.photos = folder / "photos"
        self.photos.mkdir()
        self.plain: Plain = json.loads(cache.json_path("val").read_text())
        for image in self.plain["images"]:
            shutil.copy(lab.plates / image["file_name"], self.photos)
        self.path = folder / "val.json"

    @property
    def images(self) -> list[Plain]:
        return self.plain["images"]

    @property
    def annotations(self) -> list[Plain]:
        return self.plain["annotations"]

    def write(self) -> Path:
        self.path.write_text(json.dumps(self.plain))
        return self.path

    def inspect(self, *options: str) -> tuple[subprocess.CompletedProcess[str], Plain]:
        """`agar inspect-coco --check-all`, and its report."""
        report = self.path.with_name("report.json")
        report.unlink(missing_ok=True)
        files = ("--json", str(self.write()), "--images-dir", str(self.photos), "--report", str(report))
        done = agar_here("inspect-coco", *files, "--check-all", *options)
        return done, json.loads(report.read_text()) if report.exists() else {}

    def finds(self, rule: str, *words: str, count: int = 1, fails: bool = True) -> None:
        """Hold the inspection to finding just that, with ids or values, and to its exit code."""
        done, report = self.inspect()
        found = {name: entry["count"] for name, entry in report.get("findings", {}).items()}
        right(found.get(rule) == count or done.returncode != 0, f"{rule}: {found.get(rule)} of {count} found")
        if fails:
            right(done.returncode != 0, f"{rule} passes")
        listed = [str(finding) for finding in report.get("findings_listed", []) if finding["rule"] == rule]
        if not listed or not all(any(word in line for line in listed) for word in words):
            raise Unclear(f"{words} are not all in {listed or done.stderr}")

    def loads(self, index: int = 0) -> Any:
        """What training is given of an image."""
        return DetectionDataset(read_coco(self.write()), self.photos, 64)[index]


@pytest.fixture
def coco(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Coco:
    monkeypatch.setenv("AGAR_HOME", str(tmp_path / "home"))
    return Coco(lab, tmp_path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-900])


def report_of(lab: Lab) -> Plain:
    return lab.open("bbox_report").report()


@in_full
def test_case_16_a_truncated_jpeg_is_named_and_the_policy_applied(lab: Lab) -> None:
    photo = lab.plates / "3.jpg"
    content = photo.read_bytes()
    cut(photo)
    try:
        with lab.pipeline(images="decode"):
            refused(lab.call("run", *DATA_ASSETS), "unreadable_image")
            findings = lab.open("bbox_report").findings()
            right((findings["file_name"] == "3.jpg").sum() == 1, "a truncated photo is not found")
        with lab.pipeline(images="decode", box_policy="{unreadable_image: drop_image}"):
            lab.run("run", *DATA_ASSETS)
            report = report_of(lab)
            right((report["images"], report["images_dropped"]) == (PLATES - 1, 1), f"{report['images']} images")
    finally:
        photo.write_bytes(content)


def test_case_17_a_decompression_bomb_is_an_error(coco: Coco) -> None:
    name = coco.images[0]["file_name"]
    Image.new("1", (30_000, 30_000)).save(coco.photos / name, "PNG")
    coco.finds("oversized_image", name, "900000000")
    with pytest.raises(PipelineError, match="pixels"):
        coco.loads()


def test_case_18_unusual_photos_are_read_or_refused_and_never_turned_against_their_boxes(coco: Coco) -> None:
    makes: list[Callable[[Path], object]] = [
        lambda path: Image.open(path).convert("RGB").save(path, "PNG"),
        lambda path: Image.open(path).convert("CMYK").save(path, "JPEG"),
        lambda path: Image.fromarray(np.zeros((SIZE_PX, SIZE_PX), np.uint16)).save(path, "PNG"),
        lambda path: Image.open(path).convert("RGBA").save(path, "PNG"),
    ]
    for make in makes:
        make(coco.photos / coco.images[0]["file_name"])
        coco.finds("unusual_image", coco.images[0]["file_name"], fails=False)
        right(coco.loads()[0].shape[0] == 3, "not three channels")
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = np.zeros((80, 120, 3), np.uint8)
    wide[10:20, 90:110] = 255
    Image.fromarray(wide).save(coco.photos / coco.images[0]["file_name"], exif=exif)
    coco.images[0].update(width=120, height=80)  # as stored, though it is shown turned
    coco.finds("image_size_mismatch", coco.images[0]["file_name"])
    coco.images[0].update(width=80, height=120)
    own = [a for a in coco.annotations if a["image_id"] == coco.images[0]["id"]][:1] or coco.annotations[:1]
    own[0].update(image_id=coco.images[0]["id"], bbox=[60, 90, 10, 20])  # round the white blob, as displayed
    coco.plain["annotations"] = own
    image, target = coco.loads()
    x1, y1, x2, y2 = (round(float(v)) for v in target["boxes"][0])
    right(image[:, y1:y2, x1:x2].float().mean() > 3 * image.float().mean(), "turned against its box")


@in_full
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_case_19_boxes_that_are_not_finite_are_refused_before_training(lab: Lab, value: float) -> None:
    broken = {"$set": {"ground_truth.detections.0.bounding_box.2": value}}
    with lab.edited(lambda samples: samples.update_one({"ground_truth.detections.0": {"$exists": True}}, broken)):
        refused(lab.call("run"), "non_finite_box")
        smokes = lab.store.roots(Key("smoke_run", "small"))
        current = lab.open("coco_cache").data_version
        used = [json.loads((root / "manifest.json").read_text())["inputs"]["coco_cache"] for root in smokes]
        right(current not in used, "training was given boxes that are not finite")


def spoilt(samples: Any) -> None:
    """A box on each of five plates: no width, a negative one, half a pixel, one that leaves the photo, one outside."""
    boxes = [
        [0.1, 0.1, 0.0, 0.1], [0.1, 0.1, -0.1, 0.1], [0.1, 0.1, 0.5 / SIZE_PX, 0.1], [0.95, 0.1, 0.1, 0.1],
        [1.2, 0.1, 0.1, 0.1],
    ]  # fmt: skip
    chosen = list(samples.find({"ground_truth.detections.0": {"$exists": True}}, sort=[("filepath", 1)]))
    for sample, box in zip(chosen, boxes, strict=False):
        samples.update_one({"_id": sample["_id"]}, {"$set": {"ground_truth.detections.0.bounding_box": box}})


@in_full
def test_case_20_boxes_without_area_or_outside_follow_their_policy_exactly(lab: Lab) -> None:
    total = len(lab.open("snapshot").boxes())
    with lab.edited(spoilt):
        expected = {"degenerate_box": 3, "small_box": 1, "out_of_bounds_box": 2}
        with lab.pipeline(box_policy="{degenerate_box: fail}"):
            refused(lab.call("run", *DATA_ASSETS), "degenerate_box")
        for policy, left in [("drop_box", (PLATES, total - 3)), ("drop_image", (PLATES - 3, None))]:
            with lab.pipeline(box_policy=f"{{degenerate_box: {policy}, small_box: keep, out_of_bounds_box: clip}}"):
                lab.run("run", *DATA_ASSETS)
                report, findings = report_of(lab), lab.open("bbox_report").findings()
                counted = {rule: report["findings"][rule]["count"] for rule in expected}
                right(counted == expected, f"{counted}, not {expected}")
                right(findings["rule"].value_counts().to_dict() == expected, "not each is listed")
                right(report["images"] == left[0], f"{report['images']} images are left")
                if left[1] is not None:
                    right(report["annotations"] == left[1], f"{report['annotations']} boxes are left")
        parts = [read_coco(lab.open("coco_cache").json_path(part)) for part in ("train", "val")]
        edges = np.concatenate([part.boxes_xywh[:, :2] + part.boxes_xywh[:, 2:] for part in parts])
        right((edges <= SIZE_PX).all(), "a box that was to be clipped leaves its photo")


def test_case_21_ids_used_twice_are_refused_with_the_ids(coco: Coco) -> None:
    original = json.dumps(coco.plain)
    coco.annotations[1]["id"] = coco.annotations[0]["id"]
    coco.finds("duplicate_annotation_id", str(coco.annotations[0]["id"]))
    coco.plain = json.loads(original)
    coco.images[1]["id"] = coco.images[0]["id"]
    done, report = coco.inspect()
    right(done.returncode != 0 and report["findings"]["duplicate_image_id"]["count"] == 1, "an image id twice passes")
    coco.plain = json.loads(original)
    coco.plain["categories"][1]["id"] = coco.plain["categories"][0]["id"]
    done, report = coco.inspect()
    right(done.returncode != 0 and report["findings"]["duplicate_category"]["count"] == 1, "a category twice passes")


@pytest.mark.parametrize("bad", [1.5, "7", 2**70, None, -3])
def test_case_22_ids_that_are_no_ids_are_refused_with_their_place(coco: Coco, bad: Any) -> None:
    coco.annotations[3]["id"] = bad
    done, report = coco.inspect()
    right(done.returncode != 0, f"an id of {bad!r} passes")
    if bad == -3:
        assert report["findings"]["negative_id"]["count"] == 1
    else:
        refused(done, "annotations[3].id")


def test_case_23_boxes_of_no_image_or_class_are_refused_with_their_ids(coco: Coco) -> None:
    original = json.dumps(coco.plain)
    coco.annotations[0]["image_id"] = 987654
    coco.finds("unknown_image", str(coco.annotations[0]["id"]), "987654")
    coco.plain = json.loads(original)
    coco.annotations[0]["category_id"] = 77
    coco.finds("unknown_class", str(coco.annotations[0]["id"]), "77")


@in_full
def test_case_24_missing_photos_are_listed_and_gated(lab: Lab) -> None:
    gone = [lab.plates / "5.jpg", lab.plates / "6.jpg"]
    aside = [path.rename(path.with_suffix(".aside")) for path in gone]
    try:
        refused(lab.call("run", *DATA_ASSETS), "missing_image")
        listed = set(lab.open("bbox_report").findings()["file_name"])
        right(listed == {"5.jpg", "6.jpg"}, f"{listed} are listed")
        with lab.pipeline(box_policy="{missing_image: drop_image}", max_missing_share="0.01"):
            refused(lab.call("run", *DATA_ASSETS), "missing_image")
        with lab.pipeline(box_policy="{missing_image: drop_image}", max_missing_share="0.1"):
            lab.run("run", *DATA_ASSETS)
            right(report_of(lab)["images"] == PLATES - 2, "missing photos are in the cache")
    finally:
        for path in aside:
            path.rename(path.with_suffix(".jpg"))


def relabel(old: str, new: str | None) -> Callable[[Any], None]:
    """A change of all boxes of a class; None takes them away."""

    def change(samples: Any) -> None:
        field = "ground_truth.detections"
        if new is None:
            samples.update_many({}, {"$pull": {field: {"label": old}}})
        else:
            only = [{"box.label": old}]
            samples.update_many(
                {field: {"$exists": True}}, {"$set": {f"{field}.$[box].label": new}}, array_filters=only
            )

    return change


@in_full
def test_case_25_class_ids_never_shift_and_unknown_classes_are_named(lab: Lab) -> None:
    lab.run("run", *DATA_ASSETS)
    class_map = lab.open("coco_cache").dataset()["class_map"]
    before = read_coco(lab.open("coco_cache").json_path("train"))
    with lab.edited(relabel("E.coli", "e. COLI")):
        lab.run("run", *DATA_ASSETS)
        after = read_coco(lab.open("coco_cache").json_path("train"))
        right((after.annotation_category_ids == before.annotation_category_ids).all(), "another spelling, another id")
    with lab.edited(relabel("S.aureus", None)):
        lab.run("run", *DATA_ASSETS)
        right(lab.open("coco_cache").dataset()["class_map"] == class_map, "ids shift when a class is absent")
        ids = set(read_coco(lab.open("coco_cache").json_path("train")).annotation_category_ids.tolist())
        right(ids == {2, 3}, f"ids {ids} of the two classes that are left")
    with lab.edited(relabel("E.coli", "E.colli")):
        done = lab.call("run", *DATA_ASSETS)
        refused(done, "unknown_class")
        values = " ".join(lab.open("bbox_report").findings()["value"].astype(str))
        if "E.colli" not in values or "E.coli" not in values.replace("E.colli", ""):
            raise Unclear(f"neither the class nor the one that it resembles is named: {values[:200]}")


def test_case_26_labels_from_0_and_labels_beyond_the_classes_are_caught(coco: Coco) -> None:
    for annotation in coco.annotations:
        annotation["category_id"] -= 1
    of_first = sum(annotation["category_id"] == 0 for annotation in coco.annotations)
    assert of_first
    coco.finds("unknown_class", "0", count=of_first)
    for category in coco.plain["categories"]:
        category["id"] -= 1
    coco.finds("category_id_below_1", "0", fails=False)  # every reader numbers classes from 1


@in_full
def test_case_27_nothing_to_learn_or_to_measure_has_a_defined_outcome(lab: Lab, coco: Coco, tmp_path: Path) -> None:
    for shares in ("{train: 1.0, val: 0.0}", "{train: 0.0, val: 1.0}"):
        with lab.pipeline(split=f"{{method: random, fractions: {shares}}}"):
            refused(lab.call("run"), "split.fractions")
    with lab.edited(lambda samples: samples.update_many({}, {"$set": {"ground_truth.detections": []}})):
        done = lab.call("run")
        refused(done, "empty_part", "train", "0 annotations")
    coco.plain["annotations"] = []
    results = tmp_path / "results.json"
    results.write_text("[]")
    out = tmp_path / "scores"
    files = ("--json", str(coco.write()), "--predictions", str(results), "--out-dir", str(out))
    done = agar_here("evaluate", *files, "--score-threshold", "0.5")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    right(metrics["map"] is None and metrics["map_50"] is None, f"map {metrics['map']} of nothing")
    assert metrics["reasons"]["map"]
    right(metrics["counting"]["mae"] == 0, "no colony predicted where there is none")
    coco.plain["images"] = []
    coco.write()
    refused(agar_here("evaluate", *files, "--score-threshold", "0.5"), "0 images")


@in_full
def test_case_28_a_view_without_samples_lists_what_there_is(lab: Lab) -> None:
    lab.edit(lambda samples: samples.update_one({}, {"$addToSet": {"tags": "reviewed"}}))
    with lab.pipeline(snapshot='{dataset: small, view: "tag:tarin"}'):
        refused(lab.call("run", "snapshot"), "tag:tarin", "reviewed", "ground_truth")
    with lab.pipeline(split="{method: tags, views: {train: tag:train, val: tag:val}}"):
        refused(lab.call("run", "snapshot", "split"), "tag:train", "reviewed")
    refused(lab.call("export-coco", "--dataset", "nothing", "--out-dir", str(lab.folder / "out")), "nothing", "small")


@pytest.mark.parametrize("colonies", [1, 150, 1000])
def test_case_29_a_crowded_plate_is_neither_capped_nor_miscounted(coco: Coco, tmp_path: Path, colonies: int) -> None:
    side = 32
    boxes = [[4.0 * (i % side), 4.0 * (i // side), 3.0, 3.0] for i in range(colonies)]
    coco.plain["images"] = coco.images[:1]
    of_image = {"image_id": coco.images[0]["id"], "category_id": 1}
    coco.plain["annotations"] = [
        {"id": i + 1, **of_image, "bbox": b, "area": 9, "iscrowd": 0} for i, b in enumerate(boxes)
    ]
    results, out = tmp_path / "results.json", tmp_path / "scores"
    results.write_text(json.dumps([{**of_image, "bbox": box, "score": 0.9} for box in boxes]))
    files = ("--json", str(coco.write()), "--predictions", str(results), "--out-dir", str(out))
    done = agar_here("evaluate", *files, "--score-threshold", "0.5", "--pictures", "0")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    right(metrics["map"] == pytest.approx(1), f"a perfect detector scores {metrics['map']}")
    right(metrics["counting"]["mae"] == 0, f"counts are off by {metrics['counting']['mae']}")
    right(metrics["max_detections"] >= colonies, f"capped at {metrics['max_detections']}")


NAMES = (
    "plain.jpg",
    "ä ö %20 ü.jpg",
    "two words.jpg",
    "new\nline.jpg",
    "é" * 123 + "a.jpg",
    "日本/深い/a.jpg",
    "a/1.jpg",
    "b/1.jpg",
)


@pytest.fixture(scope="module")
def named(lab: Lab) -> pd.DataFrame:
    """Photos of all kinds of names, imported and taken as far as the COCO cache; its images."""
    folder = lab.folder / "named"
    for i, name in enumerate(NAMES, 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(lab.plates / f"{i}.jpg", path)
        shutil.copy(lab.plates / f"{i}.json", path.with_suffix(".json"))
    lab.run("import", "agar", "--images-dir", str(folder), "--dataset", "named")
    out = lab.folder / "named_coco"
    lab.run("export-coco", "--dataset", "named", "--out-dir", str(out), "--fractions", "0.5", "0.5")
    plain = [json.loads((out / "coco" / f"{part}.json").read_text()) for part in ("train", "val")]
    images = pd.DataFrame([image for part in plain for image in part["images"]])
    for part in ("train", "val"):
        dataset = DetectionDataset(read_coco(out / "coco" / f"{part}.json"), folder, 64)
        assert all(dataset[i][0].shape[0] == 3 for i in range(len(dataset)))
    return images


def test_case_30_one_file_name_in_two_folders_is_two_images(named: pd.DataFrame) -> None:
    right({"a/1.jpg", "b/1.jpg"} <= set(named["file_name"]), "one of two photos of a name is lost")


def test_case_31_names_of_all_kinds_survive(named: pd.DataFrame, lab: Lab) -> None:
    right(set(named["file_name"]) == set(NAMES), f"{set(NAMES) ^ set(named['file_name'])} differ")
    deep = lab.folder / "/".join(["d" * 200] * 6)
    deep.mkdir(parents=True)
    for end in (".jpg", ".json"):
        shutil.copy(lab.plates / f"1{end}", deep / f"1{end}")
    done = lab.call("import", "agar", "--images-dir", str(deep), "--dataset", "deep")
    assert done.returncode == 0, done.stderr


@in_full
def test_case_32_the_same_picture_in_two_parts_blocks_and_one_that_looks_the_same_warns(lab: Lab) -> None:
    parts = lab.open("split").table().merge(lab.open("snapshot").images(), on="image_id")
    train = parts[parts["part"] == "train"]["path"].iloc[0]
    val = parts[parts["part"] == "val"]["path"].iloc[0]
    content = (lab.plates / val).read_bytes()
    try:
        shutil.copy(lab.plates / train, lab.plates / val)
        refused(lab.call("run", *DATA_ASSETS), "split")
        with Image.open(lab.plates / train) as photo:
            photo.convert("RGB").save(lab.plates / val, "JPEG", quality=70)
        lab.run("run", *DATA_ASSETS)
        leakage = lab.open("split").summary()["leakage"]
        right(leakage["near"]["across_parts"] == 1, f"near duplicates across parts: {leakage['near']}")
        page = (lab.open("split").root / "report.html").read_text()
        assert train in page
        assert page.count("data:image") >= 2
        with lab.pipeline(split=f"{{{SHARES}, group_duplicates: true}}"):
            lab.run("run", *DATA_ASSETS)
            right(lab.open("split").summary()["leakage"]["near"]["across_parts"] == 0, "grouped, yet torn")
    finally:
        (lab.plates / val).write_bytes(content)


def ids_of(count: int, first: int = 0) -> pd.DataFrame:
    ids = [f"{i:024x}" for i in range(first, first + count)]
    return pd.DataFrame({"sample_id": ids, "path": [f"{i}.jpg" for i in range(first, first + count)]})


@settings(max_examples=int(os.environ.get("AGAR_FUZZ_EXAMPLES", "50")) // 10, deadline=None)
@given(st.integers(20, 300), st.sampled_from([1, 1000]), st.integers(0, 2**32 - 1))
def test_case_33_new_images_never_move_an_old_one(count: int, more: int, seed: int) -> None:
    setting = SplitConfig(method="hash", seed=seed)
    images = ids_of(count + more)
    try:
        before = divide(setting, images.iloc[:count]).parts
    except PipelineError:
        return  # too few images for two parts, and said so
    after = divide(setting, images.sample(frac=1, random_state=0)).parts
    again = dict(zip(images.sample(frac=1, random_state=0)["sample_id"], after, strict=True))
    right(all(again[i] == part for i, part in zip(images["sample_id"], before, strict=False)), "an image moved")


@in_full
def test_case_34_one_edited_label_reruns_what_depends_on_it_and_the_plan_names_the_image(lab: Lab) -> None:
    lab.run("run", *DATA_ASSETS)
    before = {name: lab.store.roots(Key(name)) for name in DATA_ASSETS}
    name = ""

    def change(samples: Any) -> None:
        nonlocal name
        sample = samples.find_one({"ground_truth.detections.0.label": "E.coli"}, sort=[("filepath", 1)])
        name = Path(sample["filepath"]).name
        samples.update_one({"_id": sample["_id"]}, {"$set": {"ground_truth.detections.0.label": "S.aureus"}})

    with lab.edited(change):
        plan = lab.plan()
        right("snapshot" in plan, "an edited label is not seen")
        if name not in str(plan["snapshot"]["reasons"]) or "relabelled" not in str(plan["snapshot"]["reasons"]):
            raise Unclear(str(plan["snapshot"]["reasons"]))
        lab.run("run", *DATA_ASSETS)
        built = {name for name in DATA_ASSETS if len(lab.store.roots(Key(name))) > len(before[name])}
        right(built == {"snapshot", "coco_cache", "bbox_report"}, f"{built} were computed")


@in_full
def test_case_35_a_dataset_that_is_edited_meanwhile_is_read_as_it_was_at_one_moment(lab: Lab) -> None:
    """All samples get one number, then all the next, again and again: a snapshot holds one number alone."""
    enough, generation = threading.Event(), 0

    def edit_on(samples: Any) -> None:
        nonlocal generation
        deadline = time.monotonic() + 8
        while not enough.is_set() and time.monotonic() < deadline:
            generation += 1
            samples.update_many({}, {"$set": {"ground_truth.detections.$[].index": generation}})
            time.sleep(0.2)

    with lab.edited(lambda samples: samples.update_many({}, {"$set": {"ground_truth.detections.$[].index": 0}})):
        editor = threading.Thread(target=lab.edit, args=(edit_on,))
        editor.start()
        done = lab.call("run", "snapshot")
        enough.set()
        editor.join()
        if done.returncode:
            refused(done, "chang")
            lab.run("run", "snapshot")
        attributes = lab.open("snapshot").boxes()["attributes"].dropna().map(lambda text: json.loads(text).get("index"))
        right(attributes.nunique() == 1, f"numbers {sorted(attributes.unique())} in one snapshot")
