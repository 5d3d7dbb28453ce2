"""The digest of each step's code beside its code version, and why a digest changed without the version.

`python -m tests.step_code.recorded "why the result is the same"` records today's digests of the steps whose code
changed. Where the result of a step is another, raise its `code_version` in `agar_pipeline/artifacts/` instead, and
record that: the list of its digests then begins anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.step_code.provenance import STEPS, provenance_of

FILE = Path(__file__).with_name("recorded.json")
LEAST_LETTERS = 15
"""Of a reason."""


def read() -> dict[str, dict[str, Any]]:
    """Asset → code_version, and digests: digest → why the result is that of the version's first one."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def complaints() -> list[str]:
    """What of today's code is not recorded, a sentence each."""
    recorded, found = read(), []
    for asset in STEPS:
        version, digest = ARTIFACTS[asset].code_version, provenance_of(asset).digest
        entry = recorded.get(asset, {"code_version": None, "digests": {}})
        if entry["code_version"] != version:
            found.append(f"{asset}: code version {version} is not recorded, {entry['code_version']} is")
        elif len(entry["digests"].get(digest, "")) < LEAST_LETTERS:
            found.append(f"{asset}: its code changed (digest {digest}) and its code version {version} did not")
    return found


def record(why: str) -> list[str]:
    """Write down today's digests; returns the assets that were recorded anew.

    Raises:
        ValueError: the reason is too short to be one.
    """
    if len(why) < LEAST_LETTERS:
        raise ValueError(f"{why!r} is no reason: say in a sentence why the results are the same")
    recorded, changed = read(), []
    for asset in STEPS:
        version, digest = ARTIFACTS[asset].code_version, provenance_of(asset).digest
        entry = recorded.get(asset)
        if entry is None or entry["code_version"] != version:
            recorded[asset] = {"code_version": version, "digests": {digest: f"the first of version {version}: {why}"}}
            changed.append(asset)
        elif digest not in entry["digests"]:
            entry["digests"][digest] = why
            changed.append(asset)
    FILE.write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n")
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("recorded:", ", ".join(record(sys.argv[1])) or "nothing, no step's code changed")
