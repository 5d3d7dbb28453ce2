"""`agar verify`"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from agar_pipeline.commands.terminal import echo, progress_bar

if TYPE_CHECKING:
    from agar_pipeline.store.upkeep import Verdict


@click.command("verify", epilog="Example: agar verify --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Hash every artifact again and quarantine the bad ones; put back what lies there although it is whole.
    Exit 0: all is whole, 1: something was bad.

    A file of somebody's in an artifact is moved out of it, into the quarantine; nothing is deleted.
    """
    from agar_pipeline.config import agar_home
    from agar_pipeline.files.disk import clear_storage_errors
    from agar_pipeline.store import Store
    from agar_pipeline.store.upkeep import verify

    with clear_storage_errors(agar_home()), progress_bar("verifying") as progress:
        verdict = verify(Store(agar_home()), progress)
    if as_json:
        echo(json.dumps(to_plain(verdict), indent=1))
    else:
        show(verdict)
    if not verdict.ok:
        raise click.exceptions.Exit(1)


def to_plain(verdict: Verdict) -> dict[str, Any]:
    """The verdict, JSON-ready."""
    bad = [
        {
            "asset": str(found.key),
            "path": str(found.root),
            "faults": list(found.faults),
            "current": found.current,
            "quarantined": str(found.aside) if found.aside else None,
            "whole": found.whole,
        }
        for found in verdict.bad
    ]
    to_build = {str(found.key) for found in verdict.bad if found.current and not found.whole}
    rebuilt = sorted(to_build | set(map(str, verdict.dangling)))
    return {
        "ok": verdict.ok,
        "artifacts": verdict.checked,
        "size_bytes": verdict.size_bytes,
        "bad": bad,
        "latest_removed": [str(key) for key in verdict.dangling],
        "rebuilt_by_agar_run": rebuilt,
        "swept": verdict.swept,
        "put_back": [str(root) for root in verdict.put_back],
    }


def show(verdict: Verdict) -> None:
    """What is bad, artifact by artifact, and what will become of it."""
    from agar_pipeline.files.disk import show_bytes

    for found in verdict.bad:
        echo(f"bad: {found.key!s:<24} {found.root}")
        for fault in found.faults:
            echo(f"     {fault}")
        if found.aside is None:
            echo("     a running process is building it anew")
        elif found.whole:
            echo(f"     moved to {found.aside}; the artifact's own files are as they were written, it stays")
        else:
            fate = "`agar run` builds it again" if found.current else "not the current one: built again when wanted"
            echo(f"     moved to {found.aside}; {fate}")
    for key in verdict.dangling:
        echo(f"bad: {key!s:<24} its `latest` led nowhere, removed; `agar run` builds it again")
    for root in verdict.put_back:
        echo(f"put back: {root} lay in quarantine, its own files are as they were written")
    if verdict.swept:
        echo(f"{verdict.swept} leftovers of dead processes removed")
    state = "all whole" if verdict.ok else f"{len(verdict.bad) + len(verdict.dangling)} bad"
    echo(f"{verdict.checked} artifacts, {show_bytes(verdict.size_bytes)}: {state}")
    to_build = any(found.current and not found.whole for found in verdict.bad) or verdict.dangling
    echo("next: agar run" if to_build else "next: agar plan")
