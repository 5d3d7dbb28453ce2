"""Cases 6 to 15: full, unreadable, damaged, shared, moved; and nothing is lost."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from agar_pipeline.preflight.machine import check_storage
from agar_pipeline.store import Key, find_faults
from tests.acceptance.grading import SilentlyWrong, refused, right
from tests.acceptance.lab import (
    DATA_ASSETS,
    FULL,
    TRAINING_ASSETS,
    Lab,
    copy_home,
    in_full,
    mount,
)
from tests.conftest import move_first_box

FULL_DISKS = [*DATA_ASSETS, *TRAINING_ASSETS, "leaderboard"] if FULL else ["split", "bbox_report"]


@pytest.fixture
def full_disk(lab: Lab, asset: str) -> Iterator[Path]:
    """The asset's folder as a disk with hardly any room beside what is there."""
    lab.run("run", *([] if FULL else DATA_ASSETS))
    folder, aside = lab.store.folder(Key(*reversed(asset.split("/")))), lab.home / "aside"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, aside, symlinks=True)
    mount(folder, "-t", "tmpfs", "-o", "size=64m", "tmpfs")
    try:
        shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        used = shutil.disk_usage(folder).used
        subprocess.run(["mount", "-o", f"remount,size={used + 8192}", str(folder)], check=True)
        yield folder
    finally:
        shutil.rmtree(aside)
        shutil.copytree(folder, aside, symlinks=True)
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)
        aside.rename(folder)


@pytest.mark.parametrize("asset", FULL_DISKS)
def test_case_06_a_full_disk_leaves_the_old_state_and_names_bytes(lab: Lab, asset: str, full_disk: Path) -> None:
    latest = (full_disk / "latest").resolve()
    everything = [*DATA_ASSETS, *TRAINING_ASSETS, "leaderboard"]
    changed = f"{{method: random, seed: {1 + everything.index(asset)}, fractions: {{train: 0.8, val: 0.2}}}}"
    with lab.pipeline(split=changed), lab.edited(move_first_box):
        if before := everything[: everything.index(asset)]:
            lab.run("run", *before)
        refused(lab.call("run", asset), "cannot be written, because no space is left", f"{asset} needs", "are free")
        right((full_disk / "latest").resolve() == latest, "`latest` moved to what was not written")
        assert not find_faults(latest)
        assert not list(full_disk.glob(".draft-*"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(full_disk)], check=True)
        lab.run("run", asset)
        assert asset not in lab.plan()
    lab.run("run", *([] if FULL else DATA_ASSETS))


@in_full
def test_case_07_what_cannot_be_written_or_read_is_named(lab: Lab, tmp_path: Path) -> None:
    other = copy_home(lab, tmp_path / "other")
    mount(other.home, "--bind", str(other.home))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(other.home)], check=True)
    try:
        refused(other.call("run", "split"), str(other.home))
    finally:
        subprocess.run(["umount", str(other.home)], check=True)
    path = lab.open("coco_cache").json_path("val")
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()  # what reads as an error of the file system whoever the user is
    try:
        refused(
            lab.call("evaluate", "--predictions", str(aside), "--json", str(path), "--out-dir", "x"), path.name, code=2
        )
    finally:
        path.rmdir()
        aside.rename(path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


CACHED = [
    ("coco_cache", "coco/val.json"),
    ("small/training_run", "checkpoints/best.ckpt"),
    ("coco_cache", "manifest.json"),
    ("snapshot", "boxes.parquet"),
]


@in_full
@pytest.mark.parametrize(("asset", "name"), CACHED if FULL else CACHED[:2])
def test_case_08_one_flipped_bit_is_found_set_aside_and_built_again(trained: Lab, asset: str, name: str) -> None:
    root = trained.open(asset).root
    flip(root / name)
    if asset == "small/training_run":
        arguments = ("--checkpoint", str(root / name), str(trained.plates / "1.jpg"))
        refused(trained.call("predict", *arguments), "best.ckpt", "was altered on disk")
    plan = trained.plan()
    right(plan.get(asset, {}).get("state") == "corrupt", f"a flipped bit in {name} is not seen")
    assert root.name in plan[asset]["reasons"][0]
    aside = len(list((trained.home / "quarantine").glob("*")))
    trained.run("run")
    assert len(list((trained.home / "quarantine").iterdir())) == aside + 1
    trained.require_same((*DATA_ASSETS, *TRAINING_ASSETS))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:100]), "was altered on disk"),
    "empty": (lambda path: path.write_bytes(b""), "was altered on disk"),
    "deleted": (lambda path: path.unlink(), "is missing"),
    "one too many": (lambda path: path.with_name("extra.txt").touch(), "does not belong there"),
}


@in_full
@pytest.mark.parametrize("damage", DAMAGE if FULL else ["deleted"])
def test_case_09_a_file_that_is_not_as_it_was_is_a_miss_with_its_reason(lab: Lab, damage: str) -> None:
    lab.run("run", *DATA_ASSETS)
    change, told = DAMAGE[damage]
    change(lab.open("split").root / "split.parquet")
    line = lab.plan()["split"]
    right(line["state"] == "corrupt", f"a file {damage} is not seen")
    assert told in line["reasons"][0]
    lab.run("run", *DATA_ASSETS)
    lab.require_same()


@in_full
def test_case_10_verify_finds_data_that_a_power_loss_took(lab: Lab, tmp_path: Path) -> None:
    from tests.store.test_verify_and_clean import build_split

    synced: list[str] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        really(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        root = build_split(type(lab.store)(tmp_path))
    drafts = {Path(path).name for path in synced if "/.draft-" in path}
    assert {"split.parquet", "manifest.json"} <= drafts, "files are on the disk before the folder has its name"
    assert synced[-1] != str(root)
    assert any(path.endswith(f"/.draft-{root.name}") for path in synced), "and so is the folder"

    lab.run("run", *DATA_ASSETS)
    path = lab.open("bbox_report").root / "findings.parquet"
    path.write_bytes(bytes(path.stat().st_size))
    found = lab.call("verify")
    if found.returncode == 0:
        raise SilentlyWrong(found.stdout)
    assert "findings.parquet was altered on disk" in found.stdout
    assert "`agar run` builds it again" in found.stdout
    lab.run("run", *DATA_ASSETS)
    lab.require_same()


def test_case_11_two_runs_at_once_compute_each_asset_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(lab.home / "artifacts")
    shutil.rmtree(lab.home / "dagster")  # the very first opening of the storage, too
    pair = [lab.start("run", *DATA_ASSETS) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], "\n".join(outputs)
    assert any("waiting for another process that builds it" in output for output in outputs), "\n".join(outputs)
    lab.require_same()
    assert len(lab.published()) == len(DATA_ASSETS)
    monkeypatch.setenv("AGAR_HOME", str(lab.home))
    monkeypatch.setenv("DAGSTER_HOME", str(lab.home / "dagster"))
    with dg.DagsterInstance.get() as instance:
        for name in DATA_ASSETS:
            events = instance.fetch_materializations(dg.AssetKey(name), limit=10).records
            cached = [record.asset_materialization.metadata["cached"].value for record in events]  # type: ignore[union-attr]
            assert cached.count(False) == 1, f"{name}: {cached}"


@in_full
def test_case_12_two_runs_at_once_with_other_configs_do_not_mix(lab: Lab, tmp_path: Path) -> None:
    lab.run("run", *DATA_ASSETS)
    others = {}
    for seed in (12, 13):
        shutil.copytree(lab.configs, tmp_path / str(seed))
        path = tmp_path / str(seed) / "pipeline" / "small.yaml"
        path.write_text(path.read_text().replace("seed: 0", f"seed: {seed}"))
        others[seed] = {"AGAR_CONFIGS": str(tmp_path / str(seed))}
    pair = [lab.start("run", *DATA_ASSETS, **env) for env in others.values()]
    outputs = [process.communicate(timeout=120)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], "\n".join(outputs)
    for seed, env in others.items():
        lab.run("run", *DATA_ASSETS, **env)
        split = lab.open("split")
        right(split.manifest.config["seed"] == seed, "`latest` is of the other config")
        right(lab.open("coco_cache").manifest.inputs["split"] == split.data_version, "a cache of the other split")
    lab.run("run", *DATA_ASSETS)
    lab.require_same()


@in_full
def test_case_13_no_clock_is_trusted(lab: Lab) -> None:
    lab.run("run", *DATA_ASSETS)
    year_ns = 365 * 24 * 3600 * 10**9
    photo = lab.plates / "2.jpg"
    for offset_ns in (-year_ns, year_ns):
        for path in [*lab.home.joinpath("artifacts").rglob("*"), *lab.plates.iterdir()]:
            os.utime(path, ns=(time.time_ns() + offset_ns,) * 2, follow_symlinks=False)
        left = set(lab.plan()) & set(DATA_ASSETS)
        assert not left, f"touched, not changed, yet {left} would run again"
    content, times = photo.read_bytes(), photo.stat()
    photo.write_bytes(content[:-1] + b"\0")
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        right("2.jpg" in str(lab.plan().get("snapshot")), "a photo replaced under its old time and size is not seen")
    finally:
        photo.write_bytes(content)


@in_full
def test_case_14_a_home_may_be_moved_and_linked_to(trained: Lab, tmp_path: Path) -> None:
    trained.run("run")
    moved = tmp_path / "moved"
    shutil.copytree(
        trained.home, moved, symlinks=True, ignore=shutil.ignore_patterns("server.json", "mongod.lock", "*.sock")
    )
    (tmp_path / "link").symlink_to(moved)
    for home in (moved, tmp_path / "link"):
        assert not trained.plan(AGAR_HOME=str(home)), f"{home.name}: keys changed"
        assert "nothing to do" in trained.run("run", AGAR_HOME=str(home))


def test_case_15_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (locks,) = [check for check in check_storage(tmp_path) if check.name == "locks"]
    assert locks.level == "FAIL"
    assert "set AGAR_HOME to a local disk" in locks.fix
