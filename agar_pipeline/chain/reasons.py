"""Says in words why an asset is stale: how its config, code and inputs differ from those of its artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agar_pipeline.artifacts import Manifest
from agar_pipeline.chain.nodes import AssetNode

_TOLD = 8


def changed_inputs(manifest: Manifest, reads: Mapping[str, str]) -> list[str]:
    """Name the inputs of which the step would now read something else."""
    names = sorted(reads.keys() | manifest.reads.keys())
    return [f"{name} changed" for name in names if reads.get(name) != manifest.reads.get(name)]


def config_reasons(node: AssetNode, manifest: Manifest) -> list[str]:
    """Name the config keys that differ, and the difference in the code version."""
    reasons = diff_config(manifest.config, node.recorded_config, prefix=node.key.asset)
    if manifest.code_version != node.step_version:
        differences = node.differences(manifest) if node.strict else []
        reasons += differences or [f"code version {manifest.code_version} → {node.step_version}"]
    return reasons


def diff_config(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> list[str]:
    """List the differences of two nested configs, one text each.

    >>> diff_config({"seed": 0, "fractions": {"val": 0.1}}, {"seed": 1, "fractions": {"val": 0.1}}, "split")
    ['split.seed 0 → 1']
    """
    reasons: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            reasons += diff_config(before, after, f"{prefix}.{name}")
        elif before != after:
            reasons.append(f"{prefix}.{name} {before} → {after}")
    return reasons


def join_reasons(reasons: Sequence[str]) -> str:
    """Write reasons on one line, at most `_TOLD` of them.

    >>> join_reasons(["a box moved", "1 image added"])
    'a box moved; 1 image added'
    >>> join_reasons([str(number) for number in range(10)])
    '0; 1; 2; 3; 4; 5; 6; and 3 more: agar plan --json lists them'
    """
    if len(reasons) <= _TOLD:
        return "; ".join(reasons)
    rest = len(reasons) - _TOLD + 1
    return "; ".join((*reasons[: _TOLD - 1], f"and {rest} more: agar plan --json lists them"))
