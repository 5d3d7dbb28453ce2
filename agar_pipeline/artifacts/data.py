"""The artifacts from the snapshot to the bbox report: the data, before any training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agar_pipeline.artifacts.manifest import PICTURES, Artifact
from agar_pipeline.config.places import images_dir_now

if TYPE_CHECKING:
    import pandas as pd

MEDIA_TABLE = "media.parquet"
"""Which photo each of a COCO cache's own images was made from, and how."""


@dataclass(frozen=True)
class Snapshot(Artifact):
    """Images and boxes of a FiftyOne dataset or view, frozen."""

    asset: ClassVar = "snapshot"
    code_version: ClassVar = "4"
    inputs: ClassVar = ("fiftyone_dataset",)
    files: ClassVar = ("images.parquet", "boxes.parquet", "image_ids.parquet", "dataset.json")
    unhashed: ClassVar = ("dataset.json",)

    def images(self) -> pd.DataFrame:
        """One row per image: image_id, sample_id, path, width, height, size_bytes, sha256, labelled.

        Tags are no content: what a split reads of them is in `image_ids`. Snapshots of versions before 4 do not know
        what is labelled, and took everything to be.
        """
        import pandas as pd

        images = pd.read_parquet(self.root / "images.parquet")
        return images if "labelled" in images else images.assign(labelled=True)

    def image_ids(self) -> pd.DataFrame:
        """One row per image: image_id, sample_id, and the columns of `SnapshotConfig.image_columns` under those names:
        all that a split depends on."""
        import pandas as pd

        return pd.read_parquet(self.root / "image_ids.parquet")

    def boxes(self) -> pd.DataFrame:
        """One row per box: box_id, image_id, label, x, y, width, height (pixels, as stored), iscrowd, attributes."""
        import pandas as pd

        return pd.read_parquet(self.root / "boxes.parquet")

    def dataset(self) -> dict[str, Any]:
        """dataset (name), images_dir, images, boxes, unlabelled (images), labels (counts), source_version (what was
        read)."""
        return self._json("dataset.json")


@dataclass(frozen=True)
class Split(Artifact):
    """Which part each image is in."""

    asset: ClassVar = "split"
    code_version: ClassVar = "4"
    inputs: ClassVar = ("snapshot",)
    reads: ClassVar = {"snapshot": ("image_ids.parquet",)}
    files: ClassVar = ("split.parquet", "split.json", "duplicates.parquet", "report.html")
    unhashed: ClassVar = ("report.html",)

    def table(self) -> pd.DataFrame:
        """One row per image that is in a part: image_id, part."""
        import pandas as pd

        return pd.read_parquet(self.root / "split.parquet")

    def summary(self) -> dict[str, Any]:
        """images, parts (counts), left_out (why → how many), unknown_names, groups, leakage (counts, policies, ok)."""
        return self._json("split.json")

    def duplicates(self) -> pd.DataFrame:
        """One row per pair of images that are, or look, the same: see `splitting.leakage.PAIR_COLUMNS`."""
        import pandas as pd

        return pd.read_parquet(self.root / "duplicates.parquet")


@dataclass(frozen=True)
class CocoCache(Artifact):
    """Plain COCO files, one per part, that need neither FiftyOne nor a database."""

    asset: ClassVar = "coco_cache"
    code_version: ClassVar = "5"
    inputs: ClassVar = ("snapshot", "split")
    reads: ClassVar = {"split": ("split.parquet",)}
    files: ClassVar = (
        "coco/train.json",
        "coco/val.json",
        "photos.parquet",
        "findings.parquet",
        "mending.json",
        "dataset.json",
    )
    unhashed: ClassVar = ("dataset.json",)
    derived: ClassVar = ("coco/*.columns/*", MEDIA_TABLE)

    def json_path(self, part: str) -> Path:
        return self.root / "coco" / f"{part}.json"

    def parts(self) -> list[str]:
        return [part for part in ("train", "val", "test") if self.json_path(part).exists()]

    def dataset(self) -> dict[str, Any]:
        """images_dir, class_map, class_names, by_spelling (label → the class that it was taken for), media, and counts
        per part."""
        return self._json("dataset.json")

    @property
    def images_dir(self) -> Path:
        """What `file_name` is relative to: inside the cache, else AGAR_IMAGES_DIR, else where the photos were, or lie
        now where both were moved together."""
        plain = self.dataset()
        recorded = Path(plain["images_dir"])
        if not recorded.is_absolute():
            return self.root / recorded
        elsewhere = images_dir_now()
        if elsewhere is not None:
            return elsewhere
        beside = self.root / plain.get("images_dir_from_here", recorded)
        return recorded if recorded.is_dir() or not beside.is_dir() else beside.resolve()

    @property
    def class_names(self) -> list[str]:
        """In order of category_id, 1…K."""
        return list(self.dataset()["class_names"])

    def photos(self) -> pd.DataFrame:
        """One row per image of the COCO files: part, file_name, sha256 of the photo as the snapshot saw it."""
        import pandas as pd

        return pd.read_parquet(self.root / "photos.parquet")

    @property
    def has_own_photos(self) -> bool:
        """Whether the photos lie inside the cache, and are verified with it."""
        return not Path(self.dataset()["images_dir"]).is_absolute()

    def findings(self) -> pd.DataFrame:
        """What the COCO files do not show: findings that were mended, those about files, labels of unknown classes."""
        import pandas as pd

        return pd.read_parquet(self.root / "findings.parquet")

    def mending(self) -> dict[str, dict[str, Any]]:
        """Part → images and annotations before and after, dropped, clipped; how deeply image files were looked at."""
        return self._json("mending.json")


@dataclass(frozen=True)
class BboxReport(Artifact):
    """Every broken rule, counted and listed, and the verdict."""

    asset: ClassVar = "bbox_report"
    code_version: ClassVar = "6"
    inputs: ClassVar = ("coco_cache",)
    files: ClassVar = ("report.json", "verdict.json", "findings.parquet", "report.html")
    unhashed: ClassVar = ("report.html",)
    derived: ClassVar = (PICTURES,)

    def report(self) -> dict[str, Any]:
        """What was found, and by which policies. `verdict.json` holds `ok` alone: all that a smoke run reads."""
        return self._json("report.json")

    def findings(self) -> pd.DataFrame:
        """One row per finding: rule, part, image_id, annotation_id, file_name, value, action."""
        import pandas as pd

        return pd.read_parquet(self.root / "findings.parquet")
