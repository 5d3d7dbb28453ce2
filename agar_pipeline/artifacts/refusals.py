"""Explains why a split or a bbox report forbids the steps after it, from the verdict that is stored in the artifact.

Here: reading the verdict. Not here: when it is checked (`build`, `current`), how it is computed (`splitting`,
`labels`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from agar_pipeline.artifacts import BboxReport, Split
from agar_pipeline.errors import GateError, remedy


def require(refusal: GateError | None) -> None:
    if refusal:
        raise refusal


def refusal_of_split(split: Split) -> GateError | None:
    """Explain why the split may not be used, and what to do; None if no picture is in two parts, or that is allowed."""
    leakage = split.summary()["leakage"]
    if leakage["ok"]:
        return None
    kinds = [kind for kind in ("exact", "near") if leakage[kind]["policy"] == "fail"]
    counted = ", ".join(f"{leakage[kind]['across_parts']} {kind}" for kind in kinds if leakage[kind]["across_parts"])
    pairs = split.duplicates()
    worst = pairs[pairs["across_parts"] & pairs["kind"].isin(kinds)].iloc[0]
    return GateError(
        f"the same pictures are in two parts of the split (pairs: {counted}), which makes scores too good: "
        f"{worst['path']!r} ({worst['part']}) and {worst['other_path']!r} ({worst['other_part']})",
        next_step=f"look at {split.root / 'report.html'}; remove one of each pair, or "
        + remedy(
            f"set split.group_duplicates: true, or split.leakage.{worst['kind']}: warn",
            option="give --group-by duplicates",
        ),
    )


def refusal_of_boxes(bbox_report: BboxReport) -> GateError | None:
    """Explain why training must not start, and what to do; None if no rule with the policy `fail` has findings."""
    plain = bbox_report.report()
    if plain["ok"]:
        return None
    failing = {
        rule: finding["count"]
        for rule, finding in plain["findings"].items()
        if finding["action"] == "fail" and finding["count"]
    }
    broken = [f"{rule} ({count})" for rule, count in failing.items()]
    policies = {
        "missing_image": "max_missing_share",
        "misread_boxes": "max_flawed_share",
        "unlabelled_image": "unlabelled (leave_out; keep for empty plates)",
    }
    changed = [policies[rule] for rule in failing if rule in policies]
    changed += ["box_policy"] if set(failing) - {"unlabelled_image"} else []
    keys = " and ".join(changed)
    return GateError(
        f"the bbox report refuses this data for training: {', '.join(broken)}{_first_failing(bbox_report, broken)}",
        next_step=f"look at {bbox_report.root / 'report.html'}, then {_remedy(failing)}, "
        f"or change {keys} in the pipeline file",
    )


_BAD_FILES = frozenset(
    {"unreadable_image", "damaged_image", "oversized_image", "image_size_mismatch", "unusual_image", "blank_image"}
)


def _remedy(failing: Collection[str]) -> str:
    steps = ["put the missing photos back where they were"] if "missing_image" in failing else []
    steps += ["replace the bad photos"] if _BAD_FILES.intersection(failing) else []
    steps += ["export the boxes as x, y, width, height in pixels"] if "misread_boxes" in failing else []
    steps += ["label the images that nobody has labelled"] if "unlabelled_image" in failing else []
    others = set(failing) - _BAD_FILES - {"missing_image", "misread_boxes", "unlabelled_image"}
    return " and ".join([*steps, *(["correct the labels"] if others else [])])


REFUSAL_OF: dict[str, Callable[[Any], GateError | None]] = {
    Split.asset: refusal_of_split,
    BboxReport.asset: refusal_of_boxes,
}
"""Asset with a verdict → function that explains why it may not be used."""


def _first_failing(bbox_report: BboxReport, broken: list[str]) -> str:
    findings = bbox_report.findings() if broken else None
    failing = None if findings is None else findings[findings["action"] == "fail"]
    if failing is None or failing.empty:
        return ""
    first = failing.iloc[0][["part", "file_name", "annotation_id", "value"]].dropna()
    return f"; first: {', '.join(map(str, first))}"
