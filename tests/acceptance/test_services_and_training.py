"""Cases 36 to 44: the database, missing packages, devices, memory, losses, ranks, and going on after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agar_pipeline.config import load_experiment
from agar_pipeline.errors import ComputeError
from agar_pipeline.fiftyone_io.database import settings
from agar_pipeline.processes.launch import run_child
from agar_pipeline.store import Key, find_faults
from tests.acceptance.grading import Unclear, refused, right
from tests.acceptance.lab import Lab, in_full, wait_until
from tests.conftest import BIN, CHECKOUT, edit_samples

WITHIN_S = 30
SMALL = ("experiment=small", "data.input_size=96", "data.batch_size=2")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A socket that accepts and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


@pytest.fixture
def locked_port(tmp_path: Path) -> Iterator[int]:
    """A real mongod that wants a password."""
    port = free_port()
    (tmp_path / "db").mkdir()
    command = [str(settings.mongod_path()), "--auth", "--dbpath", str(tmp_path / "db"), "--port", str(port)]
    process = subprocess.Popen([*command, "--bind_ip", "127.0.0.1", "--nounixsocket"], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, 30, "mongod starts")
    yield port
    process.kill()
    process.wait()


@in_full
def test_case_36_a_database_that_cannot_be_used_is_one_line_and_cached_artifacts_go_on(
    lab: Lab, silent_port: int, locked_port: int
) -> None:
    for port, told in (
        (free_port(), "nothing listens there"),
        (silent_port, "does not answer"),
        (locked_port, "requires a password"),
    ):
        with lab.pipeline(snapshot=f'{{dataset: small, database: "mongodb://127.0.0.1:{port}"}}'):
            started = time.monotonic()
            refused(lab.call("run", "snapshot"), told)
            assert time.monotonic() - started < WITHIN_S
            assert "note: the dataset could not be read" in lab.run("run", "bbox_report"), "what is cached goes on"
            refused(lab.call("plan"), told)
    lab.require_same()


@in_full
def test_case_37_a_database_that_freezes_in_the_middle_leaves_no_partial_snapshot(lab: Lab) -> None:
    before = lab.store.roots(Key("snapshot"))
    edit_samples(lab.home, "small", lambda samples: samples.update_one({}, {"$addToSet": {"tags": "frozen"}}))
    server = json.loads((lab.home / "fiftyone" / "server.json").read_text())
    process = lab.start("run", "snapshot")
    assert process.stdout is not None
    lines: list[str] = []
    frozen = False

    def freeze_when_it_reads() -> None:
        nonlocal frozen
        for line in process.stdout or ():
            lines.append(line)
            if "snapshot" in line and "started" in line and not frozen:
                os.kill(server["pid"], signal.SIGSTOP)
                frozen = True

    reader = threading.Thread(target=freeze_when_it_reads)
    reader.start()
    try:
        process.wait(120)
    finally:
        os.kill(server["pid"], signal.SIGCONT)
        reader.join()
    output = "".join(lines)
    assert frozen, output
    right(process.returncode != 0, "a database that never answered was read")
    if "answer" not in output[output.find("error: ") :] or "Traceback" in output:
        raise Unclear(output[-1500:])
    right(lab.store.roots(Key("snapshot")) == before, "half a snapshot was published")
    lab.run("run", "snapshot")
    lab.require_same(("snapshot",))


def without(folder: Path, *packages: str) -> str:
    """A PYTHONPATH on which packages are not installed."""
    for package in packages:
        text = f"raise ModuleNotFoundError(\"No module named '{package}'\", name='{package}')\n"
        (folder / f"{package}.py").write_text(text)
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


@in_full
def test_case_38_training_and_evaluation_need_no_fiftyone(lab: Lab, tmp_path: Path) -> None:
    env = {"PYTHONPATH": without(tmp_path, "fiftyone", "pymongo", "bson")}
    cache = lab.open("coco_cache")
    trained = lab.run("train", *SMALL, "trainer.max_steps=2", **env).strip().splitlines()
    checkpoint = next(line for line in trained if line.endswith("best.ckpt"))
    files = ("--json", str(cache.json_path("val")), "--images-dir", str(lab.plates), "--out-dir", str(tmp_path / "out"))
    lab.run("evaluate", "--checkpoint", checkpoint, *files, "--pictures", "0", **env)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["num_images"] == 8


@in_full
def test_case_39_a_missing_map_backend_is_found_by_the_smoke_step(lab: Lab, tmp_path: Path) -> None:
    env: dict[str, Any] = {"PYTHONPATH": without(tmp_path, "hotcoco")}
    refused(lab.call("smoke", *SMALL, "seed=39", **env), "hotcoco", "pip install")


@in_full
def test_case_40_more_devices_than_there_are_are_refused_and_one_is_the_default(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from agar_pipeline.detection.loading.devices import Site

    many = lab.call("train", *SMALL, "trainer.devices=64", "data.batch_size=64", "trainer.accelerator=cpu")
    refused(many, "trainer.devices=64", "one for each process")
    none = lab.call("train", *SMALL, "trainer.accelerator=cuda", CUDA_VISIBLE_DEVICES="")
    refused(none, "is more than 0 visible CUDA devices")
    refused(lab.call("train", *SMALL, "trainer.devices=0"), "trainer.devices", code=2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # the one thing that is pretended
    config = load_experiment("baseline").training_run
    right(Site.find(config, print).world.size == config.trainer.devices == 1, "two GPUs are taken where one is meant")


@in_full
def test_case_41_out_of_memory_names_what_would_fit(lab: Lab) -> None:
    words = (*SMALL, "data.input_size=2048", "data.batch_size=32", "seed=41")
    limited = ["bash", "-c", 'ulimit -v 9000000; exec "$@"', "bash", str(BIN / "agar"), "smoke", *words]
    done = subprocess.run(limited, cwd=CHECKOUT, env=lab.env, capture_output=True, text=True)
    refused(done, "memory ran out at data.batch_size=32, data.input_size=2048", "data.batch_size=16", ".jpg")


@in_full
def test_case_42_a_loss_that_is_not_a_number_stops_at_once_and_names_the_images(lab: Lab) -> None:
    words = (*SMALL, "seed=42", "trainer.max_steps=null", "trainer.max_epochs=9", "trainer.log_every_n_steps=1")
    done = lab.call("train", *words, "optimizer.lr=1e30", "optimizer.clip_norm=null", "optimizer.warmup_steps=0")
    refused(done, "lower optimizer.lr")  # the smoke step before it finds it
    rising = ("optimizer=sgd", "optimizer.lr=1e4", "optimizer.warmup_steps=100000")  # fine at first, then far too much
    done = lab.call("train", *words, *rising, "optimizer.clip_norm=null")
    refused(done, "the loss is", ".jpg", "lower optimizer.lr")


SEGFAULT = """
import os, signal, time
from agar_pipeline.processes.child import child_main

def crash(request, log):
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(100)

if __name__ == "__main__":
    child_main(crash)
"""


def test_case_43_a_rank_that_dies_ends_all_and_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAR_HOME", str(tmp_path / "home"))
    (tmp_path / "a_rank_that_crashes.py").write_text(SEGFAULT)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    started = time.monotonic()
    with pytest.raises(ComputeError) as caught:
        run_child("a_rank_that_crashes", {}, print, ranks=2, env={"PYTHONPATH": path})
    assert time.monotonic() - started < 60
    first, second = str(caught.value).splitlines()
    assert first.startswith("rank 1 ended with exit code -11 (SIGSEGV), a segmentation fault, most often because of")
    assert "; all other ranks were stopped" in first
    assert second.startswith(f"run `agar verify`, look at the bbox report, read its output in {tmp_path / 'home'}")


EPOCHS = (
    *SMALL, "seed=44", "trainer.max_steps=null", "trainer.max_epochs=6", "trainer.val_every_n_epochs=1",
    "trainer.log_every_n_steps=1", "optimizer.ema_decay=0.9", "optimizer.schedule=step", "model.score_floor=0",
)  # fmt: skip


@in_full
def test_case_44_killed_after_three_epochs_and_gone_on_with_it_is_the_same_bit_for_bit(lab: Lab) -> None:
    key, names = Key("training_run", "small"), ("metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt")
    known = set(lab.store.roots(key))
    lab.run("train", *EPOCHS)
    (root,) = set(lab.store.roots(key)) - known
    undisturbed = {name: (root / name).read_bytes() for name in names}
    shutil.rmtree(root)
    process = lab.start("train", *EPOCHS)

    def epochs_done() -> int:
        found = (lab.home / "resume" / "small" / "training_run" / root.name).glob("[ab].json")
        return max((json.loads(path.read_text())["progress"]["epoch"] for path in found), default=0)

    wait_until(lambda: process.poll() is not None or epochs_done() >= 3, 90, "three epochs")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not lab.processes(), 10, "the trainer ends")
    other = lab.call("train", *EPOCHS, "optimizer.lr=0.5", "trainer.max_epochs=1")
    right("continues from epoch" not in other.stderr, "another config goes on from this one's point")
    output = lab.run("train", *EPOCHS)
    assert "continues from epoch" in output
    assert not find_faults(root)
    for name in names:
        right((root / name).read_bytes() == undisturbed[name], f"{name} differs")
