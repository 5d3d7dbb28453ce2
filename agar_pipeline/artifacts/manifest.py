"""What every published folder is: a manifest, written last, and one typed way to open it.

Not here: which kinds there are (`artifacts`), or how they are published and verified (`store`).
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
"""Title → data URI: what the web UI shows of an artifact, drawn once, where it is built."""
MACHINE = "machine.json"
"""What a step resolved on the machine that it ran on: device, precision, hashes of weights named by a word."""


@dataclass(frozen=True)
class Ancestor:
    """What an artifact was made from, at any distance, as its own manifest says."""

    fingerprint: str
    data_version: str
    code_version: str
    config_digest: str
    reads: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """What an artifact was made from, and what it consists of. Written last: a folder without one does not exist."""

    asset: str
    fingerprint: str
    data_version: str
    code_version: str
    config: dict[str, Any]
    inputs: dict[str, str]
    """Name of each input → its data version."""
    reads: dict[str, str]
    """The same over only those of its files that the step reads: this is what the fingerprint hashes."""
    files: tuple[dict[str, Any], ...]
    """path (relative), size_bytes, sha256; of photos also mtime_ns: unchanged, they need not be read to be verified."""
    created_at: str
    seconds: float
    versions: dict[str, str]
    code: dict[str, Any] = field(default_factory=dict)
    """Digest of the code that made it, file by file, and the versions of the libraries that compute: see `step_code`.
    Empty in artifacts of earlier versions."""
    machine: dict[str, Any] = field(default_factory=dict)
    """What `machine.json` says; empty where a step resolves nothing."""
    checksum: str = ""
    """Of all the other fields."""
    ancestors: dict[str, Ancestor] = field(default_factory=dict)
    """Name → what this was made from: its inputs, theirs, and so on; empty where an older version wrote it."""

    def as_ancestor(self) -> Ancestor:
        """What whatever is made from this records of it."""
        return Ancestor(
            self.fingerprint, self.data_version, self.code_version, digest_config(self.config), dict(self.reads)
        )

    def own_checksum(self) -> str:
        """What `checksum` must be."""
        later = ("code", "machine", "ancestors")
        plain = {name: value for name, value in asdict(self).items() if value != {} or name not in later}
        plain["checksum"] = ""
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises ArtifactError where there is no manifest, or one that is not whole."""
        path = folder / MANIFEST
        try:
            return cls.parse(path.read_bytes())
        except FileNotFoundError:
            raise ArtifactError(f"{folder} holds no artifact: it has no {MANIFEST}; materialize it") from None
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactError(f"{path} is damaged ({error}); materialize the asset again") from error

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """Raises ValueError, TypeError or KeyError where it is not whole."""
        plain = json.loads(text)
        ancestors = {name: Ancestor(**ancestor) for name, ancestor in plain.get("ancestors", {}).items()}
        return cls(**{**plain, "files": tuple(plain["files"]), "ancestors": ancestors})


def digest_config(config: Mapping[str, Any]) -> str:
    """16 hex digits of what of a config enters a fingerprint."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Artifact:
    """A published folder. `open` refuses a folder of another kind."""

    root: Path

    asset: ClassVar[str]
    code_version: ClassVar[str]
    """Raised by hand whenever the step would write other content from the same inputs."""
    inputs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]]
    """Files that are always there, relative to the root."""
    unhashed: ClassVar[tuple[str, ...]] = ()
    """Files outside the data version: they say where data lies, how long it took, or show what others hold."""
    derived: ClassVar[tuple[str, ...]] = ()
    """Patterns of further files outside the data version: what hashed ones hold, in another form; whence it came;
    or logs that carry times."""
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Input by name → the only files of it that the step reads: a change of the others is no reason to build again."""
    in_experiment: ClassVar[bool] = False

    @classmethod
    def open(cls, root: Path) -> Any:
        """Open a published folder as this kind of artifact; links are followed once, so that the folder stays put.

        Raises:
            ArtifactError: nothing is there, or another kind of artifact.
        """
        root = Path(root).resolve()
        kind = Manifest.read(root).asset
        if kind != cls.asset:
            raise ArtifactError(f"{root} holds a {kind}, expected a {cls.asset}: give the folder of a {cls.asset}")
        return cls(root)

    @classmethod
    def is_content(cls, path: str) -> bool:
        """Whether a file counts for the data version."""
        return path not in (*cls.unhashed, MACHINE) and not any(fnmatchcase(path, pattern) for pattern in cls.derived)

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest.read(self.root)

    @property
    def data_version(self) -> str:
        return self.manifest.data_version

    def pictures(self) -> dict[str, str]:
        """Title → data URI; none in an artifact that was built without."""
        return self._json(PICTURES) if (self.root / PICTURES).exists() else {}

    def _json(self, name: str) -> dict[str, Any]:
        return json.loads((self.root / name).read_text())
