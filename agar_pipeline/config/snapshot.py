"""The config of the data source: a FiftyOne dataset, or a folder of COCO files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.places import configs_dir, expanded
from agar_pipeline.config.plain_values import STRICT, collected
from agar_pipeline.config.split import Part
from agar_pipeline.errors import ConfigError
from agar_pipeline.text.secrets import mask

ExifPolicy = Literal["displayed", "stored", "refuse"]


@dataclass(frozen=True, config=STRICT)
class SnapshotConfig:
    """Which FiftyOne samples, and which of their boxes, are the data."""

    not_fingerprinted: ClassVar = {"source", "database", "images_dir", "database_notice"}

    dataset: str
    """Name of the FiftyOne dataset."""
    source: Literal["fiftyone"] = "fiftyone"
    """`fiftyone`, or `coco` for a folder of COCO files, which has its own settings."""
    database: str = "embedded"
    """`embedded`: the pipeline's own mongod with its data in the home; `fiftyone`: the database of the user's own
    FiftyOne settings; or mongodb://…. For an address with a password: `env:NAME`, a variable, or `file:PATH`, a file of
    mode 0600 that holds it."""
    label_field: str = "ground_truth"
    """Field of type Detections; dots lead into embedded documents."""
    view: str | None = None
    """null: all samples; `tag:NAME`; `field:PATH=VALUE`; `saved:NAME` for a view saved in FiftyOne."""
    images_dir: str | None = None
    """Folder that the images' paths are relative to; null: the deepest folder that contains all of them."""
    exif: ExifPolicy = "displayed"
    """Which form of a photo with an EXIF rotation the boxes were drawn on. `displayed`: the rotated photo that the
    FiftyOne App and every viewer show; `stored`: the pixels as they are in the file; `refuse`: such a photo is an
    error."""
    database_notice: bool = True
    """Whether to print FiftyOne's warnings about the version of the database, in one line."""
    image_columns: tuple[str, ...] = ()
    """Filled in with what the split reads: the columns that `image_ids.parquet` has for each image beside its ids.
    Possible are `path`, `sha256`, `labels`, `labelled`, `field:PATH`, `view:SPEC` (whether a view contains the image).
    """

    @field_validator("image_columns")
    @classmethod
    @collected
    def _check_image_columns(cls, image_columns: tuple[str, ...]) -> tuple[str, ...]:
        for name in image_columns:
            kind, _, value = name.partition(":")
            known = name in ("path", "sha256", "labels", "labelled")
            if not known and not (kind in ("field", "view") and value):
                raise ConfigError(
                    f"has {name!r}, which is none of path, sha256, labels, labelled, field:PATH, view:SPEC",
                    where="image_columns",
                    next_step="remove the key image_columns, which the pipeline fills in",
                )
        return tuple(sorted(set(image_columns)))

    def describe(self) -> str:
        """Describe the data source in half a sentence, for people."""
        return f"FiftyOne dataset `{self.dataset}`, field `{self.label_field}`, database `{mask(self.database)}`"


@dataclass(frozen=True, config=STRICT)
class CocoSnapshotConfig:
    """Which COCO files, and which folder of photos, are the data, in place of a FiftyOne dataset."""

    not_fingerprinted: ClassVar = {"images_dir", "files"}

    source: Literal["coco"]
    """Selects COCO files as the data source."""
    dataset: str
    """Name of the data in reports and comparisons."""
    images_dir: str
    """Folder that each `file_name` is relative to; itself relative to the folder of the configs."""
    files: Annotated[dict[Part, str], Field(min_length=1)]
    """Part → COCO file, relative to the folder of the configs: `{train: …/train.json, val: …/val.json}`."""
    exif: ExifPolicy = "displayed"
    """As for FiftyOne."""
    image_columns: tuple[str, ...] = ()
    """Filled in, as for FiftyOne. The only field is `field:part`, the part whose file lists the image."""

    @field_validator("image_columns")
    @classmethod
    def _check_image_columns(cls, image_columns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(image_columns)))

    def images_path(self) -> Path:
        return (configs_dir() / expanded(self.images_dir)).resolve()

    def file_paths(self) -> dict[Part, Path]:
        return {part: (configs_dir() / expanded(path)).resolve() for part, path in self.files.items()}

    def describe(self) -> str:
        """Describe the data source in half a sentence, for people."""
        return f"COCO files {', '.join(f'`{path}`' for path in self.files.values())} with photos in `{self.images_dir}`"


def _source_of(value: Any) -> str:
    """Return the name of the class for the value of `source`; without a `source`, it is FiftyOne."""
    source = value.get("source", "fiftyone") if isinstance(value, Mapping) else getattr(value, "source", None)
    return {"fiftyone": "SnapshotConfig", "coco": "CocoSnapshotConfig"}.get(str(source), str(source))


SnapshotSource = Annotated[
    Annotated[SnapshotConfig, Tag("SnapshotConfig")] | Annotated[CocoSnapshotConfig, Tag("CocoSnapshotConfig")],
    Discriminator(_source_of, "unknown_source", "must have the `source` fiftyone or coco"),
]
