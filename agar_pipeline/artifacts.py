"""What each step leaves on disk, as typed folders, in the order of the chain.

Here: which files an artifact has, how they are opened, which version of the code writes them.
Not here: how they are computed (`steps`), or how they are published and verified (`store`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agar_pipeline.errors import ArtifactError, GateError

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"


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
    """path (relative), size_bytes, sha256."""
    created_at: str
    seconds: float
    versions: dict[str, str]
    checksum: str = ""
    """Of all the other fields."""

    def own_checksum(self) -> str:
        """What `checksum` must be."""
        plain = {**asdict(self), "checksum": ""}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises ArtifactError where there is no manifest, or one that is not whole."""
        path = folder / MANIFEST
        try:
            plain = json.loads(path.read_text())
            return cls(**{**plain, "files": tuple(plain["files"])})
        except FileNotFoundError:
            raise ArtifactError(f"{folder} holds no artifact: it has no {MANIFEST}; materialize it") from None
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactError(f"{path} is damaged ({error}); materialize the asset again") from error


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

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest.read(self.root)

    @property
    def data_version(self) -> str:
        return self.manifest.data_version

    def _json(self, name: str) -> dict[str, Any]:
        return json.loads((self.root / name).read_text())


@dataclass(frozen=True)
class Snapshot(Artifact):
    """Images and boxes of a FiftyOne dataset or view, frozen."""

    asset: ClassVar = "snapshot"
    code_version: ClassVar = "1"
    inputs: ClassVar = ("fiftyone_dataset",)
    files: ClassVar = ("images.parquet", "boxes.parquet", "image_ids.parquet", "dataset.json")
    unhashed: ClassVar = ("dataset.json",)

    def images(self) -> pd.DataFrame:
        """One row per image: image_id, sample_id, path, width, height, size_bytes, sha256, tags."""
        import pandas as pd

        return pd.read_parquet(self.root / "images.parquet")

    def image_ids(self) -> pd.DataFrame:
        """One row per image: image_id, sample_id; all that a random split depends on."""
        import pandas as pd

        return pd.read_parquet(self.root / "image_ids.parquet")

    def boxes(self) -> pd.DataFrame:
        """One row per box: box_id, image_id, label, x, y, width, height (pixels, as stored), iscrowd, attributes."""
        import pandas as pd

        return pd.read_parquet(self.root / "boxes.parquet")

    def dataset(self) -> dict[str, Any]:
        """dataset (name), images_dir, images, boxes, labels (counts), source_version (what was read)."""
        return self._json("dataset.json")


@dataclass(frozen=True)
class Split(Artifact):
    """Which part each image is in."""

    asset: ClassVar = "split"
    code_version: ClassVar = "1"
    inputs: ClassVar = ("snapshot",)
    reads: ClassVar = {"snapshot": ("image_ids.parquet",)}
    files: ClassVar = ("split.parquet",)

    def table(self) -> pd.DataFrame:
        """One row per image: image_id, part."""
        import pandas as pd

        return pd.read_parquet(self.root / "split.parquet")


@dataclass(frozen=True)
class CocoCache(Artifact):
    """Plain COCO files, one per part, that need neither FiftyOne nor a database."""

    asset: ClassVar = "coco_cache"
    code_version: ClassVar = "1"
    inputs: ClassVar = ("snapshot", "split")
    files: ClassVar = ("coco/train.json", "coco/val.json", "findings.parquet", "dataset.json")
    unhashed: ClassVar = ("dataset.json",)

    def json_path(self, part: str) -> Path:
        return self.root / "coco" / f"{part}.json"

    def parts(self) -> list[str]:
        return [part for part in ("train", "val", "test") if self.json_path(part).exists()]

    def dataset(self) -> dict[str, Any]:
        """images_dir, class_map, class_names, and counts per part."""
        return self._json("dataset.json")

    @property
    def images_dir(self) -> Path:
        return Path(self.dataset()["images_dir"])

    @property
    def class_names(self) -> list[str]:
        """In order of category_id, 1…K."""
        return list(self.dataset()["class_names"])

    def findings(self) -> pd.DataFrame:
        """Findings that the COCO files no longer show: boxes left out, and the labels of unknown classes."""
        import pandas as pd

        return pd.read_parquet(self.root / "findings.parquet")


@dataclass(frozen=True)
class BboxReport(Artifact):
    """Every broken rule, counted and listed, and the verdict."""

    asset: ClassVar = "bbox_report"
    code_version: ClassVar = "1"
    inputs: ClassVar = ("coco_cache",)
    files: ClassVar = ("report.json", "findings.parquet", "report.html")
    unhashed: ClassVar = ("report.html",)

    def report(self) -> dict[str, Any]:
        return self._json("report.json")

    def require_ok(self) -> None:
        """Raises GateError where a rule with the policy `fail` was broken."""
        plain = self.report()
        if plain["ok"]:
            return
        broken = [
            f"{rule} ({finding['count']})"
            for rule, finding in plain["findings"].items()
            if finding["action"] == "fail" and finding["count"]
        ]
        raise GateError(
            f"the bbox report refuses this data for training: {', '.join(broken)}\n"
            f"look at {self.root / 'report.html'}, then mend the labels, or change box_policy in the pipeline file"
        )

    def findings(self) -> pd.DataFrame:
        """One row per finding: rule, part, image_id, annotation_id, file_name, value, action."""
        import pandas as pd

        return pd.read_parquet(self.root / "findings.parquet")


@dataclass(frozen=True)
class SmokeRun(Artifact):
    """Proof that one step of the training works from end to end."""

    asset: ClassVar = "smoke_run"
    code_version: ClassVar = "1"
    inputs: ClassVar = ("coco_cache", "bbox_report")
    files: ClassVar = ("smoke.json", "profile.json")
    unhashed: ClassVar = ("profile.json",)
    in_experiment: ClassVar = True

    def smoke(self) -> dict[str, Any]:
        """What was proven; the same on every machine."""
        return self._json("smoke.json")

    def profile(self) -> dict[str, Any]:
        """What was measured: losses, seconds."""
        return self._json("profile.json")


@dataclass(frozen=True)
class TrainingRun(Artifact):
    """Checkpoints, the log of the metrics, and the experiment that led to them."""

    asset: ClassVar = "training_run"
    code_version: ClassVar = "1"
    inputs: ClassVar = ("coco_cache", "smoke_run")
    files: ClassVar = ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "experiment.json")
    unhashed: ClassVar = ("experiment.json",)
    in_experiment: ClassVar = True

    @property
    def best_checkpoint(self) -> Path:
        return self.root / "checkpoints" / "best.ckpt"

    def metrics(self) -> pd.DataFrame:
        """The CSV log: step, epoch, and one column per metric, empty where a row has none."""
        import pandas as pd

        return pd.read_csv(self.root / "metrics.csv")

    def experiment(self) -> dict[str, Any]:
        return self._json("experiment.json")


@dataclass(frozen=True)
class Evaluation(Artifact):
    """Scores, predictions and a page of pictures."""

    asset: ClassVar = "evaluation"
    code_version: ClassVar = "1"
    inputs: ClassVar = ("coco_cache", "training_run")
    files: ClassVar = ("metrics.json", "predictions.json", "report.html")
    unhashed: ClassVar = ("report.html",)
    in_experiment: ClassVar = True

    def metrics(self) -> dict[str, Any]:
        return self._json("metrics.json")


@dataclass(frozen=True)
class Leaderboard(Artifact):
    """The experiments side by side."""

    asset: ClassVar = "leaderboard"
    code_version: ClassVar = "1"
    files: ClassVar = ("leaderboard.parquet", "report.html")
    unhashed: ClassVar = ("report.html",)

    def table(self) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.root / "leaderboard.parquet")


ARTIFACTS: dict[str, type[Artifact]] = {
    kind.asset: kind
    for kind in (Snapshot, Split, CocoCache, BboxReport, SmokeRun, TrainingRun, Evaluation, Leaderboard)
}
"""In the order of the chain."""
