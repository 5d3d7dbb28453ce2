"""No step's code changes without a raised code version, or a line that says why the result is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.step_code.provenance import STEPS, Provenance
from tests.step_code import recorded


def test_each_change_of_code_raises_a_version_or_says_why_not() -> None:
    assert not recorded.complaints(), (
        'raise the step\'s code_version in artifacts, then record it: python -m tests.step_code.recorded "why …"'
    )


def test_a_changed_digest_needs_a_reason_or_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "FILE", tmp_path / "recorded.json")
    recorded.record("the first time that digests are recorded")
    assert recorded.complaints() == []
    monkeypatch.setattr(recorded, "provenance_of", lambda asset: Provenance(f"another {asset}"))
    assert len(recorded.complaints()) == len(STEPS)
    with pytest.raises(ValueError, match="is no reason"):
        recorded.record("tidied")
    recorded.record("a function was renamed, no value changed")
    assert recorded.complaints() == []
    before = ARTIFACTS["split"].code_version
    monkeypatch.setattr(ARTIFACTS["split"], "code_version", "99")
    assert recorded.complaints() == [f"split: code version 99 is not recorded, {before} is"]
    recorded.record("stratification rounds the other way")
    assert list(recorded.read()["split"]["digests"]) == ["another split"]
