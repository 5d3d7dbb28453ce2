"""Applies suggestions that a person accepted to the labels of one sample.

Here: labels before and after, as plain values. Not here: which suggestions are accepted, reading and writing samples
(`use_cases`), the field that holds the result (`reviewed_field`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agar_pipeline.fiftyone_io.database.documents import detection
from agar_pipeline.fiftyone_io.writing.suspect_labels import Detection, box_of, covers, is_at
from agar_pipeline.text.plurals import plural

ACCEPTED = "accepted"
"""Attribute of the copy on a sample: the suspects that were applied there, each with its annotation."""
_REMOVING = ("box_too_many", "double_box", "merged_box")
_OF_THE_OLD_BOX = ("mask", "mask_path")


@dataclass(frozen=True)
class Suggestion:
    """What was suggested about one annotation, or about a place without one, as the suspect's labels hold it now."""

    suspect_id: str
    kind: str
    annotation_id: str | None
    annotated_label: str | None
    annotated_box: list[float] | None
    other_annotation_id: str | None
    labels: tuple[tuple[str | None, list[float]], ...]
    """(label, box in shares) of one suggestion, or of each of two colonies."""

    @property
    def entry(self) -> dict[str, Any]:
        """What the copy records when the suggestion was applied."""
        about = {"annotation": self.annotation_id, "other": self.other_annotation_id}
        return {"suspect": self.suspect_id, "kind": self.kind, **about}


@dataclass
class Applied:
    """The labels of a sample with the suggestions applied."""

    labels: list[Detection]
    accepted: list[dict[str, Any]]
    """What the copy holds in `ACCEPTED`: suspect, kind, and the ids of the annotation and of the one it repeats."""
    done: list[str] = field(default_factory=list)
    """Kinds of the suggestions that were applied now."""
    already: int = 0
    """Number of suggestions that had been applied before."""
    refused: list[str] = field(default_factory=list)
    """Sentences: which suggestion was not applied, and why."""


def suggestions_of(suspects: Sequence[Detection]) -> dict[str, Suggestion]:
    """Collect the labels of each suspect: suspect id → suggestion. Labels that are no suspects are skipped."""
    found: dict[str, list[Detection]] = {}
    for one in suspects:
        if isinstance(one.get("suspect_id"), str) and isinstance(one.get("kind"), str) and box_of(one) is not None:
            found.setdefault(one["suspect_id"], []).append(one)
    return {
        suspect_id: Suggestion(
            suspect_id,
            labels[0]["kind"],
            labels[0].get("annotation_id"),
            labels[0].get("annotated_label"),
            labels[0].get("annotated_box"),
            labels[0].get("other_annotation_id"),
            tuple((label.get("label"), box_of(label) or []) for label in labels),
        )
        for suspect_id, labels in found.items()
    }


def apply_suggestions(
    source: Sequence[Detection],
    copy: Sequence[Detection],
    accepted: Sequence[dict[str, Any]],
    suggestions: Sequence[Suggestion],
) -> Applied:
    """Apply suggestions to the copy of a sample's labels.

    A suggestion is refused if its annotation changed since the review, in the source or in the copy, and if another
    accepted suggestion is about the same annotation.

    Args:
        source: The labels that were reviewed, as they are now.
        copy: The labels of the copy, with what was applied earlier, and what a person changed.
        accepted: What was applied earlier.
        suggestions: What to apply; those that were applied before are counted only.
    """
    before = {entry["suspect"] for entry in accepted}
    new = [one for one in suggestions if one.suspect_id not in before]
    result = Applied(list(copy), list(accepted), already=len(suggestions) - len(new))
    entries = [*accepted, *(one.entry for one in new)]
    for one in new:
        why = _conflict(one.entry, entries) or _stale(one, source, "the label field")
        why = why or _stale(one, result.labels, "the copy")
        if why is not None:
            result.refused.append(f"{one.kind} {one.suspect_id}: {why}")
            continue
        _apply(one, result.labels)
        result.done.append(one.kind)
        result.accepted.append(one.entry)
    return result


def _conflict(one: dict[str, Any], entries: Sequence[dict[str, Any]]) -> str | None:
    """Another accepted suggestion about the same annotation, or one that removes what this one keeps as its double."""
    for other in entries:
        is_same = one["annotation"] is not None and one["annotation"] == other["annotation"]
        is_removed = any(
            kept["other"] is not None and kept["other"] == gone["annotation"] and gone["kind"] in _REMOVING
            for kept, gone in ((one, other), (other, one))
        )
        if other["suspect"] != one["suspect"] and (is_same or is_removed):
            return f"conflicts with {other['kind']} {other['suspect']}, which is accepted, too"
    return None


def _stale(one: Suggestion, labels: Sequence[Detection], where: str) -> str | None:
    """Why a suggestion no longer fits these labels."""
    if one.annotation_id is None:
        return f"a colony is annotated there in {where} now" if covers(labels, one.labels[0][1]) else None
    by_id = {str(label.get("_id")): label for label in labels}
    if not is_at(by_id.get(one.annotation_id), one.annotated_label, one.annotated_box or []):
        return f"its annotation changed in {where} since the review"
    if one.other_annotation_id is not None and one.other_annotation_id not in by_id:
        return f"the annotation that it repeats is not in {where} any more"
    return None


def _apply(one: Suggestion, labels: list[Detection]) -> None:
    """Change the labels as suggested: a changed annotation keeps its id, place and other attributes."""
    place = next((row for row, label in enumerate(labels) if str(label.get("_id")) == one.annotation_id), len(labels))
    if one.kind in ("wrong_class", "poor_box"):
        label, box = one.labels[0]  # both may be corrected by the person
        outdated = () if box == box_of(labels[place]) else _OF_THE_OLD_BOX
        kept = {key: value for key, value in labels[place].items() if key not in outdated}
        labels[place] = {**kept, "label": label, "bounding_box": box}
    elif one.kind in ("box_too_many", "double_box"):
        del labels[place]
    else:
        labels[place : place + 1] = [detection(label, box) for label, box in one.labels]


def count_in_words(kinds: Counter[str]) -> str:
    """Say how many of each kind were applied.

    >>> count_in_words(Counter(missed_colony=2, box_too_many=1))
    '2 boxes added, 1 removed'
    """
    words = (
        ("missed_colony", "added"),
        ("box_too_many", "removed"),
        ("wrong_class", "relabelled"),
        ("poor_box", "replaced by a better one"),
        ("double_box", "removed as doubles"),
        ("merged_box", "replaced by two"),
    )
    found = [(kinds[kind], word) for kind, word in words if kinds[kind]]
    if not found:
        return "no box changed"
    (first, done), *others = found
    return ", ".join([f"{plural(first, 'box', 'boxes')} {done}", *(f"{count} {word}" for count, word in others)])
