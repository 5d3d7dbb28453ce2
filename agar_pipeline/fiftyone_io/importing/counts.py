"""Counts and lists what an import did, and the reasons for which it kept samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ImportCounts:
    """Result of an import; counts are numbers of images unless the name says otherwise; JSON-ready."""

    added: int = 0
    updated: int = 0
    """Images whose annotation, file or training lists changed, or whose folder was moved."""
    unchanged: int = 0
    moved: int = 0
    """Images, among all of them, whose photo was found at a new path."""
    uncountable: int = 0
    """Images left out because they show colonies that are not marked."""
    removed: int = 0
    """Samples of uncountable images that an earlier import added and nobody changed since; they were removed."""
    unlabelled: int = 0
    """Images among those added, updated or unchanged that nobody has labelled yet."""
    boxes: int = 0
    """Boxes in the annotations of all images that were added, updated or unchanged."""
    crowds: int = 0
    """Boxes among them that mark a region of many objects (`iscrowd`)."""
    classes: dict[str, int] = field(default_factory=dict)
    """Boxes per label."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Label in the annotations → class name that replaced it."""
    unknown_labels: dict[str, int] = field(default_factory=dict)
    """Label that is not in the class map → number of its boxes."""
    kept: dict[str, list[str]] = field(default_factory=dict)
    """Reason (a key of `KEPT`) → files of the samples on which a user's values were kept against the annotation."""
    overwritten: list[str] = field(default_factory=list)
    """Samples whose labels a user had made or changed, and which `overwrite` replaced."""
    changed_meanwhile: list[str] = field(default_factory=list)
    """Samples that somebody else changed between reading and writing; they were not written."""
    problems: list[str] = field(default_factory=list)
    """One sentence for each broken file that was left out."""
    vanished: list[str] = field(default_factory=list)
    """Samples of an earlier import whose image file no longer exists; they stay in the dataset."""
    formerly_annotated: list[str] = field(default_factory=list)
    """Photos without annotation whose sample is of an earlier import; the sample stays as it is."""
    images_without_annotation: list[str] = field(default_factory=list)
    annotations_without_image: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    """Sentences about ignored files: hidden files and folders, raw files beside their photos."""
    miscounted: list[str] = field(default_factory=list)
    """Imported images whose annotation states another number of objects than it has boxes."""
    lists: list[dict[str, Any]] = field(default_factory=list)
    """One `membership.ListCount`, as a dict, for each training list or part that the files name."""
    notes: list[str] = field(default_factory=list)
    """Sentences about imported images that the user should know."""

    @property
    def images(self) -> int:
        return self.added + self.updated + self.unchanged

    def count(self, name: str) -> None:
        setattr(self, name, getattr(self, name) + 1)

    def keep(self, why: str, filepath: str) -> None:
        self.kept.setdefault(why, []).append(filepath)


KEPT = {
    "corrected": "samples keep the labels that they were given after their import, though the annotations changed",
    "photo_changed": "samples keep labels that a person changed, but their photo was replaced: check if the labels fit",
    "not_imported": "samples that were not made by an import keep their labels, though the annotations differ",
    "not_tagged": "samples that were not made by an import are not tagged by the training lists",
    "fields": "samples keep the background or sample_id that a person gave them",
    "uncountable": "samples of uncountable plates are kept, because they hold more than an import wrote",
}
"""Reason in `ImportCounts.kept` → its meaning, as a sentence for the user."""
OVERWRITTEN = KEPT.keys() - {"uncountable"}
"""Reasons that do not occur with `--overwrite`."""
