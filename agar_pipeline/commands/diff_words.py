"""The output of `agar diff`: the two snapshots, and the changes between them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from agar_pipeline.artifacts import Snapshot
from agar_pipeline.reports.diff_page import DiffSide
from agar_pipeline.snapshots.box_pairing import KINDS
from agar_pipeline.snapshots.diff import SnapshotDiff, SnapshotTables, summarize
from agar_pipeline.text.plurals import plural

_SHOWN = 20


def snapshot_side(snapshot: Snapshot) -> DiffSide:
    dataset = snapshot.dataset()
    made = snapshot.manifest.created_at[:16].replace("T", " ")
    name = f"{dataset['dataset']}, snapshot {snapshot.manifest.fingerprint[:12]} of {made}"
    return DiffSide(name, SnapshotTables(snapshot.images(), snapshot.boxes()), Path(dataset["images_dir"]))


def change_lines(diff: SnapshotDiff) -> list[str]:
    """Return the reasons, then one line per changed image, at most `_SHOWN` of them."""
    lines = summarize(diff) or ["the two snapshots hold the same images and boxes"]
    counts: dict[str, Counter[str]] = {}
    for change in diff.boxes:
        counts.setdefault(change.path, Counter())[change.kind] += 1
    if not counts:
        return lines
    shown = dict(list(counts.items())[:_SHOWN])
    width = max(len("image"), *map(len, shown))
    lines += ["", f"{'image':<{width}}" + "".join(f" {kind:>10}" for kind in KINDS)]
    for path, kinds in shown.items():
        lines.append(f"{path:<{width}}" + "".join(f" {kinds[kind] or '':>10}" for kind in KINDS))
    if len(counts) > len(shown):
        lines.append(f"… and {plural(len(counts) - len(shown), 'more image')}")
    return lines


def next_step(diff: SnapshotDiff, before: Snapshot) -> str:
    """Return the next command; for missing files an instruction, because restoring labels does not restore files."""
    if diff.files_missing:
        return "put the missing photos back where they were, then agar plan"
    return "agar plan" if diff.is_empty else f"agar restore {before.manifest.fingerprint[:12]} --dataset NAME"
