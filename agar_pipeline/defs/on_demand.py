"""Decides whether a run asked for an asset that is built only on demand, or merely selected everything."""

import dagster as dg

from agar_pipeline.artifacts import Leaderboard

NAMED_TAG = {"agar/named": "true"}
"""Tags of a run whose assets were chosen one by one."""


def is_named(context: dg.AssetExecutionContext) -> bool:
    """Return whether a run asked for its assets on demand.

    A run of everything (`--select '*'`, "Materialize all") includes the leaderboard, which is made from no such asset
    and into none. A run that selects an experiment, an asset with its inputs, or the job `review` does not include it.
    """
    selected = context.job_def.asset_layer.selected_asset_keys
    return NAMED_TAG.items() <= context.run.tags.items() or dg.AssetKey(Leaderboard.asset) not in selected
