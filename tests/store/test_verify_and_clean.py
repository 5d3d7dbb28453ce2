"""`agar verify`, `agar clean`, and disks that are full or refuse."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from agar_pipeline.artifacts import Manifest
from agar_pipeline.commands import agar
from agar_pipeline.errors import ArtifactError, StorageError
from agar_pipeline.processes.launch import run_child
from agar_pipeline.store import Content, Key, Store, find_faults
from agar_pipeline.store.clean import drop, find_droppable
from agar_pipeline.store.unfinished import remove_work
from agar_pipeline.store.verify import find_kept, keep, was_set_aside

SPLIT, REPORT = Key("split"), Key("bbox_report")
SNAPSHOT = Content("snapshot-1", {"image_ids.parquet": "x"})
SMALL_DISK_BYTES = 8_000_000
TOLD = r"because no space is left: split needs more than the [78]\.\d MB that it had written; [78]\.\d MB are free"


def write_split(out_dir: Path, seed: int = 0) -> None:
    for name in SPLIT.kind.files:
        (out_dir / name).write_text("{}")
    pd.DataFrame({"image_id": [1, 2], "part": ["train", "val"], "seed": seed}).to_parquet(out_dir / "split.parquet")


def write_report(out_dir: Path) -> None:
    for name in ("report.json", "verdict.json", "findings.parquet", "report.html"):
        (out_dir / name).write_text(name)


def build_split(store: Store, seed: int = 0, *, repoint: bool = True) -> Path:
    def write(out_dir: Path) -> None:
        write_split(out_dir, seed)

    inputs = {"snapshot": SNAPSHOT}
    return store.build(SPLIT, {"seed": seed}, inputs, write, lambda text: None, repoint=repoint).artifact.root


def damage(root: Path) -> Path:
    (root / "split.parquet").write_bytes(b"rot")
    return root


def build_report(store: Store, split: Path, seconds: float = 0) -> Path:
    """Made from the split, as far as the store knows."""

    def write(out_dir: Path) -> None:
        (store.home / "started").touch()
        time.sleep(seconds)
        write_report(out_dir)

    inputs = {"split": Content.of(Manifest.read(split))}
    return store.build(REPORT, {}, inputs, write, lambda text: None, uses=[split]).artifact.root


def call(*arguments: str) -> tuple[int, str]:
    answer = CliRunner().invoke(agar, arguments)
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.exit_code, answer.output


def test_verify_finds_nothing_in_an_empty_or_a_whole_home(home: Path) -> None:
    assert call("verify") == (0, "0 artifacts, 0 bytes, checked: all are intact\nnext: agar plan\n")
    build_split(Store(home))
    code, output = call("verify", "--json")
    assert code == 0
    assert json.loads(output)["artifacts"] == 1


def test_verify_quarantines_what_is_bad_and_says_what_is_built_again(home: Path) -> None:
    store = Store(home)
    old, current = build_split(store, 0), build_split(store, 1)
    (old / "split.parquet").write_bytes(b"rot")
    (current / "manifest.json").unlink()
    code, output = call("verify")
    assert code == 1
    assert "split.parquet was altered on disk" in output
    assert "it is built when it is needed" in output
    assert "holds no artifact" in output
    assert "`agar run` builds it again" in output
    assert "2 artifacts" in output
    assert "checked: 2 are damaged\n" in output
    assert len(list((home / "quarantine").iterdir())) == 2
    assert not (store.folder(SPLIT) / "latest").is_symlink(), "no link that leads nowhere stays"
    assert call("verify")[0] == 0
    assert was_set_aside(store, SPLIT)
    assert not was_set_aside(store, REPORT)
    assert find_faults(build_split(store, 1)) == []


def test_verify_repairs_a_latest_that_leads_nowhere(home: Path) -> None:
    store = Store(home)
    root = build_split(store)
    root.rename(home / "elsewhere")
    code, output = call("verify", "--json")
    assert code == 1
    assert json.loads(output)["latest_removed"] == ["split"]
    assert json.loads(output)["rebuilt_by_agar_run"] == ["split"]
    assert call("verify")[0] == 0


def test_clean_keeps_what_is_current_and_what_that_was_made_from(home: Path) -> None:
    store = Store(home)
    made_from, unused, current = (build_split(store, seed) for seed in range(3))
    report = build_report(store, made_from)
    assert find_kept(store) == {made_from, report, current}
    rotten = store.quarantine(damage(build_split(store, 3, repoint=False)))
    (home / "quarantine" / "mine").write_bytes(bytes(1000))
    code, output = call("clean")
    assert code == 0
    assert str(unused) in output
    assert str(rotten) in output
    assert "agar clean --yes" in output
    assert unused.is_dir(), "without a terminal and without --yes it only shows"
    shown = json.loads(call("clean", "--json")[1])
    assert [Path(item["path"]).name for item in shown["found"]] == [unused.name, rotten.name]
    assert not any(item["dropped"] for item in shown["found"])
    code, output = call("clean", "--yes")
    assert code == 0
    assert "to drop: 1 old artifact, 1 quarantined item, " in output
    assert "dropped: 1 old artifact, 1 quarantined item, " in output
    assert list(store.published()) == [report, *sorted([made_from, current])]
    assert [path.name for path in (home / "quarantine").iterdir()] == ["mine"], "nobody knows whose it is"
    assert unused.name not in " ".join(path.name for path in store.folder(SPLIT).iterdir()), "its locks went with it"
    assert call("clean") == (
        0,
        f"kept: {home}/quarantine/mine: it was not written by agar\nnothing to drop; next: agar plan\n",
    )


def test_clean_keeps_a_run_that_was_told_to_be_kept_until_it_is_released(home: Path) -> None:
    store = Store(home)
    older, unused, current = (build_split(store, seed) for seed in range(3))
    code, output = call("clean", "--keep", older.name[:10], "--yes")
    assert (code, "dropped: 1 old artifact, " in output) == (0, True)
    assert sorted(store.published()) == sorted([older, current])
    assert not unused.exists()
    with pytest.raises(
        ArtifactError, match="--keep=0000000 matches the beginning of 0 fingerprints, but must match one"
    ):
        keep(store, "0000000")
    code, output = call("clean", "--release", older.name[:6], "--yes")
    assert (code, "dropped: 1 old artifact, " in output) == (0, True)
    assert list(store.published()) == [current]
    assert call("verify")[0] == 0


def test_clean_leaves_alone_what_a_running_process_reads_or_writes(home: Path) -> None:
    store = Store(home)
    read, _ = build_split(store, 0), build_split(store, 1)
    reader = multiprocessing.get_context("fork").Process(target=build_report, args=(store, read, 60))
    reader.start()
    while not (home / "started").exists():
        time.sleep(0.01)
    code, output = call("clean", "--yes")
    assert code == 0
    assert f"in use by a running process: {read}" in output
    assert "nothing was dropped" in output
    assert len(list(store.folder(REPORT).glob(".draft-*"))) == 1
    os.kill(reader.pid, signal.SIGKILL)  # type: ignore[arg-type]
    reader.join()
    assert "\ndropped: 1 " in call("clean", "--yes")[1]
    assert not read.exists()
    assert not list(store.folder(REPORT).glob(".draft-*"))


def test_clean_looks_again_before_it_drops(home: Path) -> None:
    store = Store(home)
    first, second = build_split(store, 0), build_split(store, 1)
    (found,) = find_droppable(store)
    assert found.path == first
    build_split(store, 0)
    assert drop(store, [found]).in_use == [found], "it became the current one in between"
    assert first.is_dir()
    assert second.is_dir()


TRAINING = Key("training_run", "small")


def build_training(store: Store, seed: int = 0) -> Path:
    def write(out_dir: Path) -> None:
        for name in TRAINING.kind.files:
            (out_dir / name).parent.mkdir(parents=True, exist_ok=True)
            (out_dir / name).write_text(f"{name} {seed}")

    inputs = {name: Content("1", {}) for name in ("coco_cache",)}
    return store.build(TRAINING, {"seed": seed}, inputs, write, lambda text: None).artifact.root


@pytest.mark.parametrize("name", [".DS_Store", "checkpoints/.nfs0000000012ab", "._best.ckpt", "Thumbs.db", "@eaDir/x"])
def test_what_systems_leave_in_an_artifact_is_overlooked(home: Path, name: str) -> None:
    store = Store(home)
    root = build_training(store)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("x")
    assert find_faults(root, thorough=True) == []
    assert call("verify")[0] == 0
    assert build_training(store) == root
    assert (root / name).exists()
    assert not (home / "quarantine").exists()


def test_a_file_that_somebody_put_into_an_artifact_costs_no_training_and_is_kept(home: Path) -> None:
    store = Store(home)
    root = build_training(store)
    built = (root / "checkpoints" / "best.ckpt").stat()
    (root / "notes.txt").write_text("by hand")
    assert find_faults(root) == [f"{root.name}/notes.txt does not belong there"]
    code, output = call("verify", "--json")
    told = json.loads(output)
    assert (code, told["rebuilt_by_agar_run"], told["bad"][0]["whole"]) == (1, [], True)
    assert Path(told["bad"][0]["quarantined"], "notes.txt").read_text() == "by hand"
    (root / "more.txt").write_text("by hand")
    assert build_training(store) == root
    assert (root / "checkpoints" / "best.ckpt").stat() == built, "not trained again"
    code, output = call("clean", "--yes")
    assert "nothing was dropped" in output or "nothing to drop" in output
    assert {path.name for path in (home / "quarantine").rglob("*.txt")} == {"notes.txt", "more.txt"}
    with pytest.raises(ArtifactError, match=r"--drop=nothing matches 0 old artifacts .* nothing was dropped"):
        find_droppable(store, named=["nothing"])
    call("clean", "--yes", "--drop", "foreign")
    assert {path.name for path in (home / "quarantine").rglob("*.txt")} == {"notes.txt", "more.txt"}


def test_an_old_artifact_with_a_file_of_somebodys_is_not_dropped(home: Path) -> None:
    store = Store(home)
    old, _ = build_split(store, 0), build_split(store, 1)
    (old / "mine.txt").write_text("by hand")
    (old / ".DS_Store").write_text("x")
    assert f"kept: {old}: mine.txt in it was not written by agar: move it away first" in call("clean", "--yes")[1]
    assert (old / "mine.txt").read_text() == "by hand"
    (old / "mine.txt").unlink()
    assert "\ndropped: 1 " in call("clean", "--yes")[1], "what systems leave goes with the folder"
    assert not old.exists()


def test_a_checkpoint_in_quarantine_that_is_whole_stays_until_it_is_named(home: Path) -> None:
    store = Store(home)
    whole, hurt = build_training(store, 0), build_training(store, 1)
    store.quarantine(whole)  # as an older version did on account of a .DS_Store
    (hurt / "metrics.csv").write_text("rot")
    code, output = call("verify")
    assert code == 1
    assert f"put back: {whole}" in output
    assert find_faults(whole, thorough=True) == []
    (aside,) = (home / "quarantine").iterdir()
    assert f"kept: {aside}: checkpoints/best.ckpt in it is intact" in call("clean", "--yes")[1]
    assert (aside / "checkpoints" / "best.ckpt").exists()
    call("clean", "--yes", "--drop", aside.name)
    assert not aside.exists()


def test_clean_keeps_snapshots_unless_they_are_named(home: Path) -> None:
    store, key = Store(home), Key("snapshot")

    def build(number: int) -> Path:
        def write(out_dir: Path) -> None:
            for name in key.kind.files:
                (out_dir / name).write_text(f"{number}")

        inputs = {name: Content(f"{number}", {}) for name in ("fiftyone_dataset",)}
        return store.build(key, {}, inputs, write, lambda text: None).artifact.root

    first, second, third, current = (build(number) for number in range(4))
    assert "nothing to drop" in call("clean", "--yes")[1]
    assert "\ndropped: 1 " in call("clean", "--yes", "--drop", first.name[:12])[1]
    assert not first.exists()
    assert second.exists()
    assert "\ndropped: 2 " in call("clean", "--yes", "--snapshots")[1]
    assert list(store.published()) == [current]
    assert not third.exists()


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home on a disk of 8 MB."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    monkeypatch.setenv("AGAR_HOME", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(out_dir: Path) -> None:
    with (out_dir / "split.parquet").open("wb") as stream:
        for _ in range(20):
            stream.write(bytes(1_000_000))
            stream.flush()


def test_a_full_disk_leaves_the_old_state_and_tells_bytes_needed_and_free(small_disk: Path) -> None:
    store = Store(small_disk)
    old = build_split(store)
    with pytest.raises(StorageError, match=TOLD) as caught:
        store.build(SPLIT, {"seed": 1}, {"snapshot": SNAPSHOT}, fill, lambda text: None)
    assert len(str(caught.value).splitlines()) == 2
    assert store.latest(SPLIT) == old
    assert list(store.published()) == [old]
    assert not find_faults(old)
    assert not list(store.folder(SPLIT).glob(".draft-*"))
    build_split(store, 2)


CHILD = """
from pathlib import Path
from agar_pipeline.processes.child import child_main

def handler(request, log):
    try:
        Path(request["out_dir"], "split.parquet").write_bytes(bytes(20_000_000))
    except OSError as error:
        if request["wrap"]:
            raise RuntimeError("some library says something else") from error
        raise
    return {}

if __name__ == "__main__":
    child_main(handler)
"""


def build_in_child(store: Store, folder: Path, *, wrap: bool) -> None:
    (folder / "writing_child.py").write_text(CHILD)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])

    def write(out_dir: Path) -> None:
        request = {"out_dir": str(out_dir), "wrap": wrap}
        run_child("writing_child", request, lambda text: None, env={"PYTHONPATH": path})

    store.build(SPLIT, {"seed": 1}, {"snapshot": SNAPSHOT}, write, lambda text: None)


@pytest.mark.parametrize("wrap", [False, True], ids=["as it is", "wrapped by a library"])
def test_a_full_disk_in_a_child_process_is_told_in_the_same_words(small_disk: Path, tmp_path: Path, wrap: bool) -> None:
    with pytest.raises(StorageError, match=TOLD):
        build_in_child(Store(small_disk), tmp_path, wrap=wrap)
    assert not list(Store(small_disk).published())
    assert not list((small_disk / "tmp").glob("child-*"))


@contextlib.contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_too_large_for_the_disk_is_told_too(home: Path, tmp_path: Path) -> None:
    with (
        largest_file(1_000_000),
        pytest.raises(StorageError, match=r"no space is left .*File too large.*1\.0 MB that it"),
    ):
        build_in_child(Store(home), tmp_path, wrap=False)
    assert not list(Store(home).published())


def test_a_read_only_home_is_named(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match=f"{small_disk}.* cannot be read or written: Read-only file system"):
        build_split(Store(small_disk))


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES], ids=["a broken disk", "no permission"])
def test_a_path_that_cannot_be_read_is_named(home: Path, number: int) -> None:
    def fail(out_dir: Path) -> None:
        raise OSError(number, os.strerror(number), "/photos/1.jpg")

    with pytest.raises(StorageError, match=f"/photos/1.jpg cannot be read or written: {os.strerror(number)}"):
        Store(home).build(SPLIT, {}, {"snapshot": SNAPSHOT}, fail, lambda text: None)


def test_clean_leaves_folders_of_work_and_columns_with_something_of_a_person_in_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    build_split(store)
    work = store.home / "resume" / "demo" / "training_run"
    ours = (
        "a.pt",
        "a.json",
        "b.part",
        "checkpoints/last.ckpt",
        "tensorboard/events.out.tfevents.1.host.2.0",
        ".DS_Store",
    )
    for number, names in enumerate([ours, (*ours, "checkpoints/notes.txt"), ours, ("thesis.txt",)]):
        for name in names:
            (work / f"{number}" / name).parent.mkdir(parents=True, exist_ok=True)
            (work / f"{number}" / name).write_text(name)
            os.utime(work / f"{number}" / name, (number, number))
        for path in (work / f"{number}").iterdir():
            os.utime(path, (number, number))
    for name in ("1" * 32, "2" * 32):
        (store.home / "columns" / name).mkdir(parents=True)
        for file in ("source.json", "boxes_xywh.npy", "file_names.utf8.npy"):
            (store.home / "columns" / name / file).write_text(file)
    (store.home / "columns" / ("2" * 32) / "boxes.csv").write_text("a person's")
    kept = [work / "1", store.home / "columns" / ("2" * 32)]
    before = {path: path.read_bytes() for folder in kept for path in folder.rglob("*") if path.is_file()}
    done = drop(store, find_droppable(store))
    assert {path.name: why for path, why in done.guarded.items()} == {
        "1": "checkpoints/notes.txt in it was not written by agar: move it away first",
        "2" * 32: "boxes.csv in it was not written by agar: move it away first",
    }
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(path.name for path in work.iterdir()) == ["1", "2", "3"], "2 is the newest, 3 is none of ours"
    assert [path.name for path in (store.home / "columns").iterdir()] == ["2" * 32]
    assert remove_work(work / "1") == ["checkpoints/notes.txt"], "as when the training is done"
    assert [path.name for path in (work / "1").rglob("*")] == ["checkpoints", "notes.txt"]
