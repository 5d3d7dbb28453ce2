"""A writer killed before each single thing that it asks of the file system, with files of others all around."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from agar_pipeline.ownership import made_list
from agar_pipeline.ownership.folders import OwnFolder
from agar_pipeline.ownership.originals import Originals, is_another_name

FOREIGN = ("notes.txt", "images/mine.jpg", "coco/mine.json")
OLD = {
    "dataset.json": "old",
    "coco/train.json": "old",
    "coco/test.json": "gone",
    "images/a/1.jpg": "old",
    "only/2.jpg": "",
}
NEW = {
    "dataset.json": "new",
    "coco/train.json": "new",
    "coco/val.json": "new",
    "images/a/1.jpg": "new",
    "images/3.jpg": "",
}
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")
MOST = 200


def write(root: Path, files: dict[str, str], left: int = 0) -> None:
    """Replace what is ours; the process ends itself before the event of this number."""

    def kill_in_time(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in EVENTS and any(
            isinstance(a, str | os.PathLike) and str(a).startswith(str(root)) for a in arguments
        ):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    if left:
        sys.addaudithook(kill_in_time)
    folder = OwnFolder(root, "test", Originals())
    folder.require_alone()
    with folder.replacing(files, whole=True) as draft:
        for name, text in files.items():
            draft.path(name).write_text(text)


def read(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_text() for path in files}


def test_a_writer_killed_at_each_instant_leaves_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_list, "sync", lambda path: None)  # for a loss of power, which is not tried here
    foreign = dict.fromkeys(FOREIGN, "mine")
    for first in (True, False):
        for instant in range(1, MOST):
            root = tmp_path / f"{first}-{instant}"
            if not first:
                write(root, OLD)
                for name, text in foreign.items():
                    (root / name).write_text(text)
            child = os.fork()
            if child == 0:
                write(root, NEW, instant)
                os._exit(0)
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
                break
            allowed = {name: {OLD.get(name), NEW.get(name), foreign.get(name)} for name in {*OLD, *NEW, *foreign}}
            left = {name: text for name, text in read(root).items() if not name.startswith(".agar-")}
            assert all(text in allowed[name] for name, text in left.items()), instant
            if not first:
                assert {name: left[name] for name in FOREIGN} == foreign, instant
                assert {"dataset.json", "coco/train.json", "images/a/1.jpg"} <= left.keys(), "at every moment there"
            write(root, NEW)
            wanted = {*NEW, ".agar-made.json", *(() if first else FOREIGN)}
            assert read(root).keys() == wanted, instant
            assert {name: text for name, text in read(root).items() if name in NEW} == NEW
            assert not (root / "only").exists(), "a folder that we made and that is empty"
        assert 20 < instant < MOST - 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_one_entry_seen_through_two_mounts_is_one_file(tmp_path: Path) -> None:
    """A dataset stands on the folder through another mount: the paths differ, and so may the number of links."""
    root, seen = tmp_path / "out", tmp_path / "seen"
    write(root, OLD)
    seen.mkdir()
    os.link(root / "images" / "a" / "1.jpg", tmp_path / "second name.jpg")
    code = f"""
import os, subprocess, sys
sys.path[:0] = {sys.path!r}
subprocess.run(["mount", "--bind", {str(root)!r}, {str(seen)!r}], check=True)
from pathlib import Path
from agar_pipeline.ownership.originals import Originals, is_another_name
one, other = Path({str(root)!r}), Path({str(seen)!r})
hit = Originals([other / "images/a/1.jpg", other / "only/2.jpg"]).hit_by
assert hit(one / "images/a/1.jpg"), "two links, but this is the very entry"
assert hit(one / "only/2.jpg"), "one link"
assert not hit(one / "coco/train.json")
"""
    done = os.spawnvp(os.P_WAIT, "unshare", ["unshare", "--mount", sys.executable, "-c", code])
    if done == 1 and not _may_mount(tmp_path):
        pytest.skip("mounting is forbidden here")
    assert done == 0
    assert is_another_name(root / "images" / "a" / "1.jpg", tmp_path / "second name.jpg")


def _may_mount(folder: Path) -> bool:
    command = ["unshare", "--mount", "mount", "--bind", str(folder), str(folder)]
    return os.spawnvp(os.P_WAIT, "unshare", command) == 0
