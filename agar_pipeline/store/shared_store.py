"""A store that several homes share; each home is a cache of it.

    artifacts/<key>/<fingerprint>.json   the manifest, written last and only if there is none
    artifacts/<key>/<fingerprint>.<sha256 of the manifest>.sig    its signature, if the lab has a key (`signing`)
    artifacts/<key>/latest               fingerprint that a home made its `latest` last; with a key: time, signature
    objects/<2 digits>/<sha256>          the bytes of a file, named by their hash

Files are named by their content, so that two machines that publish at the same time cannot mix their files: the first
manifest is kept, and it names its own files.
Not here: access to the file system (`remote_files`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from agar_pipeline.artifacts import MANIFEST, Manifest
from agar_pipeline.errors import ArtifactError, SharedStoreError
from agar_pipeline.files.disk import sha256_of
from agar_pipeline.store.faults import find_lie
from agar_pipeline.store.key import Key
from agar_pipeline.store.remote_files import RemoteFiles
from agar_pipeline.store.signing import Signer

_AT_ONCE = 16


class SharedStore:
    """The artifacts of all homes that are configured with this URL."""

    def __init__(self, url: str) -> None:
        self.files = RemoteFiles(url)
        self.signer = Signer.of_environment()
        self.told_of_trust = False

    def __str__(self) -> str:
        return str(self.files)

    @property
    def error(self) -> SharedStoreError | None:
        """Why it could not be used; None if the last use succeeded."""
        return self.files.error

    def find(self, key: Key, name: str) -> tuple[Manifest, bytes] | None:
        """Return the manifest of an artifact, parsed and as stored; None if it was never published.

        Raises:
            ArtifactError: the manifest cannot be parsed, contradicts itself, names a path outside the artifact's
                folder, or is not signed with a key of the lab.
            SharedStoreError: the store cannot be reached.
        """
        text = self.files.read(_manifest_path(key, name))
        if text is None:
            return None
        if self.signer is not None:
            signature = self.files.read(_signature_path(key, name, text))
            if not self.signer.verifies(signature, ("artifact", str(key), name), text):
                raise self._unsigned(key, _manifest_path(key, name))
        manifest: Manifest | None = None
        try:
            manifest = Manifest.parse(text)
            outside = [f"{file['path']!r} leads out of it" for file in manifest.files if not _is_inside(file["path"])]
            lie = next(iter(outside), None) or find_lie(manifest, name)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            lie = repr(error)
        if manifest is None or lie:
            raise self._damaged(key, f"{_manifest_path(key, name)}: {lie}")
        return manifest, text

    def look(self, key: Key, name: str | None) -> Manifest | None:
        """Return the manifest of an artifact for a plan; without a name that of `latest`.

        An unreachable store counts as empty; `trouble` gives the reason.

        Raises:
            ArtifactError: as `find`.
        """
        with contextlib.suppress(SharedStoreError):
            name = name or self.latest(key)
            found = self.find(key, name) if name else None
            return found[0] if found else None
        return None

    def latest(self, key: Key) -> str | None:
        """Return the fingerprint that was made `latest` last, by any home; None if there is none.

        Raises:
            ArtifactError: it is not signed with a key of the lab.
            SharedStoreError: the store cannot be reached.
        """
        text = self.files.read(_latest_path(key))
        found = re.fullmatch(rb"([0-9a-f]{32})(?: ([0-9T:+-]+) ([0-9a-f]{64}))?", text or b"")
        if found is None:
            return None
        if self.signer is not None:
            signed = b" ".join(part or b"" for part in found.groups()[:2])
            if not self.signer.verifies(found[3], ("latest", str(key)), signed):
                raise self._unsigned(key, _latest_path(key))
        return found[1].decode()

    def point(self, key: Key, name: str) -> None:
        """Make an artifact the `latest`; the last writer wins."""
        with contextlib.suppress(ArtifactError):
            if self.latest(key) == name:
                return
        text = name.encode()
        if self.signer is not None:
            text += f" {datetime.now(UTC).isoformat(timespec='seconds')}".encode()
            text += f" {self.signer.sign(('latest', str(key)), text)}".encode()
        self.files.write(_latest_path(key), text)

    def fetch_files(self, key: Key, manifest: Manifest, draft: Path) -> None:
        """Copy an artifact's files into an empty folder, and compare each with its hash.

        Raises:
            ArtifactError: a file is missing, or its content does not match its hash.
            SharedStoreError: the store cannot be reached.
        """

        def fetch(file: Mapping[str, Any]) -> None:
            path, name = draft / file["path"], _object_path(file["sha256"])
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self.files.download(name, path):
                raise self._damaged(key, f"{name} is missing")
            if sha256_of(path) != file["sha256"]:
                raise self._damaged(key, f"{name} does not have the content that its name says")
            if "mtime_ns" in file:  # an image: with this mtime it is not hashed again
                os.utime(path, ns=(file["mtime_ns"], file["mtime_ns"]))
                path.chmod(0o444)

        _for_all(fetch, manifest.files)

    def publish(self, key: Key, root: Path, *, replace: bool = False) -> bool:
        """Upload a published folder, its manifest last.

        Args:
            replace: Overwrite the published artifact, because it is damaged.

        Returns:
            Whether the stored manifest is now this one; False if another machine had published first.

        Raises:
            SharedStoreError: the store cannot be reached or written.
        """
        path, text = _manifest_path(key, root.name), (root / MANIFEST).read_bytes()

        def upload(file: Mapping[str, Any]) -> None:
            name = _object_path(file["sha256"])
            if replace or self.files.size_bytes(name) != file["size_bytes"]:
                self.files.upload(root / file["path"], name)

        _for_all(upload, {file["sha256"]: file for file in Manifest.parse(text).files}.values())
        if self.signer is not None:
            signature = self.signer.sign(("artifact", str(key), root.name), text)
            self.files.write(_signature_path(key, root.name, text), signature.encode())
        if replace:
            self.files.write(path, text)
            return True
        return self.files.create(path, text)

    def _unsigned(self, key: Key, path: str) -> ArtifactError:
        return ArtifactError(
            f"is refused: {path} is not signed with a key of AGAR_STORE_KEY_FILE",
            where=f"{key} in {self}",
            next_step=f"find out who wrote it, and run `agar run {key}`: it is built again, signed, and replaced there",
        )

    def _damaged(self, key: Key, fault: str) -> ArtifactError:
        return ArtifactError(
            f"is damaged: {fault}",
            where=f"{key} in {self}",
            next_step=f"run `agar run {key}`: it is built again, and replaced there",
        )


def _for_all(work: Callable[[Mapping[str, Any]], None], files: Iterable[Mapping[str, Any]]) -> None:
    """Call `work` once per file, several at a time; the first error stops the rest."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for _ in pool.map(work, files):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _manifest_path(key: Key, name: str) -> str:
    return f"artifacts/{key}/{name}.json"


def _signature_path(key: Key, name: str, manifest: bytes) -> str:
    """Return the path, which has the manifest's hash in it, so that machines publishing at once do not share a file."""
    return f"artifacts/{key}/{name}.{hashlib.sha256(manifest).hexdigest()}.sig"


def _latest_path(key: Key) -> str:
    return f"artifacts/{key}/latest"


def _object_path(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
