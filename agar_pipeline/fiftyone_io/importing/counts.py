"""What an import did, image by image and in all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ImportCounts:
    """In images unless the name says otherwise; plain and JSON-ready."""

    added: int = 0
    updated: int = 0
    """The annotation, the image or its lists changed, or the folder moved."""
    unchanged: int = 0
    moved: int = 0
    """Of all of them, those whose photo was found at a new place."""
    uncountable: int = 0
    """Left out: colonies are there, but not marked."""
    removed: int = 0
    """Uncountable ones that an earlier import had added, and nobody touched since."""
    unlabelled: int = 0
    """Of those added, updated or unchanged: without labels, as nobody has labelled them yet."""
    boxes: int = 0
    """Boxes that the annotations of all images state which were added, updated or unchanged."""
    crowds: int = 0
    """Of the boxes: regions of many objects, `iscrowd`."""
    classes: dict[str, int] = field(default_factory=dict)
    """Boxes per label."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Label as the annotations write it → name of the class that it was taken for."""
    unknown_labels: dict[str, int] = field(default_factory=dict)
    """Those of them that the class map does not know."""
    kept: dict[str, list[str]] = field(default_factory=dict)
    """Why a person's work was kept though the annotation says otherwise → the samples' files; keys as in `KEPT`."""
    overwritten: list[str] = field(default_factory=list)
    """Samples whose labels were a person's and were replaced, since that was asked for."""
    changed_meanwhile: list[str] = field(default_factory=list)
    """Samples that somebody else wrote between reading and writing; they were left as they are."""
    problems: list[str] = field(default_factory=list)
    """What was left out since it is broken, a sentence each."""
    vanished: list[str] = field(default_factory=list)
    """Samples of an earlier import whose image file is gone; they stay in the dataset."""
    images_without_annotation: list[str] = field(default_factory=list)
    annotations_without_image: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    """Sentences on what is nobody's photo or label: hidden files and folders, raw files beside their photos."""
    miscounted: list[str] = field(default_factory=list)
    """Imported all the same: their annotation states another number of objects than it has boxes."""
    lists: list[dict[str, Any]] = field(default_factory=list)
    """Of the training lists, or of the parts that the files give, as `membership.ListCount`."""
    notes: list[str] = field(default_factory=list)
    """What somebody should know of what was imported all the same, a sentence each."""

    @property
    def images(self) -> int:
        return self.added + self.updated + self.unchanged

    def count(self, name: str) -> None:
        """One image more."""
        setattr(self, name, getattr(self, name) + 1)

    def keep(self, why: str, filepath: str) -> None:
        self.kept.setdefault(why, []).append(filepath)


KEPT = {
    "corrected": "samples keep the labels that they were given after their import, though the annotations changed",
    "photo_changed": "samples keep labels that a person changed, but their photo was replaced: see if the labels fit",
    "not_imported": "samples that no import made keep their labels, though the annotations say otherwise",
    "not_tagged": "samples that no import made are not tagged by the training lists",
    "fields": "samples keep the background or sample_id that a person gave them",
    "uncountable": "samples stay, though their plates are uncountable: they hold more than an import wrote",
}
"""What each reason of `ImportCounts.kept` means."""
OVERWRITTEN = KEPT.keys() - {"uncountable"}
"""Those that `--overwrite` overrules in any case."""
