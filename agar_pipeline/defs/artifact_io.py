"""How an asset gets the artifacts of the assets before it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from agar_pipeline.chain import Node
from agar_pipeline.defs.run_locks import keep_run
from agar_pipeline.errors import ArtifactError
from agar_pipeline.store import Key, Store, find_faults

PATH_METADATA = "path"
_built: dict[tuple[str, Key], Path] = {}
"""Run and asset → folder, of the runs of this process."""


class ArtifactIOManager(dg.IOManager):
    """Loads the artifact that this very run built, else the latest one if it was made from today's config.

    Assets publish by themselves (`Store.build`), so nothing is left to do for an output.
    """

    def __init__(self, store: Store, nodes: Mapping[Key, Node]) -> None:
        self.store = store
        self.nodes = nodes

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        raise NotImplementedError("assets return MaterializeResult, which has no value to store")

    def load_input(self, context: dg.InputContext) -> Any:
        keep_run(context.step_context.run_id)
        key = to_key(context.asset_key)
        root = self._built_in_this_run(context)
        if root is None:
            artifact = self.store.open_latest(key)
            if artifact.manifest.config != self.nodes[key].recorded_config:
                raise ArtifactError(
                    f"{key} in {artifact.root} was built from another config than {key} has now\n"
                    f"materialize {key} first, or everything that is stale: `agar run`"
                )
            return artifact
        faults = find_faults(root)
        if faults:
            raise ArtifactError(f"{root} is damaged: {faults[0]}; materialize {key} again")
        return key.kind.open(root)

    def _built_in_this_run(self, context: dg.InputContext) -> Path | None:
        """Two runs at once may repoint `latest` for one another; a run's own record cannot be confused."""
        here = _built.get((context.step_context.run_id, to_key(context.asset_key)))
        if here is not None:
            return here
        records = context.step_context.instance.get_records_for_run(
            context.step_context.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION, ascending=False
        ).records
        for record in records:
            materialization = record.asset_materialization
            if materialization and materialization.asset_key == context.asset_key:
                return Path(str(materialization.metadata[PATH_METADATA].value))
        return None


def note_built(run_id: str, key: Key, root: Path) -> None:
    """Spare the steps after this one, where they run in the same process, a search of the event log."""
    _built[run_id, key] = root


def to_key(asset_key: dg.AssetKey) -> Key:
    *experiment, asset = asset_key.path
    return Key(asset, experiment[0] if experiment else None)


def to_asset_key(key: Key) -> dg.AssetKey:
    return dg.AssetKey(list(key.parts))
