"""Cases 45 to 48: nothing in the data, a checkpoint or a config is followed out of the folder, or executed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from PIL import Image

from agar_pipeline.coco.columns import read_coco
from agar_pipeline.detection.loading.dataset import DetectionDataset
from agar_pipeline.errors import PipelineError
from agar_pipeline.fiftyone_io.database.connection import open_database
from tests.acceptance.grading import refused, right
from tests.acceptance.lab import Lab, in_full
from tests.acceptance.test_data import agar_here
from tests.conftest import CHECKOUT

SCRIPT = "<script>alert(1)</script>"


def one_photo(folder: Path, name: str, class_name: str = "S.aureus") -> Path:
    """A COCO file of one image of this name, with one box."""
    plain = {
        "images": [{"id": 1, "file_name": name, "width": 64, "height": 64}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}],
        "categories": [{"id": 1, "name": class_name}],
    }
    path = folder / "given.json"
    path.write_text(json.dumps(plain))
    return path


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "ABSOLUTE", "link.jpg", "nul\0.jpg", "/dev/zero", "fifo.jpg", "sub/../../secret.jpg"]
)
def test_case_45_no_name_leads_out_of_the_folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_HOME", str(tmp_path / "home"))
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    secret = tmp_path / "secret.jpg"
    Image.new("RGB", (64, 64)).save(secret)
    (photos / "link.jpg").symlink_to(secret)
    os.mkfifo(photos / "fifo.jpg")
    path = one_photo(tmp_path, str(secret) if name == "ABSOLUTE" else name)
    report = tmp_path / "report.json"
    where = ("--json", str(path), "--images-dir", str(photos))
    done = agar_here("inspect-coco", *where, "--check-all", "--report", str(report))
    right(done.returncode == 1, f"{name!r} passes the validation")
    assert json.loads(report.read_text())["findings"]["unsafe_file_name"]["count"] == 1
    with pytest.raises(PipelineError):
        right(DetectionDataset(read_coco(path), photos, 64)[0] is None, f"{name!r} is opened by the loader")


def test_case_46_archives_are_not_unpacked(lab: Lab, tmp_path: Path) -> None:
    archive = tmp_path / "photos.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(lab.plates / "1.jpg", "../../outside.jpg")
    refused(lab.call("import", "agar", "--images-dir", str(archive), "--dataset", "x"), "photos.tar", code=2)
    assert not list(tmp_path.parent.glob("outside.jpg"))


class Payload:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


@in_full
def test_case_47_a_checkpoint_that_carries_code_is_refused_and_does_not_run(trained: Lab, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "payload": Payload(mark)}, path)
    refused(trained.call("predict", "--checkpoint", str(path), str(trained.plates / "1.jpg")), "evil.ckpt")
    right(not mark.exists(), "code in a checkpoint ran")
    path.write_bytes(pickle.dumps(Payload(mark)))
    refused(trained.call("train", "experiment=small", f"model.weights={path}"), "evil.ckpt", "not loaded", code=2)
    right(not mark.exists(), "code in a file of weights ran")
    best = trained.open("small/training_run").root / "checkpoints" / "best.ckpt"
    content = best.read_bytes()
    try:
        torch.save({"state_dict": {}}, best)
        refused(
            trained.call("predict", "--checkpoint", str(best), str(trained.plates / "1.jpg")), "was altered on disk"
        )
    finally:
        best.write_bytes(content)


def test_case_48_nothing_in_a_config_is_executed(lab: Lab, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    experiment = lab.configs / "experiment" / "small.yaml"
    before = experiment.read_text()
    tags = {
        "_target_": f"model: {{_target_: os.system, name: 'touch {mark}'}}\n",
        "tag": f"seed: !!python/object/apply:os.system ['touch {mark}']\n",
    }
    try:
        for word, text in tags.items():
            experiment.write_text(before + text)
            refused(lab.call("train", "experiment=small", "--cfg", "job"), word, code=2)
            right(not mark.exists(), f"a config with {word} ran a command")
    finally:
        experiment.write_text(before)


def test_case_48_names_are_escaped_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_HOME", str(tmp_path / "home"))
    name = f"{SCRIPT.replace('/', '')}.jpg"
    Image.new("RGB", (64, 64)).save(tmp_path / name)
    path, page = one_photo(tmp_path, name, class_name=SCRIPT), tmp_path / "page.html"
    agar_here("inspect-coco", "--json", str(path), "--images-dir", str(tmp_path), "--html", str(page))
    right("<script>alert" not in page.read_text(), "a class name is not escaped")
    results, out = tmp_path / "results.json", tmp_path / "scores"
    results.write_text(json.dumps([{"image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "score": 0.9}]))
    files = ("--json", str(path), "--predictions", str(results), "--images-dir", str(tmp_path), "--out-dir", str(out))
    done = agar_here("evaluate", *files, "--score-threshold", "0.5")
    assert done.returncode == 0, done.stderr
    right("<script>alert" not in (out / "report.html").read_text(), "a name is not escaped")


FIFTYONE_SETTINGS = """
from agar_pipeline.fiftyone_io.reading.view import import_fiftyone
fo = import_fiftyone("mongodb://127.0.0.1:1")
print(fo.config.do_not_track, fo.config.default_app_address)
"""


def test_case_48_services_listen_on_this_machine_alone_and_report_nothing_home(lab: Lab) -> None:
    with open_database("embedded", lab.home):
        server = json.loads((lab.home / "fiftyone" / "server.json").read_text())
        listening = [c.laddr for c in psutil.Process(server["pid"]).net_connections("all") if not c.raddr]
    right(set(listening) == {server["socket"]}, f"the database listens on {listening}")
    told = subprocess.run([sys.executable, "-c", FIFTYONE_SETTINGS], env=lab.env, capture_output=True, text=True)
    right(told.stdout.split()[-2:] in (["True", "None"], ["True", "localhost"], ["True", "127.0.0.1"]), told.stdout)
    for settings in (CHECKOUT / "dagster.yaml", lab.home / "dagster" / "dagster.yaml"):
        right(yaml.safe_load(settings.read_text())["telemetry"] == {"enabled": False}, f"telemetry in {settings}")
