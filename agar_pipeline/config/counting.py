"""The section `counting` of a pipeline file: what counts as a colony, from which score, and with which interval."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from agar_pipeline.config.plain_values import STRICT, collected
from agar_pipeline.errors import ConfigError

Threshold = Literal["count_error", "f1", "fixed"]
Region = Literal["auto", "dish", "photo"]


@dataclass(frozen=True, config=STRICT)
class CountingConfig:
    """How colonies are counted. Evaluation, label review and `agar predict` read it: a change trains nothing again."""

    classes: tuple[str, ...] | None = None
    """The classes whose detections count as colonies; null: all. The other classes are reported apart."""
    threshold: Threshold = "count_error"
    """How the score threshold is chosen on val: `count_error`, the least mean absolute error of the counts; `f1`, the
    best F1 of detections and annotations at an IoU of 0.5; `fixed`: it is `fixed_threshold`."""
    fixed_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """For `threshold: fixed` only."""
    per_class: bool = False
    """One threshold for each class with 200 annotations on val or more, in place of one for all."""
    coverage: Annotated[float, Field(ge=0.5, le=0.99)] = 0.9
    """The share of plates whose true count lies within the interval that is stated with the count."""
    countable: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] = (25, 250)
    """Smallest and largest count of a countable plate, both inclusive; 25 and 250 as in the FDA's Bacteriological
    Analytical Manual, chapter 3."""
    region: Region | tuple[float, float, float] = "auto"
    """Where colonies count. `photo`: everywhere; `dish`: inside the dish, a circle that is found on each photo; `auto`:
    inside the dish if val shows that dishes are found and no annotated colony lies outside. Three numbers: a circle
    that is the same on each photo: x and y of its centre and its radius, as shares of the width."""

    @model_validator(mode="after")
    @collected
    def _check(self) -> CountingConfig:
        if (self.threshold == "fixed") != (self.fixed_threshold is not None):
            raise ConfigError(
                "is for counting.threshold: fixed, and is needed there",
                where="counting.fixed_threshold",
                value=self.fixed_threshold,
                next_step="give both keys, or neither",
            )
        if self.per_class and self.threshold == "fixed":
            raise ConfigError(
                "needs a threshold that is chosen on val",
                where="counting.per_class",
                value=True,
                next_step="remove the key, or write `threshold: count_error`",
            )
        if self.countable[0] > self.countable[1]:
            raise ConfigError(
                "must give the smallest count first",
                where="counting.countable",
                value=list(self.countable),
                next_step="write [25, 250], for example",
            )
        if self.classes is not None and (not self.classes or len(set(self.classes)) != len(self.classes)):
            raise ConfigError(
                "must name each class that counts once, and one class at least",
                where="counting.classes",
                value=list(self.classes),
                next_step="write the names, or remove the key: all classes count then",
            )
        if not isinstance(self.region, str) and not (0 < self.region[2] <= 1 and min(self.region) >= 0):
            raise ConfigError(
                "must be x, y and radius of a circle, as shares of the photo's width",
                where="counting.region",
                value=list(self.region),
                next_step="write [0.5, 0.5, 0.45], for example",
            )
        return self
