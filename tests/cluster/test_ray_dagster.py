"""The chain from Dagster with `compute: {launcher: ray}`: the data as without it, bit for bit, and a training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.store import Key, Store
from tests.coco_home import describe_plates
from tests.conftest import Run, copy_configs, runner
from tests.docs.pages import Reader

DATA = [Key(asset) for asset in ("snapshot", "split", "coco_cache", "bbox_report")]
TRAINING = Key("training_run", "small")


def prepare(folder: Path) -> Path:
    """Configs of a pipeline that shrinks 40 plates and looks for those that are alike."""
    images = folder / "images"
    generate_plates(images, 40, 160, 0, None, (3, 8))
    for part, numbers in {"train": range(1, 33), "val": range(33, 41)}.items():
        (folder / f"{part}.json").write_text(json.dumps(describe_plates(images, numbers, 160)))
    files = {part: str(folder / f"{part}.json") for part in ("train", "val")}
    pipeline = {
        "snapshot": {"source": "coco", "dataset": "plates", "images_dir": str(images), "files": files},
        "split": {"method": "random", "seed": 0, "fractions": {"train": 0.8, "val": 0.2}},
        "media": "resize",
        "max_side": 128,
        "experiments": ["small"],
    }
    configs = copy_configs(folder / "configs")
    (configs / "pipeline" / "plates.yaml").write_text(yaml.safe_dump(pipeline))
    return configs


def materialize(run: Run, compute: dict[str, object], **env: str) -> str:
    config = json.dumps({"resources": {"compute": {"config": compute}}})
    where = ("-m", "agar_pipeline.definitions", "--select", '+key:"small/training_run"')
    done = run("dagster", "asset", "materialize", *where, "--config-json", config, **env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def test_the_chain_on_ray_is_the_chain_without(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    configs = prepare(tmp_path)
    stores = {name: Store(tmp_path / name) for name in ("ray", "here")}
    computes: dict[str, dict[str, object]] = {"ray": {"launcher": "ray", "num_nodes": 2}, "here": {"devices": 2}}
    for name, compute in computes.items():
        home = str(tmp_path / name)
        settings = {"AGAR_HOME": home, "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "plates"}
        run = runner({**settings, "DAGSTER_HOME": f"{home}/dagster"})
        assert run("agar", "env").returncode == 0  # makes the home, with a folder for Dagster in it
        said = materialize(run, compute, **(ray_cluster if name == "ray" else {}))
        assert ("2 Ray workers on 2 nodes" in said) == (name == "ray")
        on_ray = set(re.findall(r"(\w+) - photos are processed on the Ray cluster", said))
        assert on_ray == ({key.asset for key in DATA} if name == "ray" else set())
    for key in [*DATA, TRAINING]:
        ours, theirs = (stores[name].open_latest(key).manifest for name in ("ray", "here"))
        assert ours.fingerprint == theirs.fingerprint
        if key in DATA:
            assert ours.data_version == theirs.data_version, key
    experiment = json.loads((stores["ray"].open_latest(TRAINING).root / "experiment.json").read_text())
    assert experiment["world_size"] == 2


def test_the_commands_of_the_page(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.follow_the_tutorial(until="## 5")
    reader.type(["agar run +bbox_report"])
    reader.env |= ray_cluster
    one_core_each = {"trainer.devices=2": "trainer.devices=1", '"devices":2': '"devices":1'}
    said = reader.follow("docs/how-to/ray.md", {"head:6379": ray_cluster["RAY_ADDRESS"], **one_core_each})
    assert "2 Ray workers on 2 nodes" in said
