"""Artifact classes from the snapshot to the bbox report: the data before any training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agar_pipeline.artifacts.manifest import PICTURES, Artifact
from agar_pipeline.config.places import images_dir_now

if TYPE_CHECKING:
    import pandas as pd

MEDIA_TABLE = "media.parquet"
"""Table of the photos inside a COCO cache: the hash of the source photo and the recipe of each."""


@dataclass(frozen=True)
class Snapshot(Artifact):
    """Frozen images and boxes of a FiftyOne dataset or view, or of COCO files."""

    asset: ClassVar = "snapshot"
    code_version: ClassVar = "4"
    inputs: ClassVar = ("fiftyone_dataset",)
    files: ClassVar = ("images.parquet", "boxes.parquet", "image_ids.parquet", "dataset.json")
    unhashed: ClassVar = ("dataset.json",)

    def images(self) -> pd.DataFrame:
        """Read one row per image: image_id, sample_id, path, width, height, size_bytes, sha256, labelled.

        Tags are not in this table; those that a split reads are in `image_ids`. Snapshots of versions before 4 have no
        column `labelled`; all their images count as labelled.
        """
        import pandas as pd

        images = pd.read_parquet(self.root / "images.parquet")
        return images if "labelled" in images else images.assign(labelled=True)

    def image_ids(self) -> pd.DataFrame:
        """Read one row per image: image_id, sample_id, and the columns of `SnapshotConfig.image_columns`.

        A split depends on nothing else of a snapshot.
        """
        import pandas as pd

        return pd.read_parquet(self.root / "image_ids.parquet")

    def boxes(self) -> pd.DataFrame:
        """Read one row per box: box_id, image_id, label, x, y, width, height (pixels), iscrowd, attributes (JSON).

        Boxes are unchecked, and relative to the photo as displayed.
        """
        import pandas as pd

        return pd.read_parquet(self.root / "boxes.parquet")

    def dataset(self) -> dict[str, Any]:
        """Read facts about the dataset.

        The keys are dataset (name), images_dir, images, boxes and unlabelled (numbers), labels (label → number of
        boxes), source_version (data version that was read), and for some splits tags (tag → count) and fields.
        """
        return self._json("dataset.json")


@dataclass(frozen=True)
class Split(Artifact):
    """The part (train, val, test) of each image."""

    asset: ClassVar = "split"
    code_version: ClassVar = "4"
    inputs: ClassVar = ("snapshot",)
    reads: ClassVar = {"snapshot": ("image_ids.parquet",)}
    files: ClassVar = ("split.parquet", "split.json", "duplicates.parquet", "report.html")
    unhashed: ClassVar = ("report.html",)

    def table(self) -> pd.DataFrame:
        """Read one row per image that is in a part: image_id, part."""
        import pandas as pd

        return pd.read_parquet(self.root / "split.parquet")

    def summary(self) -> dict[str, Any]:
        """Read counts of the split.

        The keys are images, parts (part → number of images), left_out (reason → number of images), unknown_names (count
        and first 100 names), groups (number), and leakage (counts, policies, ok).
        """
        return self._json("split.json")

    def duplicates(self) -> pd.DataFrame:
        """Read one row per pair of images that are, or look, the same; columns: `splitting.leakage.PAIR_COLUMNS`."""
        import pandas as pd

        return pd.read_parquet(self.root / "duplicates.parquet")


@dataclass(frozen=True)
class CocoCache(Artifact):
    """COCO files, one for each part, which can be used without FiftyOne and without a database."""

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
        """Read facts about the cache.

        The keys are images_dir, class_map, class_names, by_spelling (label → class that replaced it), media, and parts
        (part → numbers of images and annotations).
        """
        return self._json("dataset.json")

    @property
    def images_dir(self) -> Path:
        """Folder to which `file_name` is relative.

        It is the folder inside the cache if the cache has its own photos, otherwise AGAR_IMAGES_DIR if that is set,
        otherwise the recorded folder. If the recorded folder does not exist, the folder at the recorded position
        relative to the cache is used, so that cache and photos can be moved together.
        """
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
        """Class names in order of category_id, 1…K."""
        return list(self.dataset()["class_names"])

    def photos(self) -> pd.DataFrame:
        """Read one row per image of the COCO files: part, file_name, sha256 of the photo in the snapshot."""
        import pandas as pd

        return pd.read_parquet(self.root / "photos.parquet")

    @property
    def has_own_photos(self) -> bool:
        """Whether the photos are inside the cache and are verified with it."""
        return not Path(self.dataset()["images_dir"]).is_absolute()

    def findings(self) -> pd.DataFrame:
        """Read findings that are not visible in the COCO files: mended ones, those about files, unknown labels."""
        import pandas as pd

        return pd.read_parquet(self.root / "findings.parquet")

    def mending(self) -> dict[str, dict[str, Any]]:
        """Read part → numbers of images and annotations before and after mending, and of dropped and clipped ones.

        `image_files` is the config's option for how thoroughly image files were checked.
        """
        return self._json("mending.json")


@dataclass(frozen=True)
class BboxReport(Artifact):
    """All findings, counted and listed, and the verdict whether training may start."""

    asset: ClassVar = "bbox_report"
    code_version: ClassVar = "6"
    inputs: ClassVar = ("coco_cache",)
    files: ClassVar = ("report.json", "verdict.json", "findings.parquet", "report.html")
    unhashed: ClassVar = ("report.html",)
    derived: ClassVar = (PICTURES,)

    def report(self) -> dict[str, Any]:
        """Read the counts of findings and the policies; `verdict.json` has only `ok`, all that a smoke run reads."""
        return self._json("report.json")

    def findings(self) -> pd.DataFrame:
        """Read one row per finding: rule, part, image_id, annotation_id, file_name, value, action."""
        import pandas as pd

        return pd.read_parquet(self.root / "findings.parquet")
