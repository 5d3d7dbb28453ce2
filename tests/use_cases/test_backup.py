"""`agar backup`: a round trip is exact; what is damaged, foreign or in the way is refused; kills lose nothing."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from agar_pipeline.errors import DatabaseError, PipelineError, StorageError
from agar_pipeline.fiftyone_io.database.connection import connect, open_database
from agar_pipeline.files import locks
from agar_pipeline.ownership.home import open_home
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.store import Content, Key, Store
from agar_pipeline.use_cases.backup import back_up, restore
from tests.conftest import BIN, CHECKOUT, runner
from tests.store.test_verify_and_clean import build_training

RAW: CodecOptions = CodecOptions(document_class=RawBSONDocument)


def quiet(text: str) -> None:
    """Say nothing."""


def change(home: Path, do: Callable[[Any], Any]) -> Any:
    with open_database("embedded", home, may_create=True) as uri, connect(uri) as client:
        return do(client["fiftyone"])


def everything_in(home: Path) -> dict[str, Any]:
    """Every document as raw bytes, every index, of every collection."""

    def read(database: Any) -> dict[str, Any]:
        return {
            name: (
                sorted(d.raw for d in database.get_collection(name, codec_options=RAW).find({})),
                sorted(json.dumps(dict(i), default=str) for i in database[name].list_indexes()),
                database[name].options(),
            )
            for name in database.list_collection_names()
        }

    return change(home, read)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a dataset whose labels a person corrected, a snapshot of it, and a training."""
    folder = tmp_path_factory.mktemp("lab")
    home = folder / "home"
    generate_plates(folder / "plates", 6, size_px=96, seed=5)
    run = runner({"AGAR_HOME": str(home)})
    done = run("agar", "import", "agar", "--images-dir", str(folder / "plates"), "--dataset", "plates")
    assert done.returncode == 0, done.stderr

    def by_hand(database: Any) -> None:
        samples = database[database["datasets"].find_one({"name": "plates"})["sample_collection_name"]]
        value = {"label": "Bacillus süß", "when": datetime(2020, 1, 2), "n": bson.Int64(2**40), "b": b"\0\xff"}
        samples.update_one({}, {"$set": {"ground_truth.detections.0.label": "corrected", "mine": value}})
        samples.create_index([("mine.n", 1), ("filepath", -1)], unique=True, name="by hand")
        database["fs.files"].insert_one({"_id": "a file", "length": 3})
        database["fs.chunks"].insert_one({"files_id": "a file", "n": 0, "data": b"abc"})
        database.create_collection("capped", capped=True, size=4096)
        database["capped"].insert_one({"z": 1, "a": 2})

    change(home, by_hand)
    build_training(Store(home))
    key = Key("snapshot")

    def write(out_dir: Path) -> None:
        for name in key.kind.files:
            (out_dir / name).write_text(name)

    Store(home).build(key, {}, {"fiftyone_dataset": Content("1", {})}, write, quiet)
    return home


@pytest.fixture(scope="module")
def saved(lab: Path) -> Path:
    path = lab.parent / "saved.agar"
    back_up(path, Store(lab), quiet, everything=True)
    return path


def hashes(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes()
        for root in Store(home).published()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_round_trip_is_exact(lab: Path, saved: Path, tmp_path: Path) -> None:
    assert saved.stat().st_mode & 0o777 == 0o600
    home = tmp_path / "home"
    run = runner({"AGAR_HOME": str(home)})
    done = run("agar", "backup", "--restore", str(saved), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["datasets"], told["artifacts"]) == (["plates"], 2)
    assert everything_in(home) == everything_in(lab)
    assert hashes(home) == hashes(lab)
    assert Store(home).latest(Key("snapshot")).name == Store(lab).latest(Key("snapshot")).name  # type: ignore[union-attr]
    assert run("agar", "verify").returncode == 0
    again = run("agar", "backup", "--restore", str(saved))
    assert again.returncode == 0, again.stderr
    assert "; 0 artifacts were missing" in again.stdout


def test_checkpoints_are_left_out_unless_asked_for_and_their_manifests_are_not(lab: Path, tmp_path: Path) -> None:
    done = runner({"AGAR_HOME": str(lab)})("agar", "backup", str(tmp_path / "labels.agar"))
    assert done.returncode == 0, done.stderr
    assert "agar_lower.yaml" in done.stdout, "a dataset in another database is named"
    with tarfile.open(tmp_path / "labels.agar") as tar:
        names = tar.getnames()
    assert not [name for name in names if "checkpoints" in name]
    assert [name for name in names if name.startswith("manifests/artifacts/small/training_run/")]
    assert [name for name in names if name.startswith("artifacts/snapshot/")]
    assert names[-1] == "agar-backup.json"


def test_nothing_is_replaced_and_an_empty_home_is_no_backup(lab: Path, saved: Path, tmp_path: Path) -> None:
    before = saved.read_bytes()
    for path, why in (
        (saved, "exists already"),
        (lab / "x.agar", "lies in the home"),
        (tmp_path / "no/x", f"^{tmp_path}/no is not a folder"),
    ):
        with pytest.raises(StorageError, match=why):
            back_up(path, Store(lab), quiet)
    with pytest.raises(StorageError, match=f"^the home {tmp_path}/empty holds nothing to save"):
        back_up(tmp_path / "x.agar", Store(tmp_path / "empty"), quiet)
    assert saved.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_labels_that_are_there_are_never_replaced(saved: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"

    def theirs(database: Any) -> None:
        database["datasets"].insert_one({"name": "plates", "sample_collection_name": "samples.1"})
        database["samples.1"].insert_one({"label": "mine"})

    change(home, theirs)
    before = everything_in(home)
    with pytest.raises(
        StorageError, match="differs from the backup, so nothing was restored: another dataset 'plates'\n"
    ):
        restore(saved, Store(home), quiet)
    assert everything_in(home) == before
    assert not list(Store(home).published())


def test_labels_edited_since_are_named_by_their_dataset_and_the_next_step_works(
    lab: Path, saved: Path, tmp_path: Path
) -> None:
    home, run = tmp_path / "my home", runner({})
    restore(saved, Store(home), quiet)

    def by_hand(database: Any) -> None:
        samples = database[database["datasets"].find_one({"name": "plates"})["sample_collection_name"]]
        samples.update_one({}, {"$set": {"ground_truth.detections.0.label": "mine"}})

    change(home, by_hand)
    before = everything_in(home)
    done = run("agar", "backup", "--restore", str(saved), AGAR_HOME=str(home))
    assert done.returncode == 1
    assert "differs from the backup, so nothing was restored: dataset 'plates' (1 document differs)\n" in done.stderr
    variable, *words = shlex.split(done.stderr.partition("a home of its own: ")[2])
    assert run(*words, AGAR_HOME=variable.removeprefix("AGAR_HOME=")).returncode == 0
    assert everything_in(tmp_path / "my home-restored") == everything_in(lab)
    assert everything_in(home) == before


def test_another_dataset_beside_it_stays_as_it_is(saved: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    change(home, lambda database: database["datasets"].insert_one({"name": "others", "slug": "others"}))
    restore(saved, Store(home), quiet)
    assert change(home, lambda database: sorted(database["datasets"].distinct("name"))) == ["others", "plates"]


def test_a_backup_while_somebody_writes_is_of_one_moment_or_refused(lab: Path, tmp_path: Path) -> None:
    started, stop = threading.Event(), threading.Event()

    def keep_writing() -> None:
        def write(database: Any) -> None:
            while not stop.is_set():
                database["fs.files"].update_one({"_id": "a file"}, {"$inc": {"length": 1}})
                started.set()

        change(lab, write)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        assert started.wait(60)
        with pytest.raises(DatabaseError, match="because somebody writes into it"):
            back_up(tmp_path / "x.agar", Store(lab), quiet)
    finally:
        stop.set()
        writer.join()
        change(lab, lambda db: db["fs.files"].update_one({"_id": "a file"}, {"$set": {"length": 3}}))
    assert list(tmp_path.iterdir()) == []


def rewritten(saved: Path, path: Path, edit: Callable[[tarfile.TarInfo], bytes | None]) -> Path:
    """A copy of a backup, where `edit` may change a member's head, or give other bytes."""
    with tarfile.open(saved) as old, tarfile.open(path, "w:gz") as new:
        for member in old:
            stream = old.extractfile(member)
            body = edit(member)
            new.addfile(member, stream if body is None else io.BytesIO(body))
    return path


def evil(name: str) -> Callable[[tarfile.TarInfo], None]:
    def edit(member: tarfile.TarInfo) -> None:
        if member.name.startswith("configs/"):
            member.name = name

    return edit


def as_link(member: tarfile.TarInfo) -> None:
    if member.name.startswith("configs/"):
        member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0


def flipped(member: tarfile.TarInfo) -> bytes | None:
    return b"x" * member.size if member.name.endswith("images.parquet") else None


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (evil("../../escaped"), "is not a backup of agar_pipeline, so nothing was restored: it holds"),
        (evil("/tmp/escaped"), "is not a backup of agar_pipeline, so nothing was restored: it holds"),
        (evil("artifacts/../../escaped"), "is not a backup of agar_pipeline, so nothing was restored: it holds"),
        (evil("agar-home.json"), "is not a backup of agar_pipeline, so nothing was restored: it holds"),
        (as_link, "is not a backup of agar_pipeline, so nothing was restored: it holds"),
        (flipped, "images.parquet differs from what its index says"),
    ],
)
def test_a_backup_that_somebody_changed_restores_nothing(saved: Path, tmp_path: Path, edit: Any, told: str) -> None:
    home = open_home(tmp_path / "home")
    with pytest.raises(StorageError, match=told):
        restore(rewritten(saved, tmp_path / "evil.agar", edit), Store(home), quiet)
    assert not (home / "artifacts").exists()
    assert not (home / "fiftyone").exists()
    assert not list(tmp_path.rglob("escaped"))


def test_a_backup_that_is_cut_off_or_something_else_or_a_bomb_restores_nothing(saved: Path, tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    whole = saved.read_bytes()
    bomb = io.BytesIO()
    with tarfile.open(fileobj=bomb, mode="w:gz") as tar:
        member = tarfile.TarInfo("artifacts/a")
        member.size = 1 << 62
        tar.fileobj.write(member.tobuf(tarfile.GNU_FORMAT))
        tar.fileobj.write(bytes(1 << 20))
    for number, content in enumerate((whole[:-9000], whole[: len(whole) // 2], b"", b"PK no tar", bomb.getvalue())):
        path = tmp_path / f"{number}.agar"
        path.write_bytes(content)
        with pytest.raises(StorageError, match=r"is damaged|is cut off|is too large to be unpacked"):
            restore(path, Store(home), quiet)
    assert sorted(path.name for path in home.iterdir()) == [".restore.lock", "agar-home.json", "tmp"]


def killed_at(seconds: float, *arguments: str, home: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AGAR_", "FIFTYONE_"))}
    env |= {"AGAR_HOME": str(home), "AGAR_DATABASE_IDLE_S": "5"}
    process = subprocess.Popen([str(BIN / "agar"), *arguments], cwd=CHECKOUT, env=env, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_kill_leaves_no_backup_and_the_next_one_is_whole(lab: Path, tmp_path: Path) -> None:
    for seconds in (0.9, 1.3, 1.8):
        killed_at(seconds, "backup", str(tmp_path / "x.agar"), home=lab)
        if (tmp_path / "x.agar").exists():  # it was quicker
            (tmp_path / "x.agar").unlink()
    left, living = (tmp_path / f".x.agar.unfinished-{number}" for number in (1, 2))
    left.touch()
    with locks.locked(living):
        back_up(tmp_path / "x.agar", Store(lab), quiet)
    assert sorted(tmp_path.iterdir()) == [living, tmp_path / "x.agar"], "what the killed ones left is gone"


def test_a_restore_that_was_killed_is_gone_on_with(lab: Path, saved: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    script = (
        "import os, sys; from pathlib import Path; from agar_pipeline.use_cases import backup\n"
        "from agar_pipeline.store import Store; from agar_pipeline.fiftyone_io.database import dump\n"
        "after = int(sys.argv[3]); really = dump.compare_documents; calls = [0]\n"
        "def compare(*words):\n"
        "    calls[0] += 1\n"
        "    if calls[0] > after: os.kill(os.getpid(), 9)\n"
        "    return really(*words)\n"
        "dump.compare_documents = compare\n"
        "backup.restore(Path(sys.argv[1]), Store(Path(sys.argv[2])), print)\n"
    )
    ended = []
    for after in (6, 9, 12, 15):
        command = [str(BIN / "python"), "-c", script, str(saved), str(home), str(after)]
        ended.append(subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=False).returncode)
    assert -signal.SIGKILL in ended
    restore(saved, Store(home), quiet)
    assert everything_in(home) == everything_in(lab)
    assert hashes(home) == hashes(lab)


def test_an_error_takes_back_what_was_inserted(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agar_pipeline.fiftyone_io.database import dump

    home = tmp_path / "home"

    def fail(*_: object) -> None:
        raise DatabaseError("not as it was saved")

    monkeypatch.setattr(dump, "_require_same", fail)
    with pytest.raises(PipelineError, match="not as it was saved"):
        restore(saved, Store(home), quiet)
    assert not [documents for documents, *_ in everything_in(home).values() if documents]
