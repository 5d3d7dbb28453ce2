"""`agar verify`: hashes every artifact again, and quarantines damaged ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from agar_pipeline.commands.terminal import echo, progress_bar
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    from agar_pipeline.store.verify import BadArtifact, VerifyResult


@click.command("verify", epilog="Example: agar verify --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Check the hash of every file of every artifact. Damaged artifacts are moved into quarantine; undamaged ones in
    quarantine are put back. Exit 0: everything is intact, 1: something was damaged.

    A foreign file in an artifact is moved into quarantine as well; nothing is deleted.
    """
    from agar_pipeline.config import agar_home
    from agar_pipeline.files.storage_errors import clear_storage_errors
    from agar_pipeline.store import Store
    from agar_pipeline.store.verify import verify

    with clear_storage_errors(agar_home()), progress_bar("verifying") as progress:
        result = verify(Store(agar_home()), progress)
    if as_json:
        echo(json.dumps(to_plain(result), indent=1))
    else:
        show(result)
    if not result.ok:
        raise click.exceptions.Exit(1)


def to_plain(result: VerifyResult) -> dict[str, Any]:
    bad = [
        {
            "asset": str(found.key),
            "path": str(found.root),
            "faults": list(found.faults),
            "current": found.current,
            "quarantined": str(found.aside) if found.aside else None,
            "whole": found.whole,
        }
        for found in result.bad
    ]
    to_build = {str(found.key) for found in result.bad if _is_rebuilt(found)}
    to_build |= {str(key) for key in result.dangling if not key.kind.on_demand}
    return {
        "ok": result.ok,
        "artifacts": result.checked,
        "size_bytes": result.size_bytes,
        "bad": bad,
        "latest_removed": [str(key) for key in result.dangling],
        "rebuilt_by_agar_run": sorted(to_build),
        "swept": result.swept,
        "put_back": [str(root) for root in result.put_back],
    }


def _is_rebuilt(found: BadArtifact) -> bool:
    return found.current and not found.whole and not found.key.kind.on_demand


def show(result: VerifyResult) -> None:
    """Print the damaged artifacts with their faults, and what happens to each."""
    from agar_pipeline.files.disk import show_bytes

    for found in result.bad:
        echo(f"bad: {found.key!s:<24} {found.root}")
        for fault in found.faults:
            echo(f"     {fault}")
        if found.aside is None:
            echo("     a running process is building it again")
        elif found.whole:
            echo(
                f"     the foreign files were moved to {found.aside}; the artifact's own files are intact, so it stays"
            )
        else:
            fate = "`agar run` builds it again" if _is_rebuilt(found) else "it is built when it is needed"
            echo(f"     moved to {found.aside}; {fate}")
    for key in result.dangling:
        fate = "it is built when it is needed" if key.kind.on_demand else "`agar run` builds the artifact again"
        echo(f"bad: {key!s:<24} `latest` pointed to nothing and was removed; {fate}")
    for root in result.put_back:
        echo(f"put back: {root}, which was in quarantine although its own files are intact")
    if result.swept:
        echo(f"removed {plural(result.swept, 'leftover')} of processes that have ended")
    damaged, links = len(result.bad), plural(len(result.dangling), "`latest` link")
    faults = [plural(damaged, "is", "are") + " damaged"] if damaged or not result.dangling else []
    faults += [f"{links} pointed to nothing"] if result.dangling else []
    state = "all are intact" if result.ok else ", ".join(faults)
    echo(f"{plural(result.checked, 'artifact')}, {show_bytes(result.size_bytes)}, checked: {state}")
    to_build = any(map(_is_rebuilt, result.bad)) or not all(key.kind.on_demand for key in result.dangling)
    echo("next: agar run" if to_build else "next: agar plan")
