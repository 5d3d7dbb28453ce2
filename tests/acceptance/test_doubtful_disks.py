"""Case 59: a home on a network file system, or on a disk without locks or memory mapping."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agar_pipeline.errors import StorageError
from agar_pipeline.files import file_system
from agar_pipeline.files.file_system import connect_sqlite, has_wal, note
from agar_pipeline.preflight.machine import check_storage
from agar_pipeline.snapshot_files.file_hashes import hash_files
from tests.acceptance.grading import right
from tests.acceptance.lab import DATA_ASSETS, Lab, copy_home

REFUSE_MAPS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset) {
  static void *(*real)(void *, size_t, int, int, int, off_t);
  if (!real) real = dlsym(RTLD_NEXT, "mmap");
  const char *home = getenv("NO_MAPS_BELOW");
  if (file >= 0 && home && (flags & MAP_SHARED)) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0 && !strncmp(path, home, strlen(home))) { errno = ENODEV; return MAP_FAILED; }
  }
  return real(at, size, protection, flags, file, offset);
}
void *mmap64(void *at, size_t size, int protection, int flags, int file, off_t offset) {
  return mmap(at, size, protection, flags, file, offset);
}
"""
"""A file system without shared mappings answers ENODEV; here it does for files below one folder."""


def mounts(path: Path, home: Path, kind: str, options: str = "rw") -> Path:
    point = str(home).replace(" ", "\\040")
    path.write_text(
        "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"36 21 0:53 / {point} rw,relatime shared:9 - {kind} server:/export {options}\n"
    )
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    file_system.doubt.cache_clear()
    return tmp_path / "a home"


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "lustre", "virtiofs"])
def test_case_59_a_network_disk_is_said_and_gets_no_write_ahead_log(
    home: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_files([__file__], home)
    right(has_wal(home / "file_hashes.sqlite"), "a local disk goes without a log")
    file_system.doubt.cache_clear()
    monkeypatch.setattr(file_system, "MOUNTS", mounts(home.parent / "mounts", home, kind, "rw,local_lock=all"))
    (found,) = [check for check in check_storage(home) if check.name == "file system"]
    assert found.level == "WARN"
    assert f"({kind}), whose locks do not reach other machines" in found.found
    assert "set AGAR_HOME to a local disk" in found.fix
    assert kind in (note(home) or "")
    right(hash_files([__file__], home).sha256 == hash_files([__file__], home.parent / "other").sha256, "other hashes")
    right(not has_wal(home / "file_hashes.sqlite"), "a write-ahead log on a network disk")


@pytest.mark.parametrize("kind", ["ext4", "xfs", "overlay", "tmpfs", "fuse.fuse-overlayfs", "fuseblk"])
def test_case_59_a_local_disk_is_not_doubted(home: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setattr(file_system, "MOUNTS", mounts(home.parent / "mounts", home, kind))
    assert note(home) is None


@pytest.mark.parametrize("answers", ["refused", "given to two"])
def test_case_59_without_locks_nothing_is_begun(home: Path, answers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        if answers == "refused":
            raise OSError(errno.ENOLCK, "No locks available")

    home.mkdir()
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError, match="without locks" if answers == "refused" else "do not hold"):
        note(home)


@pytest.fixture
def no_maps(tmp_path: Path) -> str:
    if shutil.which("gcc") is None:
        pytest.skip("needs a C compiler: shared mappings are refused by a library that is loaded first")
    (tmp_path / "refuse.c").write_text(REFUSE_MAPS)
    library = tmp_path / "refuse.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, tmp_path / "refuse.c", "-ldl"], check=True)
    return str(library)


def test_case_59_a_disk_without_memory_mapping_loses_nothing(lab: Lab, no_maps: str, tmp_path: Path) -> None:
    """A home that was on a local disk, with write-ahead logs, comes to such a disk; one run is killed there."""
    moved = copy_home(lab, tmp_path / "moved")
    env: dict[str, Any] = {"LD_PRELOAD": no_maps, "NO_MAPS_BELOW": str(moved.home)}
    databases = [path for pattern in ("*.sqlite", "dagster/storage/**/*.db") for path in moved.home.glob(pattern)]
    assert any(has_wal(path) for path in databases), "else nothing is moved"
    checked = moved.call("launch-check", **env)
    right("without shared memory mapping" in checked.stdout, checked.stdout)
    shutil.rmtree(moved.home / "artifacts")
    killed = moved.start("run", *DATA_ASSETS, **env)
    deadline = time.monotonic() + 60
    while not (moved.home / "artifacts" / "snapshot" / "latest").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    told = moved.run("run", *DATA_ASSETS, **env)
    right(told.count("note: the home") == 1, told)
    moved.require_same()
    for path in [path for pattern in ("*.sqlite", "dagster/storage/**/*.db") for path in moved.home.glob(pattern)]:
        right(not has_wal(path), f"{path} has a write-ahead log")
        with closing(sqlite3.connect(path)) as connection:
            right(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"{path} is damaged")
    right("nothing to do" in moved.run("run", *DATA_ASSETS, **env), "Dagster's history does not know the run")


def test_a_log_is_taken_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that only the write-ahead log holds are in the file afterwards."""
    home.mkdir()
    writer = connect_sqlite(home / "a.db")
    writer.execute("CREATE TABLE t (x)")
    writer.execute("INSERT INTO t VALUES (1)")
    writer.commit()
    (home / "b").mkdir()
    for name in ("a.db", "a.db-wal"):
        shutil.copy(home / name, home / "b")  # as a killed process leaves it
    writer.close()
    monkeypatch.setattr(file_system, "MOUNTS", mounts(home.parent / "mounts", home, "nfs"))
    with closing(connect_sqlite(home / "b" / "a.db")) as reader:
        assert reader.execute("SELECT x FROM t").fetchall() == [(1,)]
    assert not has_wal(home / "b" / "a.db")
