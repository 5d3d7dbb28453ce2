"""Makes the current plan for `agar plan` and `agar run`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from agar_pipeline.chain.nodes import AssetNode
from agar_pipeline.chain.observation import (
    explain_input,
    explain_source,
    recall_records,
    remember_records,
    state_of_log,
)
from agar_pipeline.chain.plan import DagsterRecord, Observation, PlannedAsset, make_plan
from agar_pipeline.commands.chosen_data import note_frozen_choices
from agar_pipeline.config import agar_home
from agar_pipeline.errors import PipelineError
from agar_pipeline.snapshots.sources import observe_source
from agar_pipeline.store import Key, Store


def plan_now(store: Store, nodes: Mapping[Key, AssetNode]) -> tuple[list[PlannedAsset], PipelineError | None]:
    """Return the plan, and why the dataset could not be observed (None if it could)."""
    config = nodes[Key("snapshot")].config
    version: str | None = None
    trouble: PipelineError | None = None
    try:
        version = observe_source(config, agar_home()).version
    except PipelineError as error:
        trouble = error
    seen = Observation(version, dagster_records(nodes), partial(explain_source, config), explain_input)
    return note_frozen_choices(make_plan(store, nodes, seen), nodes), trouble


def plan_lines(plan: Iterable[PlannedAsset]) -> list[str]:
    """Return a line per asset; changes of images and boxes are listed only in the first line that they affect."""
    lines: list[str] = []
    told: set[str] = set()
    for planned in plan:
        took = f"{planned.last_seconds:8.1f} s" if planned.last_seconds is not None else " " * 10
        state = "refused" if planned.refusal else planned.state
        words = (planned.why(told), *(f"note: {note}" for note in planned.notes))
        lines.append(f"{planned.key!s:<24} {state:<8} {took}  {'; '.join(filter(None, words))}".rstrip())
        told.update(planned.causes)
    return lines


def shared_trouble(store: Store) -> str | None:
    """Return a note on a shared store that could not be used; None if it could, or if there is none."""
    error = store.shared.error if store.shared else None
    return f"note: {error.problem}; the plan covers only what this home holds" if error else None


def dagster_records(nodes: Mapping[Key, AssetNode]) -> dict[Key, DagsterRecord]:
    """Return Dagster's records of these assets; its storage is opened only if it has changed since the last time."""
    known = recall_records(agar_home())
    if known is not None and nodes.keys() <= known.keys():
        return known
    from agar_pipeline.defs.instance import open_instance, read_records

    with open_instance() as instance:
        before = state_of_log(agar_home())
        records = read_records(instance, nodes)
    remember_records(agar_home(), {key: records.get(key, NEVER) for key in nodes}, before)
    return records


NEVER = DagsterRecord(None, None, {})
"""Record of an asset that Dagster has not seen yet."""
