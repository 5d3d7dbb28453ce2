"""Where the data comes from: a FiftyOne dataset, or a folder of COCO files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.places import configs_dir, expanded
from agar_pipeline.config.plain import STRICT
from agar_pipeline.config.split import Part
from agar_pipeline.text.secrets import mask

ExifPolicy = Literal["displayed", "stored", "refuse"]


@dataclass(frozen=True, config=STRICT)
class SnapshotConfig:
    """Which FiftyOne samples, and which of their boxes, make the data."""

    not_fingerprinted: ClassVar = {"source", "database", "images_dir", "database_notice"}

    dataset: str
    """Name of the FiftyOne dataset."""
    source: Literal["fiftyone"] = "fiftyone"
    """`fiftyone`, or `coco` for a folder of COCO files, which has settings of its own."""
    database: str = "embedded"
    """`embedded`: our own mongod under the home; `fiftyone`: as the user's own FiftyOne is set up; or mongodb://…. An
    address with a password: `env:NAME` or `file:PATH`, the variable or the file of mode 0600 that holds it."""
    label_field: str = "ground_truth"
    """Field of type Detections; dots reach into embedded documents."""
    view: str | None = None
    """null: all samples; `tag:NAME`; `field:PATH=VALUE`; `saved:NAME` for a view saved in FiftyOne."""
    images_dir: str | None = None
    """Folder that the images' paths are relative to; null: the deepest folder that holds them all."""
    exif: ExifPolicy = "displayed"
    """What the boxes of a photo with an EXIF rotation were drawn on: `displayed`, the photo as the FiftyOne App and
    every viewer turn it; `stored`, its pixels as they lie in the file; `refuse`: such a photo is an error."""
    database_notice: bool = True
    """Say it, in one line, when FiftyOne would warn about the database's version."""
    image_columns: tuple[str, ...] = ()
    """Filled in with what the split reads, and with nothing else: what `image_ids.parquet` holds of each image beside
    its ids, of `path`, `sha256`, `labels`, `labelled`, `field:PATH`, `view:SPEC` (whether a view holds it)."""

    @field_validator("image_columns")
    @classmethod
    def _check_image_columns(cls, image_columns: tuple[str, ...]) -> tuple[str, ...]:
        for name in image_columns:
            kind, _, value = name.partition(":")
            known = name in ("path", "sha256", "labels", "labelled")
            if not known and not (kind in ("field", "view") and value):
                raise ValueError(f"{name!r} is none of path, sha256, labels, labelled, field:PATH, view:SPEC")
        return tuple(sorted(set(image_columns)))

    def describe(self) -> str:
        """In half a sentence, for people."""
        return f"FiftyOne dataset `{self.dataset}`, field `{self.label_field}`, database `{mask(self.database)}`"


@dataclass(frozen=True, config=STRICT)
class CocoSnapshotConfig:
    """Which COCO files, and which folder of photos, make the data, in place of FiftyOne and its database."""

    not_fingerprinted: ClassVar = {"images_dir", "files"}

    source: Literal["coco"]
    """What makes it COCO files."""
    dataset: str
    """What the data is called in reports and comparisons."""
    images_dir: str
    """Folder that each `file_name` is relative to; itself relative to the folder of the configs."""
    files: Annotated[dict[Part, str], Field(min_length=1)]
    """Part → COCO file, relative to the folder of the configs: `{train: …/train.json, val: …/val.json}`."""
    exif: ExifPolicy = "displayed"
    """As for FiftyOne."""
    image_columns: tuple[str, ...] = ()
    """Filled in, as for FiftyOne; of fields there is `field:part`, the part whose file lists the image."""

    @field_validator("image_columns")
    @classmethod
    def _check_image_columns(cls, image_columns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(image_columns)))

    def images_path(self) -> Path:
        return (configs_dir() / expanded(self.images_dir)).resolve()

    def file_paths(self) -> dict[Part, Path]:
        return {part: (configs_dir() / expanded(path)).resolve() for part, path in self.files.items()}

    def describe(self) -> str:
        """In half a sentence, for people."""
        return f"COCO files {', '.join(f'`{path}`' for path in self.files.values())} with photos in `{self.images_dir}`"


def _source_of(value: Any) -> str:
    """The class that reads it, told by `source`; left out, it is FiftyOne."""
    source = value.get("source", "fiftyone") if isinstance(value, Mapping) else getattr(value, "source", None)
    return {"fiftyone": "SnapshotConfig", "coco": "CocoSnapshotConfig"}.get(str(source), str(source))


SnapshotSource = Annotated[
    Annotated[SnapshotConfig, Tag("SnapshotConfig")] | Annotated[CocoSnapshotConfig, Tag("CocoSnapshotConfig")],
    Discriminator(_source_of, "unknown_source", "source must be fiftyone or coco"),
]
