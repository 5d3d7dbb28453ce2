"""COCO files in place of FiftyOne: what is read, what is refused, and the whole chain without a database."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agar_pipeline import config as c
from agar_pipeline.artifacts import Snapshot
from agar_pipeline.errors import AnnotationError, ConfigError, DatasetError, ImageFileError, PipelineError
from agar_pipeline.plates.generate import CLASS_NAMES, generate_plates
from agar_pipeline.snapshots.sources import observe_source
from agar_pipeline.splitting.division import divide
from agar_pipeline.steps.snapshot import build
from agar_pipeline.store import Key, Store
from tests.coco_home import describe_plates
from tests.conftest import Run, copy_configs, runner

Plain = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photos of 64×48 px, three of them in train.json, one in val.json, with two boxes each."""
    (tmp_path / "images").mkdir()
    for number in range(4):
        Image.new("RGB", (64, 48), (60 * number, 90, 90)).save(tmp_path / "images" / f"{number}.png")
    for part, numbers in {"train": (3, 0, 1), "val": (2,)}.items():
        images = [{"id": 10 + n, "file_name": f"./{n}.png", "width": 64, "height": 48} for n in numbers]
        annotations = [
            {"id": 10 * n + k, "image_id": 10 + n, "category_id": k, "bbox": [10.1 + n, 5, 12.3, 7 + k], "iscrowd": k}
            for k in (1, 0)
            for n in numbers
        ]
        categories = [{"id": 0, "name": "spot"}, {"id": 1, "name": "ring"}]
        write(tmp_path, part, {"images": images, "annotations": annotations, "categories": categories})
    return tmp_path


def write(folder: Path, part: str, plain: Plain) -> None:
    (folder / f"{part}.json").write_text(json.dumps(plain))


def read(folder: Path, part: str) -> Plain:
    plain: Plain = json.loads((folder / f"{part}.json").read_text())
    return plain


def snapshot_section(folder: Path, **more: Any) -> Plain:
    files = {path.stem: str(path) for path in folder.glob("*.json")}
    return {"source": "coco", "dataset": "mine", "images_dir": str(folder / "images"), "files": files, **more}


def config_of(folder: Path, **more: Any) -> c.CocoSnapshotConfig:
    return c.from_plain(c.CocoSnapshotConfig, snapshot_section(folder, **more), where="test")


def take(folder: Path, home: Path, **more: Any) -> Snapshot:
    """A snapshot, whose version is what an observation sees."""
    config, out_dir = config_of(folder, **more), folder / "out"
    out_dir.mkdir(exist_ok=True)
    build(config, out_dir, print, home)
    snapshot = Snapshot(out_dir)
    assert snapshot.dataset()["source_version"] == observe_source(config, home).version
    return snapshot


def test_images_are_numbered_by_name_and_boxes_are_as_written(folder: Path, home: Path) -> None:
    snapshot = take(folder, home, image_columns=("field:part", "labels"))
    assert snapshot.images()["path"].tolist() == [f"{n}.png" for n in range(4)]
    assert snapshot.images()["sample_id"].tolist() == [f"{n}.png" for n in range(4)]
    assert snapshot.image_ids()["field:part"].tolist() == ["train", "train", "val", "train"]
    assert [list(labels) for labels in snapshot.image_ids()["labels"]] == [["ring", "spot"]] * 4
    boxes = snapshot.boxes()
    assert boxes["label"].tolist() == ["ring", "spot"] * 4, "in the order of the file"
    assert boxes["x"].tolist() == [10.1 + n for n in range(4) for _ in range(2)], "to the last bit"
    assert boxes["width"].tolist() == [12.3] * 8
    assert boxes["iscrowd"].tolist() == [True, False] * 4
    assert snapshot.dataset()["labels"] == {"ring": 4, "spot": 4}


def test_where_the_files_lie_and_their_own_ids_change_no_version(folder: Path, home: Path, tmp_path: Path) -> None:
    before = observe_source(config_of(folder), home)
    moved = (folder / "images").rename(folder / "elsewhere")
    plain = read(folder, "val")
    plain["images"][0]["id"] = 7
    plain["annotations"] = [{**row, "id": row["id"] + 500, "image_id": 7} for row in plain["annotations"]]
    write(folder, "val", plain)
    assert observe_source(config_of(folder, images_dir=str(moved)), home) == before
    plain["annotations"][0]["bbox"][0] += 1e-9
    write(folder, "val", plain)
    assert observe_source(config_of(folder, images_dir=str(moved)), home).version != before.version


def test_boxes_that_are_no_boxes_are_left_to_the_policy(folder: Path, home: Path) -> None:
    plain = read(folder, "val")
    plain["annotations"][0]["bbox"], plain["annotations"][1]["bbox"] = [None, 1, 2, 3], [-5, 1, 900, 0]
    plain["images"][0] |= {"width": 640, "height": 0}
    write(folder, "val", plain)
    snapshot = take(folder, home)
    rows = snapshot.boxes().query("image_id == 3")[["x", "y", "width", "height"]].to_numpy()
    np.testing.assert_array_equal(rows, [[np.nan, 1, 2, 3], [-5, 1, 900, 0]])


def test_a_declared_size_that_is_not_the_photos_goes_with_its_boxes(folder: Path, home: Path) -> None:
    plain = read(folder, "val")
    plain["images"][0] |= {"width": 128, "height": 96}
    write(folder, "val", plain)
    row = take(folder, home).images().query("path == '2.png'")
    assert row[["width", "height"]].to_numpy().tolist() == [[128, 96]], "image_size_mismatch finds it in the COCO cache"


@pytest.mark.parametrize("exif", ["stored", "displayed", "refuse"])
def test_a_photo_that_exif_turns_is_never_turned_against_its_boxes(exif: str, folder: Path, home: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (64, 48)).save(folder / "images" / "2.png", exif=turned)
    if exif != "stored":
        with pytest.raises(ImageFileError, match=r"2\.png"):
            take(folder, home, exif=exif)
        return
    snapshot = take(folder, home, exif=exif)
    assert snapshot.images().query("path == '2.png'")[["width", "height"]].to_numpy().tolist() == [[48, 64]]
    box = snapshot.boxes().query("image_id == 3 and label == 'spot'")[["x", "y", "width", "height"]].to_numpy()
    np.testing.assert_allclose(box, [[48 - 5 - 7, 12.1, 7, 12.3]])
    assert snapshot.boxes()["x"].iloc[0] == 10.1, "the others are as written"


def break_ids(plain: Plain) -> None:
    plain["images"] += [plain["images"][0] | {"file_name": "other.png"}]
    plain["annotations"] += [plain["annotations"][0] | {"image_id": 99}, plain["annotations"][0] | {"category_id": 5}]
    plain["annotations"] += [plain["annotations"][0] | {"id": -3}]
    plain["categories"] += [{"id": 1, "name": "again"}]


def test_ids_that_contradict_each_other_are_refused_in_one_message(folder: Path, home: Path) -> None:
    plain = read(folder, "val")
    break_ids(plain)
    write(folder, "val", plain)
    with pytest.raises(AnnotationError) as caught:
        observe_source(config_of(folder), home)
    message = str(caught.value)
    for word in (
        f"{folder / 'val.json'}: ",
        "1 duplicate_image_id (image id 12)",
        "2 duplicate_annotation_id (annotation id 21, annotation id 21)",
        "1 duplicate_category (category id 1 is used again, for 'again')",
        "1 unknown_image (image_id 99)",
        "1 unknown_class (category_id 5",
        "1 negative_id (annotation id -3)",
        "agar inspect-coco --json",
    ):
        assert word in message
    assert len(message.splitlines()) <= 3


@pytest.mark.parametrize(
    ("file_name", "message"),
    [
        ("1.png", r"image '1\.png' is listed twice, in .*train\.json and .*val\.json"),
        ("a/../1.png", "must be relative to .* and stay inside it"),
        ("/etc/passwd", "must be relative to .* and stay inside it"),
        ("a\0b.png", "has a NUL character, and is no file name"),
        ("", "is empty or .*, and is no file name"),
    ],
)
def test_names_that_mean_no_photo_of_the_folder_are_refused(
    file_name: str, message: str, folder: Path, home: Path
) -> None:
    plain = read(folder, "val")
    plain["images"][0]["file_name"] = file_name
    write(folder, "val", plain)
    with pytest.raises(DatasetError, match=message):
        observe_source(config_of(folder), home)


def no_photos(folder: Path) -> None:
    (folder / "images").rename(folder / "gone")


def no_file(folder: Path) -> None:
    (folder / "val.json").unlink()


def no_images(folder: Path) -> None:
    for part in ("train", "val"):
        write(folder, part, {"images": [], "categories": []})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_photos, "none of 4 image files can be read(.|\n)*correct snapshot.images_dir"),
        (no_file, r"snapshot\.files\.val=.*val\.json is not a file"),
        (no_images, "list 0 images"),
        (lambda folder: (folder / "val.json").write_text("[]"), "is not a COCO annotation file: it holds a list"),
    ],
)
def test_what_is_not_there_is_named(damage: Callable[[Path], Any], message: str, folder: Path, home: Path) -> None:
    config = config_of(folder)
    damage(folder)
    with pytest.raises(PipelineError, match=message):
        observe_source(config, home)


@pytest.fixture
def own_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGAR_CONFIGS", str(copy_configs(tmp_path / "configs")))
    return tmp_path / "configs" / "pipeline" / "mine.yaml"


def test_without_a_class_map_the_categories_of_all_files_make_it(folder: Path, home: Path, own_configs: Path) -> None:
    train = read(folder, "train")
    train["categories"] = [{"id": 7, "name": "halo"}, {"id": 1, "name": "ring"}, {"id": 0, "name": "spot"}]
    write(folder, "train", train)
    files = "{train: ../train.json, val: ../val.json}"
    text = f"snapshot: {{source: coco, dataset: mine, images_dir: ../images, files: {files}}}\n"
    own_configs.write_text(text)
    pipeline = c.load_pipeline("mine")
    assert pipeline.class_map == {"spot": 1, "ring": 2, "halo": 3}
    assert pipeline.split.method == "given"
    assert isinstance(pipeline.snapshot, c.CocoSnapshotConfig)
    assert pipeline.snapshot.images_path() == folder / "images"
    for category, message in (
        ({"id": 0, "name": "dot"}, "category 0 is 'spot', but also 'dot'"),
        ({"id": 9, "name": "ring"}, "category 9 is 'ring', but 'ring' is also category 1"),
        ({"id": "9", "name": "x"}, r"'9' \(text\), but other ids are numbers"),
        ({"name": "x"}, r"train\.json cannot be read for the class map: KeyError"),
    ):
        write(folder, "train", {**train, "categories": [category, *train["categories"]]})
        with pytest.raises(ConfigError, match=message):
            c.load_pipeline("mine")
    own_configs.write_text(text + "class_map: {spot: 1, ring: 2}\n")
    assert c.load_pipeline("mine").class_map == {"spot": 1, "ring": 2}


@pytest.mark.parametrize(
    ("snapshot", "split", "message"),
    [
        ({"source": "coko", "dataset": "x"}, {}, "snapshot must have the `source` fiftyone or coco\n"),
        (
            {"source": "coco", "dataset": "x", "images_dir": "i", "file": {}},
            {},
            r"test has 2 .*: snapshot\.files is missing; snapshot\.file is an unknown key\n.*write snapshot\.files, if",
        ),
        ({"dataset": "x"}, {"method": "given"}, r"test: split\.method=given is for COCO files"),
        (None, {"method": "field", "field": "fold"}, "test: split reads 'field:fold', but COCO files have no views"),
        (None, {"method": "random", "group_by": "field:plate"}, "test: split reads 'field:plate'"),
    ],
)
def test_settings_of_the_other_source_are_refused(
    snapshot: Plain | None, split: Plain, message: str, folder: Path
) -> None:
    plain = {"name": "x", "snapshot": snapshot or snapshot_section(folder), "class_map": {"a": 1}, "split": split}
    with pytest.raises(ConfigError, match=message):
        c.from_plain(c.PipelineConfig, plain, where="test")


def test_the_source_enters_no_fingerprint_of_a_fiftyone_snapshot() -> None:
    recorded = c.fingerprinted(c.SnapshotConfig(dataset="demo"))
    assert list(recorded) == ["dataset", "label_field", "view", "exif", "image_columns"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path, Path]:
    """Generated plates → FiftyOne → `agar export-coco`; then a home without FiftyOne and pymongo."""
    root = tmp_path_factory.mktemp("coco_source")
    plates, exported, configs = root / "plates", root / "exported", copy_configs(root / "configs")
    generate_plates(plates, 12, size_px=128, seed=5)
    with_fiftyone = runner({"AGAR_HOME": str(root / "fiftyone_home"), "AGAR_CONFIGS": str(configs)})
    for command in (
        ["import", "agar", "--images-dir", str(plates), "--dataset", "small"],
        ["export-coco", "--dataset", "small", "--out-dir", str(exported), "--fractions", "0.75", "0.25"]
        + [word for name in CLASS_NAMES for word in ("--classes", name)],
    ):
        done = with_fiftyone("agar", *command)
        assert done.returncode == 0, done.stderr
    (configs / "pipeline" / "folder.yaml").write_text(
        f"snapshot: {{source: coco, dataset: small, images_dir: {plates},\n"
        f"  files: {{train: {exported}/coco/train.json, val: {exported}/coco/val.json}}}}\n"
        "experiments: [small]\n"
    )
    for name in ("fiftyone", "pymongo", "bson"):
        (root / "stubs" / name).mkdir(parents=True)
        (root / "stubs" / name / "__init__.py").write_text(f"raise ImportError('{name} is not installed here')")
    run = runner(
        {"AGAR_HOME": str(root / "home"), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "folder"}
        | {"PYTHONPATH": os.pathsep.join([str(root / "stubs"), os.environ.get("PYTHONPATH", "")])}
    )
    done = run("agar", "run")
    assert done.returncode == 0, done.stderr
    return run, root / "home", exported


def test_the_chain_runs_without_fiftyone_and_gives_the_same_coco_data(chain: tuple[Run, Path, Path]) -> None:
    _, home, exported = chain
    cache = Store(home).open_latest(Key("coco_cache"))
    for part in ("train", "val"):
        assert by_name(cache.json_path(part)) == by_name(exported / "coco" / f"{part}.json")


def by_name(path: Path) -> tuple[Plain, list[Plain]]:
    """Image name → size, and boxes in order with their category; and the categories."""
    plain = json.loads(path.read_text())
    names = {image["id"]: image["file_name"] for image in plain["images"]}
    found: Plain = {image["file_name"]: [(image["width"], image["height"])] for image in plain["images"]}
    for row in plain["annotations"]:
        found[names[row["image_id"]]].append((row["category_id"], row["bbox"], row["iscrowd"]))
    return found, plain["categories"]


def test_one_edited_box_makes_only_what_depends_on_it_stale(chain: tuple[Run, Path, Path]) -> None:
    run, home, exported = chain
    path = exported / "coco" / "val.json"
    assert run("agar", "plan").returncode == 0
    plain = json.loads(path.read_text())
    plain["annotations"][0]["bbox"][0] += 1.5
    path.write_text(json.dumps(plain))
    name = next(i["file_name"] for i in plain["images"] if i["id"] == plain["annotations"][0]["image_id"])
    planned = run("agar", "plan", "--json")
    assert planned.returncode == 10, planned.stderr
    assets = {asset["asset"]: asset for asset in json.loads(planned.stdout)["assets"]}
    assert name in " ".join(assets["snapshot"]["reasons"])
    assert assets["split"]["state"] == "fresh" or "nothing to compute" in " ".join(assets["split"]["reasons"])
    assert assets["coco_cache"]["state"] == "stale"
    before = set(Store(home).published())
    materialize = ["asset", "materialize", "-m", "agar_pipeline.definitions", "--select", "*"]
    lines = run("agar", "env").stdout.splitlines()
    done = run("dagster", *materialize, **dict(line.removeprefix("export ").split("=", 1) for line in lines))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    rebuilt = {root.parent.name for root in set(Store(home).published()) - before}
    assert "snapshot" in rebuilt
    assert "split" not in rebuilt
    assert run("agar", "plan").returncode == 0


def test_what_only_fiftyone_can_do_is_refused_in_words(chain: tuple[Run, Path, Path]) -> None:
    run, _, _ = chain
    for command in (["view", "--experiment", "small", "--no-app"], ["restore", "latest", "--dataset", "again"]):
        done = run("agar", *command)
        assert done.returncode == 2
        assert "pipeline 'folder' reads COCO files, not a FiftyOne dataset" in done.stderr
        assert "Traceback" not in done.stderr
    checked = json.loads(run("agar", "launch-check", "--accelerator", "cpu", "--json").stdout)
    database = next(check for check in checked["checks"] if check["name"] == "database")
    assert database["level"] == "OK"
    assert "not needed: the data is COCO files" in database["found"]


def test_a_third_file_is_a_third_part(home: Path, tmp_path: Path) -> None:
    generate_plates(tmp_path / "images", 6, 96, 0, None, (3, 8))
    for part, numbers in {"train": range(1, 4), "val": range(4, 5), "test": range(5, 7)}.items():
        write(tmp_path, part, describe_plates(tmp_path / "images", numbers, 96))
    snapshot = take(tmp_path, home, image_columns=("field:part",))
    given = divide(c.SplitConfig(method="given"), snapshot.image_ids())
    assert given.counts == {"train": 3, "val": 1, "test": 2}
    assert given.parts.tolist() == ["train", "train", "train", "val", "test", "test"]


def test_a_plan_calls_a_refused_report_so_and_tells_a_cause_once(tmp_path: Path) -> None:
    generate_plates(tmp_path / "images", 6, 96, 0, None, (3, 8))
    for part, numbers in {"train": range(1, 5), "val": range(5, 7)}.items():
        write(tmp_path, part, describe_plates(tmp_path / "images", numbers, 96))
    configs = copy_configs(tmp_path / "configs")
    (configs / "pipeline" / "mine.yaml").write_text(
        json.dumps({"snapshot": snapshot_section(tmp_path), "experiments": ["small"]})
    )
    run = runner({"AGAR_HOME": str(tmp_path / "home"), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "mine"})
    assert run("agar", "run", "+bbox_report").returncode == 0
    photo = tmp_path / "images" / "2.jpg"
    Image.new("RGB", (96, 96)).save(photo)
    told = run("agar", "plan").stdout
    assert told.count("1 photo replaced: 2.jpg") == 1
    assert [line.split()[1] for line in told.splitlines()[:4]] == ["stale"] * 4
    photo.unlink()
    refused = run("agar", "run", "+bbox_report")
    assert (refused.returncode, "refuses this data for training: missing_image (1)" in refused.stderr) == (1, True)
    planned = run("agar", "plan")
    assert [line.split()[1] for line in planned.stdout.splitlines()[:4]] == ["fresh"] * 3 + ["refused"]
    assert planned.stdout.count("missing_image (1)") == 1
    one = run("agar", "plan", "small/training_run").stdout.splitlines()
    assert [line.split()[:2] for line in one[:2]] == [["bbox_report", "refused"], ["small/training_run", "missing"]]
    assert one[2].endswith("then run `agar run small/training_run`")
    assert "then put the missing photos back where they were" in planned.stdout.splitlines()[-1]
    *fresh, report = json.loads(run("agar", "plan", "--json").stdout)["assets"][:4]
    assert (report["state"], "missing_image (1)" in report["refused"]) == ("fresh", True)
    assert {each["refused"] for each in fresh} == {None}


def test_a_folder_for_each_part_with_its_file_in_it(folder: Path, home: Path) -> None:
    """Roboflow's layout; a name that is spelled in another way is explained."""
    for part, numbers in (("train", (3, 0, 1)), ("val", (2,))):
        (folder / "images" / part).mkdir()
        for number in numbers:
            (folder / "images" / f"{number}.png").rename(folder / "images" / part / f"{number}.png")
        (folder / f"{part}.json").rename(folder / "images" / part / "_annotations.coco.json")
    files = {part: str(folder / "images" / part / "_annotations.coco.json") for part in ("train", "val")}
    snapshot = take(folder, home, files=files)
    assert snapshot.images()["path"].tolist() == ["train/0.png", "train/1.png", "train/3.png", "val/2.png"]
    path = folder / "images" / "val" / "_annotations.coco.json"
    path.write_text(path.read_text().replace("./2.png", "export\\\\2.png"))
    with pytest.raises(
        DatasetError, match=r"the file lists 'export.*2.png', the folder holds '.*; 1 of 1 name matches.* by the base"
    ):
        take(folder, home, files={"val": str(path)})


def test_an_image_that_a_tool_marks_as_not_done_is_not_labelled(folder: Path, home: Path) -> None:
    plain = read(folder, "train")
    plain["images"][0]["annotated"], plain["images"][1]["status"] = False, "todo"
    plain["annotations"] = [each for each in plain["annotations"] if each["image_id"] == plain["images"][1]["id"]]
    write(folder, "train", plain)
    images = take(folder, home).images()
    assert images.set_index("path")["labelled"].to_dict() == {
        "0.png": False,
        "1.png": True,
        "2.png": True,
        "3.png": False,
    }
