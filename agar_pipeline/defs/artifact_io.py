"""Opens the artifacts that an asset takes as inputs.

No IO manager is used: its two events per input would take a tenth of the time of a run in which nothing changed.
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
"""(run id, key) → folder, for the runs of this process."""


def open_inputs(context: Context, store: Store, nodes: Mapping[Key, AssetNode], node: AssetNode) -> dict[Key, Any]:
    """Return the artifact of each input of a node, verified.

    Raises:
        ArtifactError: one is damaged, or today's config names one that was not built.
        GateError: the verdict of an input forbids to continue.
        ConfigError: Dagster's history is that of another home.
    """
    return _current(context, store, nodes).open_inputs(node)


def open_current(context: Context, store: Store, nodes: Mapping[Key, AssetNode], key: Key) -> Any:
    """Return the artifact that this run built; if it built none, the one that today's config names."""
    return _current(context, store, nodes).open(key)


def _current(context: Context, store: Store, nodes: Mapping[Key, AssetNode]) -> Current:
    """Prefer what this run has recorded: `latest` may be moved by another run at the same time."""
    require_one_home(context.instance)
    keep_run(context.run.run_id)
    recorded = cache(lambda: _recorded_roots(context))
    here = {key: root for (run_id, key), root in _built.items() if run_id == context.run.run_id}
    return Current(store, nodes, built=lambda key: here.get(key) or recorded().get(to_asset_key(key)))


def _recorded_roots(context: Context) -> dict[dg.AssetKey, Path]:
    """Return what this run has built so far, from its event log, because steps may run in separate processes."""
    records = context.instance.get_records_for_run(
        context.run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    ).records
    made = [record.asset_materialization for record in records]
    return {event.asset_key: Path(str(event.metadata[PATH_METADATA].value)) for event in made if event}


def note_built(run_id: str, key: Key, root: Path) -> None:
    """Remember what was built, so that later steps in the same process need not search the event log."""
    _built[run_id, key] = root


def to_asset_key(key: Key) -> dg.AssetKey:
    return dg.AssetKey(list(key.parts))
