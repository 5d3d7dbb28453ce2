"""How an asset gets the artifacts of the assets before it.

Not through an IO manager: its two events per input would be a tenth of the time of a run in which nothing changed.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from agar_pipeline.chain.current import Current
from agar_pipeline.chain.nodes import AssetNode
from agar_pipeline.defs.home_storage import require_one_home
from agar_pipeline.defs.run_locks import keep_run
from agar_pipeline.store import Key, Store

PATH_METADATA = "path"
Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext
_built: dict[tuple[str, Key], Path] = {}
"""Run and asset → folder, of the runs of this process."""


def open_inputs(context: Context, store: Store, nodes: Mapping[Key, AssetNode], node: AssetNode) -> dict[Key, Any]:
    """The artifact of each input of a node, verified.

    Raises:
        ArtifactError: one is damaged, or today's config names one that was not built.
        GateError: a verdict forbids to go on.
        ConfigError: Dagster's history is of another home.
    """
    return _current(context, store, nodes).open_inputs(node)


def open_current(context: Context, store: Store, nodes: Mapping[Key, AssetNode], key: Key) -> Any:
    """The artifact that this very run built, else the one that today's config names."""
    return _current(context, store, nodes).open(key)


def _current(context: Context, store: Store, nodes: Mapping[Key, AssetNode]) -> Current:
    """Two runs at once may repoint `latest` for one another; a run's own record cannot be confused."""
    require_one_home(context.instance)
    keep_run(context.run.run_id)
    recorded = cache(lambda: _recorded_roots(context))
    here = {key: root for (run_id, key), root in _built.items() if run_id == context.run.run_id}
    return Current(store, nodes, built=lambda key: here.get(key) or recorded().get(to_asset_key(key)))


def _recorded_roots(context: Context) -> dict[dg.AssetKey, Path]:
    """What this run built so far, by its event log: steps may run in processes of their own."""
    records = context.instance.get_records_for_run(
        context.run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    ).records
    made = [record.asset_materialization for record in records]
    return {event.asset_key: Path(str(event.metadata[PATH_METADATA].value)) for event in made if event}


def note_built(run_id: str, key: Key, root: Path) -> None:
    """Spare the steps after this one, where they run in the same process, a search of the event log."""
    _built[run_id, key] = root


def to_asset_key(key: Key) -> dg.AssetKey:
    return dg.AssetKey(list(key.parts))
