"""Content-addressed folders: a published artifact is complete and verified, or absent.

Here: fingerprints, publishing by rename, verifying, locks, `latest`. Not here: what the files mean (`artifacts`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from agar_pipeline.artifacts import ARTIFACTS, MANIFEST, Artifact, Manifest
from agar_pipeline.errors import ArtifactError, StorageError

Log = Callable[[str], None]
RECORDED_PACKAGES = ("agar_pipeline", "dagster", "fiftyone", "torch", "torchvision", "lightning", "hotcoco", "pyarrow")


@dataclass(frozen=True)
class Key:
    """Names an asset; `experiment` where it belongs to one."""

    asset: str
    experiment: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.experiment, self.asset) if self.experiment else (self.asset,)

    @property
    def kind(self) -> type[Artifact]:
        return ARTIFACTS[self.asset]

    def __str__(self) -> str:
        return "/".join(self.parts)


@dataclass(frozen=True)
class Built:
    """An artifact, and whether it was there already."""

    artifact: Any
    cached: bool
    why: str
    """Why it was built, or that nothing changed."""


def fingerprint(asset: str, code_version: str, config: Mapping[str, Any], reads: Mapping[str, str]) -> str:
    """Hash of everything that an artifact is made from: 32 hex digits. Holds no time, host or path.

    `reads` is the data version of each input, or of what the step reads of it.
    """
    plain = {"asset": asset, "code_version": code_version, "config": config, "inputs": dict(reads)}
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Content:
    """What an input holds, as hashes: as a whole, and file by file."""

    data_version: str
    sha256: Mapping[str, str]
    """Path → hash; empty for a source that has no files."""

    @classmethod
    def of_files(cls, kind: type[Artifact], files: Iterable[Mapping[str, Any]]) -> Content:
        """Of files as `describe_files` gives them; those that the kind leaves unhashed do not count."""
        sha256 = {file["path"]: file["sha256"] for file in files if file["path"] not in kind.unhashed}
        return cls(_hash([kind.asset, sorted(sha256.items())]), sha256)

    @classmethod
    def of(cls, manifest: Manifest) -> Content:
        return cls.of_files(ARTIFACTS[manifest.asset], manifest.files)

    def read_by(self, consumer: type[Artifact], name: str) -> str:
        """The version of what a step reads of this input, called `name` there."""
        only = consumer.reads.get(name)
        return self.data_version if only is None else _hash([name, [[path, self.sha256[path]] for path in only]])


def _hash(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:32]


class Store:
    """The artifacts of one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.artifacts = home / "artifacts"

    def folder(self, key: Key) -> Path:
        return self.artifacts.joinpath(*key.parts)

    def latest(self, key: Key) -> Path | None:
        """The folder that `latest` points to, or None; not verified."""
        link = self.folder(key) / "latest"
        return link.resolve() if link.exists() else None

    def open_latest(self, key: Key) -> Any:
        """Open the current artifact of an asset, verified.

        Raises:
            ArtifactError: there is none, or it is damaged.
        """
        root = self.latest(key)
        if root is None:
            raise ArtifactError(f"{key} was never built in {self.home}: run `agar run {key}`")
        faults = find_faults(root)
        if faults:
            raise ArtifactError(f"{root} is damaged: {faults[0]}\nrun `agar run {key}` to build it again")
        return key.kind.open(root)

    def build(
        self,
        key: Key,
        config: Mapping[str, Any],
        inputs: Mapping[str, Content],
        write: Callable[[Path], None],
        log: Log,
        *,
        repoint: bool = True,
    ) -> Built:
        """Return the artifact of these inputs, writing it first unless it is there and whole.

        Args:
            key: Which asset.
            config: What of its config enters the fingerprint, JSON-ready.
            inputs: Content of each input by name.
            write: Writes the artifact's files into the empty folder it is given.
            log: Told what happens.
            repoint: Make it the `latest`; False for a variant that is not what the configs say.

        Raises:
            StorageError: the home cannot be written.
        """
        reads = {name: content.read_by(key.kind, name) for name, content in inputs.items()}
        name = fingerprint(key.asset, key.kind.code_version, config, reads)
        root = self.folder(key) / name
        with _clear_storage_errors(self.home), self._locked(key, name, log):
            faults = find_faults(root) if root.exists() else ["not built yet"]
            if faults and root.exists():
                log(f"{key}: {faults[0]}; set aside, building again")
                self.quarantine(root)
            if faults:
                self._publish(key, root, config, inputs, write)
            if repoint:
                self._repoint(key, name)
        return Built(key.kind.open(root), cached=not faults, why=faults[0] if faults else "nothing changed")

    @contextlib.contextmanager
    def _locked(self, key: Key, name: str, log: Log) -> Iterator[None]:
        """One writer per key: a lock that the kernel releases with the process."""
        self.folder(key).mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder(key) / f".{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"{key}: another process builds it, waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _publish(
        self,
        key: Key,
        root: Path,
        config: Mapping[str, Any],
        inputs: Mapping[str, Content],
        write: Callable[[Path], None],
    ) -> None:
        for dead in root.parent.glob(f".draft-{root.name}-*"):  # we hold the lock: whoever wrote these is gone
            shutil.rmtree(dead)
        draft = root.parent / f".draft-{root.name}-{os.getpid()}"
        draft.mkdir()
        try:
            started = time.monotonic()
            write(draft)
            missing = [name for name in key.kind.files if not (draft / name).is_file()]
            if missing:
                raise ArtifactError(f"{key} did not write {', '.join(missing)}: a bug, please report it")
            files = describe_files(draft)
            manifest = Manifest(
                asset=key.asset,
                fingerprint=root.name,
                data_version=Content.of_files(key.kind, files).data_version,
                code_version=key.kind.code_version,
                config=dict(config),
                inputs={name: content.data_version for name, content in inputs.items()},
                reads={name: content.read_by(key.kind, name) for name, content in inputs.items()},
                files=tuple(files),
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - started, 3),
                versions=_versions(),
            )
            _sync_tree(draft)
            path = draft / MANIFEST
            path.write_text(json.dumps(asdict(manifest), indent=1))
            _sync(path)
            _sync(draft)
            draft.rename(root)
            _sync(root.parent)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def _repoint(self, key: Key, name: str) -> None:
        link = self.folder(key) / "latest"
        if link.is_symlink() and str(link.readlink()) == name:
            return
        draft = link.with_name(f".latest-{os.getpid()}")
        draft.unlink(missing_ok=True)
        draft.symlink_to(name)
        draft.replace(link)
        _sync(link.parent)

    def quarantine(self, root: Path) -> Path:
        """Move a damaged artifact out of the way, for a person to look at."""
        aside = self.home / "quarantine" / f"{'-'.join(root.relative_to(self.artifacts).parts)}-{time.time_ns()}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        root.rename(aside)
        return aside

    def published(self) -> Iterator[Path]:
        """Every published folder."""
        for manifest in sorted(self.artifacts.glob(f"**/{MANIFEST}")):
            inside = manifest.relative_to(self.artifacts).parts
            if not any(part.startswith(".") or part == "latest" for part in inside):
                yield manifest.parent


def find_faults(root: Path) -> list[str]:
    """Everything that is wrong with a published folder: files altered, missing or too many, a manifest not its own."""
    try:
        manifest = Manifest.read(root)
    except ArtifactError as error:
        return [str(error)]
    found = {file["path"]: file for file in describe_files(root)}
    wanted = {file["path"]: file for file in manifest.files}
    faults = [f"{root.name}/{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    faults += [f"{root.name}/{name} does not belong there" for name in sorted(found.keys() - wanted.keys())]
    faults += [
        f"{root.name}/{name} was altered on disk"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    ]
    own = fingerprint(manifest.asset, manifest.code_version, manifest.config, manifest.reads)
    if own != manifest.fingerprint or own != root.name:
        faults.append(f"{root.name}/{MANIFEST} was altered on disk: its fingerprint should be {own}")
    elif not faults and Content.of(manifest).data_version != manifest.data_version:
        faults.append(f"{root.name}/{MANIFEST} was altered on disk: its data version does not fit its files")
    return faults


def describe_files(root: Path) -> list[dict[str, Any]]:
    """path, size_bytes and sha256 of every file below a folder but the manifest, sorted by path."""
    paths = sorted(path for path in root.rglob("*") if not path.is_dir() and path != root / MANIFEST)
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(_sha256, paths))
    return [
        {"path": path.relative_to(root).as_posix(), "size_bytes": path.lstat().st_size, "sha256": digest}
        for path, digest in zip(paths, digests, strict=True)
    ]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))


@contextlib.contextmanager
def _clear_storage_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(home).free
            raise StorageError(
                f"no space left to write {error.filename or home}: {free / 1e6:.0f} MB are free\n"
                "free some (`agar clean`), or set AGAR_HOME to a larger disk; what was there before is intact"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO):
            raise StorageError(
                f"cannot write {error.filename or home}: {error.strerror}\n"
                "check its permissions, or set AGAR_HOME to a folder that you can write"
            ) from error
        raise
