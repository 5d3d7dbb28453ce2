"""All that a count needs besides the detector; fitted on val, and kept as `counting.json` beside the evaluation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.config import CountingConfig
from agar_pipeline.counting.intervals import CountIntervals, fit_intervals
from agar_pipeline.counting.likeness import TrainingLikeness
from agar_pipeline.counting.photo_study import PhotoStudy
from agar_pipeline.counting.region import Region, area_of
from agar_pipeline.counting.threshold import Criterion, Thresholds, search_thresholds
from agar_pipeline.errors import ArtifactError, ConfigError
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.counting import count_per_image

CALIBRATION_FILE = "counting.json"
FORMAT = 1
NO_INTERVALS = CountIntervals(0.9, (), reason="an evaluation calibrates it, and no counting.json of one is given")


@dataclass(frozen=True)
class Calibration:
    """How the detections of one detector become counts."""

    rule: CountRule
    """Which detections are kept, and which classes count as colonies."""
    countable: tuple[int, int] = (25, 250)
    """Smallest and largest count of a countable plate, both inclusive."""
    intervals: CountIntervals = NO_INTERVALS
    """In which the true count lies."""
    thresholds: Thresholds | None = None
    """How good each threshold was on val; None: no val was scored."""
    region: Region = dataclasses.field(default_factory=Region)
    """Where colonies count."""
    likeness: TrainingLikeness | None = None
    """What the training photos were like; None if that is unknown."""

    def with_threshold(self, threshold: float) -> Calibration:
        """The same with a threshold that was given on a command line, for all classes."""
        rule = CountRule(threshold, "the command line", "given", classes=self.rule.classes)
        reason = "intervals are calibrated for the threshold of the evaluation, and another one is given"
        intervals = CountIntervals(self.intervals.coverage, (), reason=reason)
        return dataclasses.replace(self, rule=rule, intervals=intervals)

    def interval(self, count: int) -> tuple[int, int] | None:
        """Lowest and highest true count of a plate with this predicted count; None: there are no intervals."""
        bounds = self.intervals.of(np.array([count]))
        return None if bounds is None else (int(bounds[0][0]), int(bounds[1][0]))

    def range_note(self, count: int) -> str | None:
        """What is said of a plate with more colonies than a countable one.

        >>> Calibration(CountRule()).range_note(251)
        'more than 250 colonies, the upper limit of a countable plate: count a thinner dilution'
        """
        if count <= self.countable[1]:
            return None
        return f"more than {self.countable[1]} colonies, the upper limit of a countable plate: count a thinner dilution"

    def renamed(self, names: Mapping[str, str]) -> Calibration:
        """The same for a file that spells the classes differently; `names`: class here → class there."""
        return dataclasses.replace(self, rule=self.rule.renamed(names))

    def require_classes(self, class_names: Sequence[str], path: Path) -> None:
        """Raise ArtifactError if it names a class that the model does not know; `path`: the file that it is from."""
        named = {*(self.rule.classes or ()), *self.rule.per_class}
        unknown = sorted(named - {*class_names})
        if unknown:
            raise ArtifactError(
                f"is for a model that knows {unknown[0]!r}, and this model knows: {', '.join(class_names)}",
                where=path,
                next_step="give the counting.json of an evaluation of this checkpoint",
            )

    @property
    def words(self) -> str:
        """What counts, from which score, in one sentence."""
        what = "all classes" if self.rule.classes is None else ", ".join(self.rule.classes)
        own = "".join(f", {name} from {score:.2f}" for name, score in self.rule.per_class.items())
        return f"{what} count as colonies, from a score of {self.rule.threshold:.2f} on{own}"

    @property
    def interval_words(self) -> str:
        """What the intervals state, or why there are none, in one sentence."""
        if self.intervals.reason is not None:
            return f"no interval is stated with the counts: {self.intervals.reason}"
        stated = f"{100 * self.intervals.coverage:g} %"
        return f"in parentheses: the interval in which the true count lies with a probability of {stated}"

    def to_plain(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "rule": self.rule.to_plain(),
            "countable": list(self.countable),
            "intervals": self.intervals.to_plain(),
            "thresholds": self.thresholds and self.thresholds.to_plain(),
            "region": self.region.to_plain(),
            "likeness": None if self.likeness is None else self.likeness.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Calibration:
        least, most = plain["countable"]
        thresholds = plain["thresholds"] and Thresholds.from_plain(plain["thresholds"])
        return cls(
            CountRule.from_plain(plain["rule"]),
            (int(least), int(most)),
            CountIntervals.from_plain(plain["intervals"]),
            thresholds,
            Region.from_plain(plain["region"]),
            plain["likeness"] and TrainingLikeness.from_plain(plain["likeness"]),
        )

    def write(self, path: Path) -> None:
        """Write `counting.json`."""
        path.write_text(json.dumps(self.to_plain(), indent=2, allow_nan=False))

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read `counting.json`.

        Raises:
            ArtifactError: it is missing, damaged, or of another version.
        """
        try:
            plain = json.loads(path.read_text())
            if plain["format"] == FORMAT:
                return cls.from_plain(plain)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"cannot be read as the calibration of counts ({type(error).__name__})",
                where=path,
                next_step="give the counting.json of an evaluation, or run `agar run`, which writes it",
            ) from error
        raise ArtifactError(
            f"has the format {plain['format']}, and this version reads {FORMAT}",
            where=path,
            next_step="run `agar run`, which writes it again",
        )


def calibrate(
    config: CountingConfig,
    columns: CocoColumns,
    colonies: Detections,
    chosen_on: str = "val",
    study: PhotoStudy | None = None,
) -> Calibration:
    """Fit a calibration.

    Args:
        config: The section `counting` of the pipeline.
        columns: The annotations of val.
        colonies: The detections on val, after suppression across classes.
        chosen_on: Name of these images.
        study: What the photos show; None: the whole photo counts, and nothing is known of the training.

    Raises:
        ConfigError: a class that should count is not in the annotations.
    """
    classes = None if config.classes is None else counted_classes(config.classes, columns.class_names)
    facts = (study.region, study.likeness) if study else (Region(), None)
    if unknown := colonies.why_undefined:
        rule = _fixed(config, classes) or CountRule(chosen_on=f"nothing, because {unknown}", classes=classes)
        return Calibration(rule, config.countable, CountIntervals(config.coverage, (), reason=unknown), None, *facts)
    of_all = CountRule(0.0, classes=classes, area=area_of(study.circles, columns) if study else None)
    annotated, found = of_all.annotated(columns), of_all.colonies(colonies, columns.names)
    criterion: Criterion = "f1" if config.threshold == "f1" else "count_error"
    search = search_thresholds(annotated, found, criterion, per_class=config.per_class)
    chosen, predicted = search.thresholds(), search.counts_without_own()
    rule = CountRule(chosen.common, chosen_on, criterion, chosen.own, classes)
    if (fixed := _fixed(config, classes)) is not None:
        rule, predicted = fixed, count_per_image(annotated, fixed.keep(found, columns.names))[0]
    elif not len(columns.image_ids):
        rule = CountRule(classes=classes)
    if unknown := colonies.why_uncounted(rule.least_of_all):
        intervals = CountIntervals(config.coverage, (), reason=unknown)
    else:
        intervals = fit_intervals(predicted, search.everything.annotated, config.coverage)
    return Calibration(rule, config.countable, intervals, chosen if len(columns.image_ids) else None, *facts)


def _fixed(config: CountingConfig, classes: tuple[str, ...] | None) -> CountRule | None:
    if config.fixed_threshold is None:
        return None
    return CountRule(config.fixed_threshold, "nothing: it is fixed in the pipeline file", "fixed", classes=classes)


def counted_classes(classes: Sequence[str], class_names: Sequence[str]) -> tuple[str, ...]:
    """The classes that count, in the order of `class_names`.

    Raises:
        ConfigError: one is not among `class_names`.
    """
    missing = [name for name in classes if name not in class_names]
    if missing:
        raise ConfigError(
            "is no class of the data",
            where="counting.classes",
            value=missing[0],
            next_step=f"write one of: {', '.join(class_names)}",
        )
    return tuple(name for name in class_names if name in classes)
