"""The whole chain, as users run it: real plates, the real database, real Dagster, real children."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.commands.run_words import closing_lines
from agar_pipeline.store import Key, Store, find_faults
from tests.conftest import BIN, CHECKOUT, Run, copy_configs, edit_samples, move_first_box, runner
from tests.web.callers import serving
from tests.web.suspect_page import open_page, tag_suspect

EXPERIMENTS = ("small", "other")
KEYS = [
    Key(name, experiment)
    for name, kind in ARTIFACTS.items()
    if not kind.on_demand
    for experiment in (EXPERIMENTS if kind.in_experiment else (None,))
]


@dataclass(frozen=True)
class Chain:
    """A home in which Dagster has materialized the chain of the pipeline `small`, and what was printed meanwhile."""

    run: Run
    home: Path
    configs: Path
    imported: tuple[str, str]
    """Of `agar import`, called twice."""
    planned: subprocess.CompletedProcess[str]
    """Of `agar plan` before the chain was built."""
    built: tuple[int, str]
    """Exit code and output of `dagster asset materialize`."""
    published: tuple[Path, ...]
    """The artifacts that it built."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Thirteen generated plates, one of them uncountable, in the embedded database, and the chain built from them."""
    from agar_pipeline.plates.generate import generate_plates

    folder = tmp_path_factory.mktemp("small")
    home, plates, configs = folder / "home", folder / "plates", copy_configs(folder / "configs")
    generate_plates(plates, 13, size_px=128, seed=5)
    uncountable = sorted(plates.glob("*.json"), key=lambda path: path.stem)[-1]
    while not (plain := json.loads(uncountable.read_text())).get("labels"):
        uncountable = next(path for path in sorted(plates.glob("*.json")) if path != uncountable)
    uncountable.write_text(json.dumps({**plain, "labels": [], "colonies_number": -1}))
    run = runner({"AGAR_HOME": str(home), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "small"})
    imports = [run("agar", "import", "agar", "--images-dir", str(plates), "--dataset", "small") for _ in range(2)]
    first, second = (done.stdout + done.stderr for done in imports)
    planned, built = run("agar", "plan"), materialize(run, "*")
    return Chain(run, home, configs, (first, second), planned, built, tuple(Store(home).published()))


@pytest.fixture
def chain(small: Chain, tmp_path: Path) -> Iterator[Chain]:
    """The chain, fresh, whatever the tests before have edited; what this test writes into the configs is undone."""
    if states(small.run):
        done = small.run("agar", "run")
        assert done.returncode == 0, done.stderr
    kept = shutil.copytree(small.configs, tmp_path / "configs")
    yield small
    shutil.rmtree(small.configs)
    shutil.copytree(kept, small.configs)


def dagster_env(run: Run) -> dict[str, str]:
    """What `eval "$(agar env)"` exports."""
    lines = run("agar", "env").stdout.splitlines()
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)


def materialize(run: Run, select: str, *more: str, **variables: str) -> tuple[int, str]:
    done = run(
        "dagster", "asset", "materialize", "-m", "agar_pipeline.definitions", "--select", select, *more,
        **dagster_env(run), **variables,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def states(run: Run) -> dict[str, dict[str, Any]]:
    """Asset → its line of `agar plan --json`, of those that are not fresh."""
    assets = json.loads(run("agar", "plan", "--json").stdout)["assets"]
    return {asset["asset"]: asset for asset in assets if asset["state"] != "fresh"}


def computed(run: Run, *arguments: str) -> set[str]:
    """Runs `agar run` and returns the assets that were computed, not found."""
    home = Path(dagster_env(run)["AGAR_HOME"])
    before = set(Store(home).published())
    done = run("agar", "run", *arguments)
    assert done.returncode == 0, done.stderr
    return {
        "/".join(root.parent.relative_to(home / "artifacts").parts) for root in set(Store(home).published()) - before
    }


def count_runs(home: Path) -> int:
    with sqlite3.connect(home / "dagster" / "storage" / "history" / "runs.db") as storage:
        return int(storage.execute("select count(*) from runs").fetchone()[0])


def test_import_is_idempotent_and_leaves_out_what_cannot_be_counted(small: Chain) -> None:
    first, second = small.imported
    assert "12 added" in first
    assert "uncountable" in first
    assert "0 added, 0 updated, 12 unchanged" in second


def test_dagster_materializes_the_chain_and_agar_plan_agrees(chain: Chain) -> None:
    run = chain.run
    assert chain.planned.returncode == 10
    assert chain.planned.stdout.count("missing") == 11
    code, output = chain.built
    assert code == 0, output[-3000:]
    store = Store(chain.home)
    for key in KEYS:
        root = store.latest(key)
        assert root is not None, f"{key} was not built"
        assert not find_faults(root)
    assert len(chain.published) == len(KEYS)
    assert "label_review" not in {root.parent.name for root in chain.published}, "a run of everything leaves it out"
    plan = run("agar", "plan", "--json")
    assert plan.returncode == 0, plan.stdout
    assert {asset["state"] for asset in json.loads(plan.stdout)["assets"]} == {"fresh"}

    snapshot = store.open_latest(Key("snapshot"))
    assert len(snapshot.images()) == 12
    cache = store.open_latest(Key("coco_cache"))
    assert sum(part["annotations"] for part in cache.dataset()["parts"].values()) == len(snapshot.boxes())
    metrics = store.open_latest(Key("evaluation", "small")).metrics()
    assert metrics["num_images"] == cache.dataset()["parts"]["val"]["images"]
    assert {"map", "map_50", "map_75", "mar_max", "max_detections", "per_class", "counting"} <= set(metrics)
    assert store.open_latest(Key("training_run", "small")).metrics()["step"].max() <= 3
    assert list(store.open_latest(Key("leaderboard")).table()["experiment"].sort_values()) == ["other", "small"]


def test_a_photo_is_explained_back_to_the_snapshot_that_training_and_evaluation_read(
    chain: Chain,
) -> None:
    run, home = chain.run, chain.home
    store = Store(home)
    snapshot = store.open_latest(Key("snapshot")).manifest.fingerprint
    split = store.open_latest(Key("split")).manifest.fingerprint
    parts = store.open_latest(Key("split")).table().merge(store.open_latest(Key("snapshot")).images(), on="image_id")
    for part, user in (("train", "trained_by"), ("val", "evaluated_by")):
        path = parts[parts["part"] == part]["path"].iloc[0]
        history = json.loads(run("agar", "explain", str(path), "--json").stdout)
        assert {row["split"]: row["part"] for row in history["splits"]}[split] == part
        asset = "training_run" if part == "train" else "evaluation"
        users = {row[asset]: (row["experiment"], row["snapshot"]) for row in history[user]}
        for name in EXPERIMENTS:
            assert users[store.open_latest(Key(asset, name)).manifest.fingerprint] == (name, snapshot)


def test_a_run_is_seen_in_fiftyone_and_taken_back_without_a_trace(chain: Chain) -> None:
    run, home = chain.run, chain.home
    before, plan = stored(home), run("agar", "plan", "--json").stdout
    val = [doc["_id"] for doc in before["samples"] if doc["filepath"].endswith(val_photos(home))]
    lost = next(doc for doc in before["samples"] if doc["_id"] == val[-1])
    edit_samples(home, "small", lambda samples: samples.delete_one({"_id": lost["_id"]}))
    written = run("agar", "view", "--experiment", "small", "--no-app")
    assert written.returncode == 0, written.stderr
    assert Path(lost["filepath"]).name in written.stderr, "a sample that is gone is named"
    edit_samples(home, "small", lambda samples: samples.insert_one(lost))
    written = run("agar", "view", "--experiment", "small", "--no-app", "--plates", "1")
    assert written.returncode == 0, written.stderr
    assert "next: agar view" in written.stdout
    name = written.stdout.split(" in ")[1].split(" and ")[0]
    during = stored(home)
    metrics = json.loads((home / "artifacts/small/evaluation/latest/metrics.json").read_text())
    errors = [doc[f"{name}_count_error"] for doc in during["samples"] if f"{name}_count_error" in doc]
    assert len(errors) == metrics["num_images"] == len(val)
    assert sum(errors) / len(errors) == pytest.approx(metrics["counting"]["me"])
    kinds = [box["kind"] for doc in during["samples"] for box in doc.get(f"{name}_missed", {}).get("detections", [])]
    assert kinds.count("missed") == len(kinds) == metrics["errors"]["annotations"]["missed"]
    for old, new in zip(before["samples"], during["samples"], strict=True):
        assert {key: new[key] for key in old} == old, "no field but the run's own"
    view = json_util.loads(during["views"][0]["view_stages"][0])["kwargs"]
    assert len(dict(view)["sample_ids"]) == 1
    bytes_before = dump(home)
    assert run("agar", "view", "--experiment", "small", "--no-app", "--plates", "1").returncode == 0
    assert dump(home) == bytes_before, "seen twice is written once"
    again = run("agar", "plan", "--json")
    assert again.stdout, again.stderr
    assert json.loads(again.stdout) == json.loads(plan)
    removed = run("agar", "view", "--experiment", "small", "--remove")
    assert (removed.returncode, name in removed.stdout) == (0, True), removed.stderr
    assert stored(home) == before
    assert run("agar", "view", "--experiment", "small", "--remove").returncode == 1


EDIT_AS_A_PERSON = """
import sys
from agar_pipeline.fiftyone_io.reading.view import import_fiftyone
uri, name = sys.argv[1:]
fo = import_fiftyone(uri, may_write=True)
ds = fo.load_dataset("small")
drawn, cleared = ds.exists(name).limit(2)
drawn[name].detections.append(fo.Detection(label="theirs", bounding_box=[0, 0, 0.5, 0.5]))
drawn.save()
cleared[name] = None
cleared.save()
ds.delete_saved_view(name + " worst plates")
ds.save_view(name + " worst plates", ds.limit(3))
print(drawn.filename, cleared.filename)
"""


def test_predictions_that_a_person_edited_are_kept_named_and_only_overwritten_when_asked(
    chain: Chain,
) -> None:
    from agar_pipeline.fiftyone_io.database.connection import open_database

    run, home = chain.run, chain.home
    before = stored(home)
    names = {}
    for experiment in EXPERIMENTS:
        written = run("agar", "view", "--experiment", experiment, "--no-app")
        assert written.returncode == 0, written.stderr
        names[experiment] = written.stdout.split(" in ")[1].split(" and ")[0]
    name, other = names["small"], names["other"]
    with open_database("embedded", home) as uri:
        command = [sys.executable, "-c", EDIT_AS_A_PERSON, uri, name]
        edited = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT).stdout.split()
    by_hand = dump(home)

    again = run("agar", "view", "--experiment", "small", "--no-app")
    assert again.returncode == 0, again.stderr
    assert f"somebody edited were kept on 2 photos: {', '.join(sorted(edited))}; --overwrite" in again.stderr
    assert f"somebody edited the saved view '{name} worst plates', so it was kept" in again.stderr
    assert dump(home) == by_hand, "nothing is written"

    counted = run("agar", "count", "--corrected", "--experiment", "small", "--out-dir", str(home.parent / "counted"))
    assert counted.returncode == 0, counted.stderr
    drawn, cleared = edited
    assert f"1 of {len(val_photos(home)) - 1} plates touched; boxes: 1 added; " in counted.stdout
    assert "1 box counts as a colony of no class: label 'theirs'" in counted.stderr
    assert f"left out: no predictions in {name}: " in counted.stderr
    with (home.parent / "counted" / "counts.csv").open(newline="") as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    assert cleared not in rows
    assert [image for image, row in rows.items() if row["source"] == "corrected"] == [drawn]
    assert int(rows[drawn]["colonies"]) == int(rows[drawn]["predicted"]) + 1
    assert dump(home) == by_hand, "the database is only read"

    which = run("agar", "view", "--remove")
    assert (which.returncode, f"there are: {', '.join(sorted(names.values()))}" in which.stderr) == (2, True)
    for words in (("--experiment", "small"), ("--all",)):
        refused = run("agar", "view", "--remove", *words)
        assert refused.returncode == 1
        assert f"edited by somebody (predictions on 2 photos ({', '.join(sorted(edited))})" in refused.stderr
        assert f"the saved view '{name} worst plates'), so nothing was removed" in refused.stderr
        assert dump(home) == by_hand, "nothing is removed, of the other run neither"

    replaced = run("agar", "view", "--experiment", "small", "--no-app", "--overwrite")
    assert (replaced.returncode, "kept" in replaced.stderr) == (0, False), replaced.stderr
    with open_database("embedded", home) as uri:
        subprocess.run([sys.executable, "-c", EDIT_AS_A_PERSON, uri, name], check=True, cwd=CHECKOUT)
    assert run("agar", "view", "--remove", "--run", name.rpartition("_")[2], "--overwrite").returncode == 0
    assert not [key for sample in stored(home)["samples"] for key in sample if key.startswith(name)]
    removed = run("agar", "view", "--remove", "--all")
    assert (removed.returncode, removed.stdout) == (0, f"small: removed {other}\n"), removed.stderr
    assert stored(home) == before
    assert "the dataset holds no runs of agar view" in run("agar", "view", "--remove").stdout


def dump(home: Path) -> dict[str, str]:
    """Every collection of the database, byte for byte."""
    from agar_pipeline.fiftyone_io.database.connection import connect, open_database

    raw: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
    with open_database("embedded", home) as uri, connect(uri) as client:
        database = client.get_database("fiftyone", codec_options=raw)
        return {
            name: hashlib.sha256(b"".join(sorted(found.raw for found in database[name].find()))).hexdigest()
            for name in database.list_collection_names()
        }


def stored(home: Path) -> dict[str, Any]:
    """Everything that the database holds of the dataset, apart from times.

    FiftyOne itself may stamp a new `created_at` on the schema of `metadata` when a dataset is used.
    """
    from agar_pipeline.fiftyone_io.database.connection import connect, open_database

    times = {"last_modified_at", "last_loaded_at"}
    with open_database("embedded", home) as uri, connect(uri) as client:
        dataset = client["fiftyone"].datasets.find_one({"name": "small"})
        assert dataset is not None
        samples = client["fiftyone"][dataset["sample_collection_name"]].find(sort=[("_id", 1)])
        for field in dataset["sample_fields"]:
            if field["name"] == "metadata":
                for one in (field, *field["fields"]):
                    del one["created_at"]
        return {
            "dataset": {key: value for key, value in dataset.items() if key not in times},
            "samples": [{key: value for key, value in doc.items() if key not in times} for doc in samples],
            "views": list(client["fiftyone"].views.find()),
        }


def val_photos(home: Path) -> tuple[str, ...]:
    coco = json.loads((home / "artifacts/coco_cache/latest/coco/val.json").read_text())
    return tuple(f"/{image['file_name']}" for image in coco["images"])


def test_nothing_changed_computes_nothing(chain: Chain) -> None:
    run, home = chain.run, chain.home
    before = {path: path.stat().st_mtime_ns for path in Store(home).published()}
    runs = count_runs(home)
    done = run("agar", "run")
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert count_runs(home) == runs, "agar run starts no run when all is current"
    code, output = materialize(run, "*", PYTHONPROFILEIMPORTTIME="1")
    assert code == 0, output[-3000:]
    assert {path: path.stat().st_mtime_ns for path in Store(home).published()} == before
    imported = {line.rpartition("|")[2].strip() for line in output.splitlines() if line.startswith("import time:")}
    assert "agar_pipeline.defs.tables" in imported
    assert not imported & {"pandas", "hydra", "torch", "fiftyone", "PIL", "matplotlib", "jinja2"}, "nothing needs them"


def test_another_seed_and_back_again(chain: Chain) -> None:
    run, home, configs = chain.run, chain.home, chain.configs
    pipeline = configs / "pipeline" / "small.yaml"
    original = pipeline.read_text()
    data = ("split", "coco_cache", "bbox_report")
    versions = [Store(home).open_latest(Key(name)).data_version for name in data]
    pipeline.write_text(original.replace("seed: 0", "seed: 1"))
    plan = run("agar", "plan")
    assert "split.seed 0 → 1" in plan.stdout
    done = run("agar", "run", "+bbox_report", "--json")
    assert done.returncode == 0
    materialized = json.loads(done.stdout)["materialized"]
    assert [made["asset"] for made in materialized] == list(data)
    assert materialized[0]["data_version"] != versions[0]
    assert Store(home).open_latest(Key("split")).root == Path(materialized[0]["path"])
    pipeline.write_text(original)
    count = len(list(Store(home).published()))
    assert "nothing to compute" in run("agar", "plan").stdout
    assert run("agar", "run").returncode == 0
    assert json.loads(run("agar", "run", "--json").stdout) == {"materialized": []}
    assert [Store(home).open_latest(Key(name)).data_version for name in data] == versions
    assert len(list(Store(home).published())) == count, "going back computes nothing"
    assert run("agar", "plan").returncode == 0


def test_a_tag_that_is_not_read_rebuilds_the_snapshot_to_the_same_version_and_nothing_else(
    chain: Chain,
) -> None:
    run, home = chain.run, chain.home
    version = Store(home).open_latest(Key("snapshot")).data_version
    edit_samples(home, "small", lambda samples: samples.update_one({}, {"$addToSet": {"tags": "seen"}}))
    assert set(states(run)) == {"snapshot"}
    assert computed(run) == {"snapshot"}
    assert Store(home).open_latest(Key("snapshot")).data_version == version
    assert states(run) == {}


def test_a_moved_box_reruns_what_depends_on_boxes_and_not_the_split(chain: Chain) -> None:
    run, home = chain.run, chain.home
    path = edit_samples(home, "small", move_first_box)
    stale = states(run)
    assert stale["snapshot"]["reasons"] == [f"1 box changed in 1 image (1 moved): {Path(path).name}"]
    assert stale["split"]["reasons"] == ["nothing to compute, only to record in Dagster"]
    data = ("snapshot", "split", "coco_cache", "bbox_report")
    assert computed(run, *data) == {"snapshot", "coco_cache", "bbox_report"}
    assert not set(data) & set(states(run))
    assert computed(run) >= {"small/training_run", "other/training_run"}, "the moved box is learnt by both"


def test_the_labels_of_all_parts_are_reviewed(chain: Chain, tmp_path: Path) -> None:
    """The review is built in a Dagster run of its own, and changes nothing else."""
    done = chain.run("agar", "review", "--experiment", "small", "--out-dir", str(tmp_path / "suspects"))
    assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / "suspects" / "review.json").read_text())
    cache, review = (Store(chain.home).open_latest(key) for key in (Key("coco_cache"), Key("label_review", "small")))
    parts = [json.loads(cache.json_path(part).read_text()) for part in cache.parts()]
    assert numbers["images"] == sum(len(part["images"]) for part in parts)
    assert numbers["annotations"] == sum(len(part["annotations"]) for part in parts)
    assert numbers == review.review()
    assert not states(chain.run)
    for page in [path for root in Store(chain.home).published() for path in root.glob("*.html")]:
        shown = re.sub("<[^>]*>", "", page.read_text())
        assert "`" not in shown, f"{page}: code stands in <code>, not in backticks"


def test_a_suspect_accepted_in_the_browser_is_corrected_and_only_what_depends_on_it_runs_again(chain: Chain) -> None:
    """The whole loop: suspects in FiftyOne's App, one tagged there, applied to a copy, and one key switched."""
    run, home, pipeline = chain.run, chain.home, chain.configs / "pipeline" / "small.yaml"
    environment = {"AGAR_HOME": str(home), "AGAR_CONFIGS": str(chain.configs), "AGAR_PIPELINE": "small"}
    sources = labels_of(home, "ground_truth")
    with serving([str(BIN / "agar"), "review", "--experiment", "small"], home, "view", environment) as app:
        suspects = {
            sample_id: found["detections"] for sample_id, found in labels_of(home, "agar_suspects").items() if found
        }
        sample_id = max(suspects, key=lambda one: suspects[one][0]["confidence"])
        suspect = next(one for one in suspects[sample_id] if one["kind"] == "box_too_many")
        with open_page(app.url) as page:
            assert suspect["reason"] in tag_suspect(page, sample_id, suspect["bounding_box"], "accept")
    accepted = run("agar", "review", "--accept")
    assert accepted.returncode == 0, accepted.stderr
    assert "ground_truth_reviewed: 1 box removed on 1 photo; ground_truth is unchanged" in accepted.stdout
    assert f"next: set snapshot.label_field: ground_truth_reviewed in {pipeline}, then agar plan" in accepted.stdout
    assert labels_of(home, "ground_truth") == sources
    assert not states(run), "the pipeline still reads the labels as they were"

    pipeline.write_text(pipeline.read_text().replace("small}", "small, label_field: ground_truth_reviewed}", 1))
    stale = states(run)
    assert stale["snapshot"]["reasons"] == ["snapshot.label_field ground_truth → ground_truth_reviewed"]
    every = {str(key) for key in KEYS}
    assert set(stale) == every
    assert computed(run) == every - {"split"}
    photo = next(image["filepath"] for image in stored(home)["samples"] if str(image["_id"]) == sample_id)
    changed = run("agar", "diff", "previous", "latest")
    assert f"1 box changed in 1 image (1 removed): {Path(photo).name}" in changed.stdout
    assert run("agar", "review", "--remove").returncode == 1, "somebody tagged a suspect"
    assert run("agar", "review", "--remove", "--overwrite").returncode == 0
    assert not any(labels_of(home, "agar_suspects").values())
    assert not states(run)


def labels_of(home: Path, field: str) -> dict[str, Any]:
    """Sample id → the value of a field."""
    return edit_samples(
        home, "small", lambda samples: {str(one["_id"]): one.get(field) for one in samples.find(sort=[("_id", 1)])}
    )


def test_the_classes_that_count_change_the_evaluation_and_no_training(chain: Chain) -> None:
    run, home, pipeline = chain.run, chain.home, chain.configs / "pipeline" / "small.yaml"
    original, photos = pipeline.read_text(), home.parent / "plates"
    names = Store(home).open_latest(Key("coco_cache")).class_names
    pipeline.write_text(f"{original}\ncounting: {{classes: [{names[0]}], threshold: fixed, fixed_threshold: 0.06}}\n")
    assert {name.partition("/")[2] or name for name in states(run)} == {"evaluation", "leaderboard"}
    assert any("counting.classes" in reason for reason in states(run)["small/evaluation"]["reasons"])
    assert {name.partition("/")[2] or name for name in computed(run)} == {"evaluation", "leaderboard"}
    counting = Store(home).open_latest(Key("evaluation", "small")).metrics()["counting"]
    assert (counting["classes"], counting["reported_apart"]) == ([names[0]], names[1:])
    answer = run("agar", "predict", "--experiment", "small", str(photos), "--json")
    assert f"{names[0]} count as colonies, from a score of 0.06 on" in answer.stderr
    coco = json.loads(answer.stdout)
    own = sum(each["category_id"] == coco["categories"][0]["id"] for each in coco["annotations"])
    assert sum(image["colonies"] for image in coco["images"]) == own  # after three steps a model may find nothing
    pipeline.write_text(original.replace("class_map:", "counting: {classes: [Defects]}\nclass_map:"))
    refused = run("agar", "plan")
    assert "counting.classes=Defects is not the name of a class of class_map" in refused.stderr
    pipeline.write_text(original)
    assert computed(run) == set(), "going back computes nothing"
    assert states(run) == {}


def test_a_photo_replaced_in_place_is_seen(chain: Chain) -> None:
    run, home = chain.run, chain.home
    photo = home.parent / "plates" / "1.jpg"
    content, times = photo.read_bytes(), photo.stat()
    photo.write_bytes(content + b"\0")
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "1.jpg" in states(run)["snapshot"]["reasons"][0]
    photo.write_bytes(content)
    assert "snapshot" not in states(run)


def test_only_the_edited_experiment_is_stale_in_the_plan_and_in_the_web_ui(chain: Chain) -> None:
    run, configs = chain.run, chain.configs
    experiment = configs / "experiment" / "other.yaml"
    experiment.write_text(experiment.read_text() + "optimizer: {lr: 0.5}\n")
    own = {"other/smoke_run", "other/training_run", "other/evaluation"}
    plan = states(run)
    assert set(plan) - {"leaderboard"} == own
    assert plan["other/smoke_run"]["reasons"] == ["smoke_run.optimizer.lr 0.002 → 0.5"]
    query = "{ assetNodes { assetKey { path } staleStatus } }"
    answer = run("dagster-graphql", "-m", "agar_pipeline.definitions", "-t", query, **dagster_env(run))
    (line,) = [line for line in answer.stdout.splitlines() if line.startswith("{")]  # beside the server's log
    nodes = json.loads(line)["data"]["assetNodes"]
    stale = {"/".join(node["assetKey"]["path"]) for node in nodes if node["staleStatus"] == "STALE"}
    assert stale == {"other/smoke_run", "other/training_run"}, "Dagster looks one step ahead, the plan all the way"


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda path, content: path.write_bytes(content.replace(b"0", b"1", 1)), "was altered on disk"),
        (lambda path, content: path.write_bytes(content[: len(content) // 2]), "was altered on disk"),
        (lambda path, content: path.unlink(), "is missing"),
    ],
    ids=["altered", "truncated", "deleted"],
)
def test_a_damaged_file_is_rebuilt_and_nothing_after_it_runs(
    chain: Chain, damage: Callable[[Path, bytes], object], found: str
) -> None:
    run, home = chain.run, chain.home
    cache = Store(home).latest(Key("coco_cache"))
    assert cache is not None
    path = cache / "coco" / "val.json"
    content = path.read_bytes()
    damage(path, content)
    plan = json.loads(run("agar", "plan", "--json").stdout)["assets"]
    assert {asset["asset"] for asset in plan if asset["state"] != "fresh"} == {"coco_cache"}
    assert f"coco/val.json {found}" in next(a for a in plan if a["state"] == "corrupt")["reasons"][0]
    assert computed(run, "coco_cache") == set(), "the folder is the same one again"
    assert path.read_bytes() == content
    assert "coco_cache" not in states(run)


def test_a_fail_rule_stops_the_run_and_every_later_one(chain: Chain) -> None:
    run, home, configs = chain.run, chain.home, chain.configs
    pipeline = configs / "pipeline" / "small.yaml"
    original = pipeline.read_text()
    trainings = len(list(Store(home).folder(Key("training_run", "small")).iterdir()))
    try:
        pipeline.write_text(original.replace("S.aureus: 1, C.albicans: 2, E.coli: 3", "S.aureus: 1, C.albicans: 2"))
        code, output = materialize(run, "*")
        assert code == 1
        assert "boxes_are_clean" in output
        report = Store(home).open_latest(Key("bbox_report"))
        assert not report.report()["ok"]
        assert {"label 'E.coli'"} == set(report.findings()["value"])
        code, output = materialize(run, 'key:"small/smoke_run"')
        assert code == 1
        assert "refuses this data for training: unknown_class" in output
        alone = run("agar", "train", "experiment=small")
        assert alone.returncode == 1
        assert "refuses this data for training: unknown_class" in alone.stderr
        assert len(alone.stderr.strip().splitlines()) <= 3
        assert len(list(Store(home).folder(Key("training_run", "small")).iterdir())) == trainings
    finally:
        pipeline.write_text(original)
    assert run("agar", "run").returncode == 0


def test_agar_run_ends_with_the_models_first_and_what_to_do(chain: Chain) -> None:
    store = Store(chain.home)
    built = {key: store.open_latest(key) for key in KEYS}
    lines = closing_lines(store, built)
    page = store.open_latest(Key("evaluation", "small")).root / "report.html"
    for name in EXPERIMENTS:
        assert re.search(rf"^{name}/evaluation: (this model|map_50 \d)", "\n".join(lines[:2]), re.MULTILINE)
    pages = [line for line in lines if line.endswith(".html")]
    assert pages[0].startswith("look at ")
    assert str(page) in "\n".join(pages[:2])
    assert str(store.open_latest(Key("leaderboard")).root) in pages[2]
    assert lines[-1].startswith("next: ")
    assert closing_lines(store, {}) == ["next: agar plan"]


def test_smoke_and_train_answer_in_json(chain: Chain) -> None:
    run, home = chain.run, chain.home
    smoke = json.loads(run("agar", "smoke", "experiment=small", "--json").stdout)
    assert (smoke["ok"], smoke["cached"]) == (True, True)
    assert smoke["profile"]["verdict"]
    trained = json.loads(run("agar", "train", "experiment=small", "--json").stdout)
    assert trained["cached"]
    assert trained["path"] == str(Store(home).latest(Key("training_run", "small")))
    assert Path(trained["checkpoint"]).is_file()


def test_compute_is_taken_from_config_json_and_two_ranks_train(chain: Chain) -> None:
    run, home, configs = chain.run, chain.home, chain.configs
    experiment = configs / "experiment" / "small.yaml"
    original = experiment.read_text()
    refused = json.dumps({"resources": {"compute": {"config": {"devices": 4096, "accelerator": "cpu"}}}})
    two = json.dumps({"resources": {"compute": {"config": {"devices": 2, "accelerator": "cpu"}}}})
    try:
        experiment.write_text(original.replace("max_steps: 3", "max_steps: 2"))
        code, output = materialize(run, 'key:"small/training_run"', "--config-json", refused)
        assert code == 1
        assert "trainer.devices=4096 is more than this machine" in output
        code, output = materialize(run, 'key:"small/training_run"', "--config-json", two)
        assert code == 0, output[-3000:]
    finally:
        experiment.write_text(original)
    runs = [Path(root) for root in Store(home).published() if root.parent.name == "training_run"]
    assert {json.loads((root / "experiment.json").read_text())["world_size"] for root in runs} == {1, 2}
    assert run("agar", "run").returncode == 0


def test_what_agar_train_trained_with_more_devices_or_as_a_variant_is_found(chain: Chain) -> None:
    run, home, configs = chain.run, chain.home, chain.configs
    pipeline, store = configs / "pipeline" / "small.yaml", Store(home)
    original = pipeline.read_text()
    experiment = (
        "# @package _global_\n"
        "data: {input_size: 96, batch_size: 2}\n"
        "trainer: {max_epochs: null, max_steps: 1, accelerator: cpu}\n"
    )
    for name, word in (("faster", "trainer.devices=2"), ("warmer", "optimizer.lr=0.005")):
        (configs / "experiment" / f"{name}.yaml").write_text(experiment + f"seed: {len(name) * len(word)}\n")
        trained = run("agar", "train", f"experiment={name}", word, "--json")
        assert trained.returncode == 0, trained.stderr
        root = Path(json.loads(trained.stdout)["path"])
        assert store.latest(Key("training_run", name)) == (root if name == "faster" else None)
    with (configs / "experiment" / "warmer.yaml").open("a") as file:
        file.write("optimizer: {lr: 0.005}\n")  # it proved to be the better one
    pipeline.write_text(original.replace("[small, other]", "[small, other, faster, warmer]"))
    planned = run("agar", "plan", "--json")
    assert planned.returncode == 10, planned.stderr
    plan = {asset["asset"]: asset for asset in json.loads(planned.stdout)["assets"]}
    for key in ("faster/training_run", "warmer/smoke_run", "warmer/training_run"):
        (reason,) = plan[key]["reasons"]
        assert "nothing to compute" in reason
    before = set(store.published())
    assert run("agar", "run").returncode == 0
    built = {path.parent.name for path in set(store.published()) - before}
    assert built == {"evaluation", "leaderboard"}
    assert store.latest(Key("training_run", "warmer")) == root


def test_training_and_evaluation_need_neither_fiftyone_nor_a_database(chain: Chain, tmp_path: Path) -> None:
    run = chain.run
    broken = tmp_path / "without_fiftyone" / "fiftyone"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('FiftyOne is not installed here')")
    (broken.parent / "pymongo").mkdir()
    (broken.parent / "pymongo" / "__init__.py").write_text("raise ImportError('nor is pymongo')")
    path = os.pathsep.join([str(broken.parent), os.environ.get("PYTHONPATH", "")])
    done = run("agar", "train", "experiment=small", "trainer.max_steps=1", "seed=1", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("best.ckpt")
    assert Path(done.stdout.strip()).is_file()


def test_split_is_what_the_parquet_file_says(chain: Chain) -> None:
    home = chain.home
    table = pd.read_parquet(Store(home).folder(Key("split")) / "latest" / "split.parquet")
    assert list(table.columns) == ["image_id", "part"]
    assert table["part"].value_counts().to_dict() == {"train": 9, "val": 3}
