"""`agar run`: materializes stale assets in one Dagster run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from agar_pipeline.commands.terminal import echo, say

if TYPE_CHECKING:
    from agar_pipeline.artifacts import Artifact
    from agar_pipeline.store import Key


@click.command("run", epilog="Example: agar run --experiment demo")
@click.argument("assets", nargs=-1)
@click.option("--experiment", help="Only the chain of this experiment.")
@click.option("--json", "as_json", is_flag=True, help="Print what was materialized as JSON.")
def command(assets: tuple[str, ...], experiment: str | None, as_json: bool) -> None:
    """Materialize what is stale, in one Dagster run; if everything is current, nothing is run.

    ASSETS limits the run to these assets, named as in `agar plan`; +NAME means an asset and all that it is made from.
    A label_review is built only if it is named. Artifacts that the shared store (AGAR_STORE) holds are fetched.
    """
    from agar_pipeline.commands.run_words import closing_lines
    from agar_pipeline.config import agar_home
    from agar_pipeline.store import Store

    ran, store = run_stale(assets, experiment), Store(agar_home())
    built = {key: store.open_latest(key) for key in ran}
    if as_json:
        plain = [{"asset": str(key), "path": str(of.root), **_versions(of)} for key, of in built.items()]
        echo(json.dumps({"materialized": plain}, indent=1))
    elif not ran:
        echo("nothing to do: everything is current")
    for line in closing_lines(store, built):
        say(line)


def _versions(artifact: Artifact) -> dict[str, str]:
    return {"fingerprint": artifact.manifest.fingerprint, "data_version": artifact.data_version}


def run_stale(assets: tuple[str, ...] = (), experiment: str | None = None) -> list[Key]:
    """Plan, then materialize those of the chosen assets that are not fresh; return their keys."""
    from agar_pipeline.chain.nodes import load_nodes, without_on_demand
    from agar_pipeline.commands.plan_words import dagster_records, plan_lines, plan_now, shared_trouble
    from agar_pipeline.commands.selection import select_keys
    from agar_pipeline.config import agar_home
    from agar_pipeline.errors import DatasetError, MissingPackageError
    from agar_pipeline.files.file_system import note
    from agar_pipeline.ownership.home import open_home
    from agar_pipeline.store import Key, Store

    MissingPackageError.require("dagster")
    nodes = load_nodes()
    chosen = select_keys(nodes, assets, experiment)
    nodes = without_on_demand(nodes, chosen)
    store = Store(agar_home())
    for doubtful in filter(None, [note(open_home(store.home))]):
        say(doubtful)
    plan, trouble = plan_now(store, nodes)
    if unshared := shared_trouble(store):
        say(unshared)
    if trouble and Key("snapshot") in chosen:
        if store.latest(Key("snapshot")) or store.shared:
            onward = "to continue with the data of the last snapshot, name the assets to build: agar run ASSET…"
            next_step = f"{trouble.next_step}; or, {onward}" if trouble.next_step else onward
            raise DatasetError(trouble.what, where=trouble.where, value=trouble.value, next_step=next_step)
        raise trouble
    if trouble:
        say(f"note: the dataset could not be read: {trouble.in_one_line}")
    stale = [planned for planned in plan if planned.key in chosen and (planned.state != "fresh" or planned.elsewhere)]
    if not stale:
        return []
    from agar_pipeline.definitions import defs
    from agar_pipeline.defs.instance import open_instance
    from agar_pipeline.defs.run import materialize

    for line in plan_lines(stale):
        say(line)
    with open_instance() as instance:
        materialize(defs, instance, [planned.key for planned in stale])
    dagster_records(nodes)  # updates the cache of records for the next plan
    return [planned.key for planned in stale]
