"""How an asset gets the artifacts of the assets before it.

Not through an IO manager: its two events per input would be a tenth of the time of a run in which nothing changed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from agar_pipeline.chain import SOURCE, Node
from agar_pipeline.defs.home_storage import require_one_home
from agar_pipeline.defs.run_locks import keep_run
from agar_pipeline.errors import ArtifactError
from agar_pipeline.store import Key, Store, find_faults

PATH_METADATA = "path"
Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext
_built: dict[tuple[str, Key], Path] = {}
"""Run and asset → folder, of the runs of this process."""


def open_inputs(context: Context, store: Store, nodes: Mapping[Key, Node], node: Node) -> dict[Key, Any]:
    """The artifact of each input of a node, verified.

    Raises:
        ArtifactError: one is missing or damaged, or was built from another config than today's.
        ConfigError: Dagster's history is of another home.
    """
    return {key: open_current(context, store, nodes, key) for key in node.inputs if key != SOURCE}


def open_current(context: Context, store: Store, nodes: Mapping[Key, Node], key: Key) -> Any:
    """The artifact that this very run built, else the latest one if it was made from today's config."""
    require_one_home(context.instance)
    keep_run(context.run.run_id)
    root = _built_in_this_run(context, key)
    if root is None:
        artifact = store.open_latest(key)
        if artifact.manifest.config != nodes[key].recorded_config:
            raise ArtifactError(
                f"{key} in {artifact.root} was built from another config than {key} has now\n"
                f"materialize {key} first, or everything that is stale: `agar run`"
            )
        return artifact
    faults = find_faults(root)
    if faults:
        raise ArtifactError(f"{root} is damaged: {faults[0]}; materialize {key} again")
    return key.kind.open(root)


def _built_in_this_run(context: Context, key: Key) -> Path | None:
    """Two runs at once may repoint `latest` for one another; a run's own record cannot be confused."""
    here = _built.get((context.run.run_id, key))
    if here is not None:
        return here
    records = context.instance.get_records_for_run(
        context.run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION, ascending=False
    ).records
    for record in records:
        materialization = record.asset_materialization
        if materialization and materialization.asset_key == to_asset_key(key):
            return Path(str(materialization.metadata[PATH_METADATA].value))
    return None


def note_built(run_id: str, key: Key, root: Path) -> None:
    """Spare the steps after this one, where they run in the same process, a search of the event log."""
    _built[run_id, key] = root


def to_asset_key(key: Key) -> dg.AssetKey:
    return dg.AssetKey(list(key.parts))
