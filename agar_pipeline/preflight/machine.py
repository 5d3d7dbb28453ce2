"""Checks storage, limits and packages of this machine."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from agar_pipeline.config import CHECKOUT, HOME_LINK, default_home
from agar_pipeline.errors import StorageError
from agar_pipeline.files import disk, locks, storage_errors
from agar_pipeline.files.file_system import doubt, mounted, require_locks
from agar_pipeline.ownership.home import open_home
from agar_pipeline.ownership.home_place import tree_around
from agar_pipeline.ownership.scratch_folders import scratch_folder
from agar_pipeline.preflight.check import Check

SHM_BYTES = 512_000_000
"""Bytes that loader processes need: prefetched batches of 1024-px images, and a reserve."""
TMP_BYTES = 200_000_000
FORECAST_BYTES = 1_500_000_000
"""Bytes that a first training is expected to need: two checkpoints and two resume points of a ResNet-50 detector."""
OPEN_FILES = 1024
_SHM = "/dev/shm"  # noqa: S108 - only its size is read
_VITAL = ("torch", "torchvision", "lightning", "hydra-core", "omegaconf", "antlr4-python3-runtime", "dagster", "numpy")


def check_storage(home: Path) -> Iterator[Check]:
    """Check /dev/shm, TMPDIR, and the home: its place, free space, write permission, locks, file system."""
    shm = Path(_SHM)
    if shm.is_dir():
        yield _check_room(_SHM, shm, SHM_BYTES, "give the container more (--shm-size=2g), or set data.num_workers=0")
    tmp = Path(tempfile.gettempdir())
    yield _check_room("TMPDIR", tmp, TMP_BYTES, "set TMPDIR to a larger disk")
    try:
        yield _check_place(open_home(home))
        needed, source = forecast(home)
        fix = f"free some space (`agar clean`), or set AGAR_HOME to a larger disk; the need is estimated from {source}"
        yield _check_room("home", home, needed, fix)
        yield _check_locks(home)
        yield _check_file_system(home)
    except OSError as error:
        fix = "check its permissions, or set AGAR_HOME to a folder that you can write"
        yield Check("home", "FAIL", f"{home} cannot be written: {error.strerror}", fix)
    except StorageError as error:
        name = "locks" if getattr(error.__cause__, "errno", None) in storage_errors.WITHOUT_LOCKS else "home"
        yield Check(name, "FAIL", error.problem, error.next_step or "set AGAR_HOME to a local disk")


def _check_place(home: Path) -> Check:
    """Check that the home is not inside a Git checkout, where `git clean` would delete it."""
    tree = tree_around(home)
    if tree is None:
        return Check("home place", "OK", f"{home} is outside the checkout")
    found = f"{home} is in {tree}: `git clean -dx` there deletes labels, snapshots and checkpoints"
    target = default_home()
    if home != HOME_LINK or target == HOME_LINK:
        return Check("home place", "WARN", found, "run `agar backup`, then set AGAR_HOME to a folder outside it")
    if os.path.lexists(target):
        return Check(
            "home place",
            "WARN",
            found,
            f"{target} exists already: move the home to a new folder, and set AGAR_HOME to it",
        )
    old, new, parent = (shlex.quote(str(path)) for path in (home, target, target.parent))
    return Check(
        "home place", "WARN", found, f"when no command runs: mkdir -p {parent} && mv {old} {new} && ln -s {new} {old}"
    )


def _check_room(name: str, folder: Path, needed: int, fix: str) -> Check:
    free = shutil.disk_usage(folder).free
    found = f"{folder}: {disk.show_bytes(free)} free, about {disk.show_bytes(needed)} needed"
    if not os.access(folder, os.W_OK):
        return Check(name, "FAIL", f"{folder} cannot be written", fix)
    return Check(name, "OK" if free >= needed else "WARN" if free >= needed / 4 else "FAIL", found, fix)


def forecast(home: Path) -> tuple[int, str]:
    """Return the bytes that a training will need, and the source: the largest training so far, or a ResNet-50."""
    checkpoints = list((home / "artifacts").glob("*/training_run/*/checkpoints/last.ckpt"))
    if not checkpoints:
        return FORECAST_BYTES, "a ResNet-50 detector"
    largest = max(path.stat().st_size for path in checkpoints)
    return 12 * largest, "the largest training so far"  # 2 checkpoints; 2 points: weights, moments, average, best


def _check_locks(home: Path) -> Check:
    require_locks(home)
    with storage_errors.clear_storage_errors(home), scratch_folder(home, "check-") as folder:
        path = folder / "probe.lock"
        with locks.locked(path), locks.free(path) as is_free:
            if is_free:
                fix = "set AGAR_HOME to a local disk, because two runs at once would damage each other's files here"
                return Check("locks", "FAIL", f"locks on {home} do not hold", fix)
    return Check("locks", "OK", f"locks on {home} hold")


def _check_file_system(home: Path) -> Check:
    """Check whether the file system of the home suits the databases in it as a local disk does."""
    why = doubt(home)
    if why is None:
        return Check("file system", "OK", f"{home} is on {mounted(home)[0] or 'a disk'}, where memory can be mapped")
    fix = (
        "set AGAR_HOME to a local disk, and share artifacts through AGAR_STORE; else run `agar backup` often, and use "
        "the home from one machine at a time, because mongod is not made for such a disk"
    )
    return Check("file system", "WARN", f"{home} {why}", fix)


def check_open_files() -> Check:
    """Check the limit of open files; loader processes and ranks open many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # a training raises its soft limit to the hard limit
    enough = hard == resource.RLIM_INFINITY or hard >= OPEN_FILES
    found = f"{'any number of' if hard == resource.RLIM_INFINITY else hard} files may be open at once"
    return Check(
        "open files",
        "OK" if enough else "WARN",
        found,
        f"raise the hard limit to {OPEN_FILES}, or lower data.num_workers",
    )


def check_map_backend() -> Check:
    """Check that hotcoco is installed; without it a training has no scores."""
    if util.find_spec("hotcoco") is None:
        return Check("mAP", "FAIL", "hotcoco is not installed", "pip install 'hotcoco>=1.3.0'")
    return Check("mAP", "OK", f"hotcoco {metadata.version('hotcoco')}")


def check_packages() -> Iterator[Check]:
    """Check the requirements of installed packages, as `pip check` does."""
    conflicts = list(_conflicts())
    for package, text in conflicts:
        level = "FAIL" if package.lower() in _VITAL else "WARN"
        yield Check("packages", level, text, _fix())  # type: ignore[arg-type]
    if not conflicts:
        yield Check("packages", "OK", f"torch {metadata.version('torch')}, no conflicts")


def _fix() -> str:
    lock = CHECKOUT / "requirements.lock"
    return "pip install --no-deps -r requirements.lock" if lock.is_file() else "pip install --upgrade agar_pipeline"


def _conflicts() -> Iterator[tuple[str, str]]:
    from packaging.requirements import InvalidRequirement, Requirement

    for package in metadata.distributions():
        for line in package.requires or ():
            try:
                wanted = Requirement(line)
                if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                    continue
                found = metadata.version(wanted.name)
            except (InvalidRequirement, metadata.PackageNotFoundError):
                continue
            if not wanted.specifier.contains(found, prereleases=True):
                name = package.metadata["Name"]
                yield name, f"{name} requires {wanted.name}{wanted.specifier}, but {found} is installed"
