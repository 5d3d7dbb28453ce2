"""The config of the split: how images are divided into parts, and which duplicates across parts are allowed."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.places import configs_dir, expanded
from agar_pipeline.config.plain_values import STRICT, collected
from agar_pipeline.errors import ConfigError, remedy

Part = Literal["train", "val", "test"]
SplitMethod = Literal["random", "hash", "tags", "field", "lists", "given"]
LeakagePolicy = Literal["fail", "warn", "off"]
FRACTIONS: dict[Part, float] = {"train": 0.8, "val": 0.2}
DRAWN = ("random", "hash")
"""Methods that draw parts by `fractions`. The others read the parts from the dataset or from files."""
GIVEN_PART = "field:part"
"""Name in `SnapshotConfig.image_columns` of the column with the part whose COCO file lists an image."""


@dataclass(frozen=True, config=STRICT)
class LeakageConfig:
    """How the same picture in two parts is treated."""

    exact: LeakagePolicy = "fail"
    """The same file, or the same pixels in another file: `fail` stops before the COCO cache is built, `warn` only
    reports."""
    near: LeakagePolicy = "warn"
    """Pictures that look the same, with another compression, size or brightness. `off` saves decoding the photos."""
    threshold: Annotated[int, Field(ge=0, le=64)] = 32
    """Largest number of bits, of 256, in which the perceptual hashes of two near duplicates differ. Measured: copies at
    another size or with a JPEG quality down to 20 differ in up to 24 bits, different photos of colonies in 74 or more,
    generated plates in 64 or more."""
    difference: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Largest difference of the thumbnails of two near duplicates at any place, in standard deviations of their
    brightness. Measured: copies as above differ by up to 0.2, equal plates except for one additional small colony by
    0.25 or more."""


@dataclass(frozen=True, config=STRICT)
class SplitConfig:
    """How images are divided into parts: at random, by a hash, or as the dataset or a list says."""

    not_fingerprinted: ClassVar = {"lists"}

    method: SplitMethod = "random"
    """`random`: a seeded shuffle of the sorted sample ids, with exact sizes. `hash`: the part of an image follows from
    a hash of its group key alone, so that adding images does not move existing ones. `tags`: a view per part. `field`:
    the value of a field is the part. `lists`: a text file per part. `given`: the part whose COCO file lists the image,
    for `snapshot.source: coco`."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the shuffle, and salt of the hash. For `random` and `hash`."""
    fractions: dict[Part, Annotated[float, Field(ge=0, le=1)]] = dataclasses.field(
        default_factory=lambda: dict(FRACTIONS)
    )
    """Share of the images in each part; the shares sum to 1. For `random` and `hash`."""
    stratify_by: str | None = None
    """`class`, or `field:PATH`: each part gets its share of each class or value, as near as whole images allow: a class
    that is on one image only is in one part. For `random` and `hash`."""
    group_by: str | None = None
    """`field:PATH` (a plate, a session), or `duplicates`: images of one group stay in one part. For `random` and
    `hash`."""
    group_duplicates: bool = False
    """Whether exact and near duplicates stay in one part, in addition to `group_by`. For `random` and `hash`."""
    views: dict[Part, str] = dataclasses.field(default_factory=dict)
    """Part → `tag:NAME`, `field:PATH=VALUE`, `saved:NAME`. For `tags`."""
    field: str | None = None
    """Field of the samples whose value names the part. For `field`."""
    values: dict[str, Part] = dataclasses.field(default_factory=dict)
    """Value of that field → part; empty: the values are `train`, `val`, `test` themselves. For `field`."""
    lists: dict[Part, str] = dataclasses.field(default_factory=dict)
    """Part → text file with one path, file name or sample id per line; relative to the folder of the configs. For
    `lists`."""
    list_hashes: dict[Part, str] = dataclasses.field(default_factory=dict)
    """Filled in: hashes of the lists' content, so that an edited list makes the split stale."""
    class_map: dict[str, int] = dataclasses.field(default_factory=dict)
    """Filled in: the class map, for `stratify_by: class`."""
    labelled_only: bool = False
    """Filled in: whether images that are not labelled yet are left out of all parts."""
    unassigned: Literal["fail", "leave_out"] = "fail"
    """What is done with images that belong to no part (no such tag, value or line; no value in the field of
    `group_by`). `leave_out` leaves them out of all parts, and counts and names them."""
    unknown_names: Literal["fail", "ignore"] = "fail"
    """What is done with lines of a list that name no image of the snapshot. `ignore` counts and names them."""
    leakage: LeakageConfig = dataclasses.field(default_factory=LeakageConfig)
    """How copies of a picture in two parts are treated."""

    @model_validator(mode="after")
    @collected
    def _check(self) -> SplitConfig:
        self._check_fractions()
        for setting, methods in _USED_BY.items():
            if getattr(self, setting) and self.method not in methods:
                raise ConfigError(
                    f"is for split.method {' and '.join(methods)}, not for {self.method}",
                    where=setting,
                    next_step=f"remove {setting}, or change split.method",
                )
        self._check_sources()
        _check_column("stratify_by", self.stratify_by, "class")
        _check_column("group_by", self.group_by, "duplicates")
        return self

    def _check_fractions(self) -> None:
        total = sum(self.fractions.values())
        if not math.isclose(total, 1, abs_tol=1e-9):
            raise ConfigError(
                f"must sum to 1, not to {total:g}",
                where="fractions",
                value=_in_yaml(self.fractions),
                next_step=remedy(
                    "change the shares, as in `{train: 0.8, val: 0.2}`", option="give --fractions 0.8 0.2"
                ),
            )
        if not {"train", "val"} <= set(self.fractions):
            raise ConfigError(
                "must have a share for train and one for val",
                where="fractions",
                value=_in_yaml(self.fractions),
                next_step=remedy(
                    "add the missing one, as in `{train: 0.8, val: 0.2}`", option="give --fractions 0.8 0.2"
                ),
            )

    def _check_sources(self) -> None:
        if self.method == "field" and not self.field:
            raise ConfigError(
                "needs the field whose value names the part",
                where="method",
                value=self.method,
                next_step=remedy("add `field: PATH`", option="give --split-field PATH"),
            )
        if self.method == "field" and self.values and not {"train", "val"} <= set(self.values.values()):
            raise ConfigError(
                "must have a value for train and one for val",
                where="values",
                value=_in_yaml(self.values),
                next_step=remedy(
                    "add the missing one, as in `{lower: train, upper: val}`", option="add --field-values VALUE=PART"
                ),
            )
        for method, setting, example in (("tags", "views", "tag:train"), ("lists", "lists", "lists/train.txt")):
            if self.method == method and not {"train", "val"} <= set(getattr(self, setting)):
                raise ConfigError(
                    f"needs `{setting}` with an entry for train and one for val",
                    where="method",
                    value=method,
                    next_step=remedy(
                        f"write `{setting}: {{train: {example}, val: …}}`",
                        option=f"give --train-{setting[:-1]} and --val-{setting[:-1]}",
                    ),
                )
        if len(set(self.views.values())) != len(self.views):
            raise ConfigError(
                "has the same view for two parts, but an image can only be in one part",
                where="views",
                value=_in_yaml(self.views),
                next_step="give each part a view of its own",
            )

    @property
    def groups_duplicates(self) -> bool:
        return self.group_duplicates or self.group_by == "duplicates"

    @property
    def looks_at_pictures(self) -> bool:
        """Whether near duplicates have to be searched for."""
        return self.groups_duplicates or self.leakage.near != "off"

    @property
    def image_columns(self) -> tuple[str, ...]:
        """Columns that the split reads for each image beside its ids, named as in `SnapshotConfig.image_columns`.

        >>> SplitConfig(stratify_by="class", leakage=LeakageConfig(exact="off", near="off")).image_columns
        ('labels',)
        """
        columns = [f"view:{view}" for view in self.views.values()]
        columns += [f"field:{self.field}"] if self.field else []
        columns += [by for by in (self.stratify_by, self.group_by) if by and by.startswith("field:")]
        columns += ["labels"] if self.stratify_by == "class" else []
        columns += ["path"] if self.method == "lists" else []
        columns += ["labelled"] if self.labelled_only else []
        columns += [GIVEN_PART] if self.method == "given" else []
        if self.looks_at_pictures or self.leakage.exact != "off":
            columns += ["path", "sha256"]
        return tuple(sorted(set(columns)))

    def list_path(self, part: Part) -> Path:
        return configs_dir() / expanded(self.lists[part])


_USED_BY: dict[str, tuple[str, ...]] = {
    "stratify_by": DRAWN,
    "group_by": DRAWN,
    "group_duplicates": DRAWN,
    "views": ("tags",),
    "field": ("field",),
    "values": ("field",),
    "lists": ("lists",),
}


def _check_column(setting: str, value: str | None, word: str) -> None:
    if value is not None and value != word and not (value.startswith("field:") and value.removeprefix("field:")):
        raise ConfigError(
            f"must be {word}, or field:PATH",
            where=setting,
            value=value,
            next_step=f"write {word}, or field: and the path of a field, as in field:plate",
        )


def _in_yaml(values: Mapping[Any, object]) -> str:
    return f"{{{', '.join(f'{key}: {value}' for key, value in values.items())}}}"


def resolved_split(split: SplitConfig, class_map: Mapping[str, int]) -> SplitConfig:
    """Add hashes of the lists to the config of the split, and the class map if it stratifies by class."""
    hashes = {part: hash_list(split.list_path(part)) for part in split.lists}
    spellings = dict(class_map) if split.stratify_by == "class" else {}
    return dataclasses.replace(split, list_hashes=hashes, class_map=spellings)


def hash_list(path: Path) -> str:
    """Hash the content of a list; `missing` if it cannot be read, so that planning other assets still works."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return "missing"
