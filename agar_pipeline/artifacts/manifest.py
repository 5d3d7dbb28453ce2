"""The manifest of a published folder, and the base class with which all artifacts are opened.

Not here: the kinds of artifacts (`artifacts`), publishing and verifying them (`store`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from agar_pipeline.errors import ArtifactError

MANIFEST = "manifest.json"
PICTURES = "pictures.json"
"""File with title → data URI of the pictures that the web UI shows; they are drawn when the artifact is built."""
MACHINE = "machine.json"
"""File with values that a step resolved on its machine: device, precision, hashes of weights that the config names."""


@dataclass(frozen=True)
class Ancestor:
    """Versions of a direct or indirect input of an artifact, copied from the manifest of that input."""

    fingerprint: str
    data_version: str
    code_version: str
    config_digest: str
    reads: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """Inputs, code and files of an artifact. It is written last: a folder without a manifest counts as not existing."""

    asset: str
    fingerprint: str
    data_version: str
    code_version: str
    config: dict[str, Any]
    inputs: dict[str, str]
    """Name of each input → its data version."""
    reads: dict[str, str]
    """Name of each input → data version of only those files that the step reads; the fingerprint hashes these."""
    files: tuple[dict[str, Any], ...]
    """Files with path (relative), size_bytes, sha256; photos also have mtime_ns, and are verified by size and mtime."""
    created_at: str
    seconds: float
    versions: dict[str, str]
    code: dict[str, Any] = field(default_factory=dict)
    """Digests of the code files that made it, and versions of the libraries that compute (see `step_code`); empty in
    artifacts of earlier versions."""
    machine: dict[str, Any] = field(default_factory=dict)
    """Content of `machine.json`; empty for steps that resolve nothing."""
    checksum: str = ""
    """Hash of all other fields."""
    ancestors: dict[str, Ancestor] = field(default_factory=dict)
    """Name → versions of each direct or indirect input; empty in artifacts of earlier versions."""

    def as_ancestor(self) -> Ancestor:
        """Return the record of this artifact for the manifests of artifacts that are made from it."""
        return Ancestor(
            self.fingerprint, self.data_version, self.code_version, digest_config(self.config), dict(self.reads)
        )

    def own_checksum(self) -> str:
        """Compute the correct value of `checksum`; newer fields are left out if empty, as in older manifests."""
        later = ("code", "machine", "ancestors")
        plain = {name: value for name, value in asdict(self).items() if value != {} or name not in later}
        plain["checksum"] = ""
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder; raises ArtifactError if it is missing or damaged."""
        path = folder / MANIFEST
        try:
            return cls.parse(path.read_bytes())
        except FileNotFoundError:
            raise ArtifactError(
                f"holds no artifact: it has no {MANIFEST}",
                where=folder,
                next_step="give the folder of an artifact, or build it: agar run",
            ) from None
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactError(
                f"is damaged ({error})", where=path, next_step="build the artifact again: agar run"
            ) from error

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """Parse a manifest; raises ValueError, TypeError or KeyError if it is incomplete."""
        plain = json.loads(text)
        ancestors = {name: Ancestor(**ancestor) for name, ancestor in plain.get("ancestors", {}).items()}
        return cls(**{**plain, "files": tuple(plain["files"]), "ancestors": ancestors})


def digest_config(config: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits of the hash of a config; the order of its keys does not matter.

    >>> digest_config({"seed": 1, "method": "hash"}) == digest_config({"method": "hash", "seed": 1})
    True
    """
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Artifact:
    """A published folder; `open` refuses a folder with another kind of artifact."""

    root: Path

    asset: ClassVar[str]
    code_version: ClassVar[str]
    """Version of the step; raise it by hand whenever the step would write other content from the same inputs."""
    inputs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]]
    """Required files, relative to the root."""
    unhashed: ClassVar[tuple[str, ...]] = ()
    """Required files that the data version does not include: they contain paths or durations, or only display the
    content of other files."""
    derived: ClassVar[tuple[str, ...]] = ()
    """Patterns of optional files that the data version does not include: copies of hashed files in another format,
    records of their origin, and logs with times."""
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Name of an input → the only files of it that the step reads; changes of its other files cause no rebuild."""
    in_experiment: ClassVar[bool] = False
    """Whether each experiment has its own artifact of this kind."""
    on_demand: ClassVar[bool] = False
    """Whether it is built only if somebody names it: a plan or run of everything leaves it out."""

    @classmethod
    def open(cls, root: Path) -> Any:
        """Open a published folder as this kind of artifact.

        Symbolic links are resolved once, so that the artifact keeps its folder if a link is changed later.

        Raises:
            ArtifactError: The folder has no manifest, or is another kind of artifact.
        """
        root = Path(root).resolve()
        kind = Manifest.read(root).asset
        if kind != cls.asset:
            raise ArtifactError(
                f"holds a {kind}, not a {cls.asset}", where=root, next_step=f"give the folder of a {cls.asset}"
            )
        return cls(root)

    @classmethod
    def is_content(cls, path: str) -> bool:
        """Whether the data version includes the file with this relative path.

        >>> from agar_pipeline.artifacts import TrainingRun
        >>> TrainingRun.is_content("metrics.csv"), TrainingRun.is_content("experiment.json")
        (True, False)
        """
        return path not in (*cls.unhashed, MACHINE) and not any(fnmatchcase(path, pattern) for pattern in cls.derived)

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest.read(self.root)

    @property
    def data_version(self) -> str:
        return self.manifest.data_version

    def pictures(self) -> dict[str, str]:
        """Read title → data URI of the pictures; empty in an artifact that was built without pictures."""
        return self._json(PICTURES) if (self.root / PICTURES).exists() else {}

    def _json(self, name: str) -> dict[str, Any]:
        return json.loads((self.root / name).read_text())
