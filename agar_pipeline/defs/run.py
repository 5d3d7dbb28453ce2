"""Materializes stale assets in one Dagster run: same job, events and history as `dagster asset materialize`."""

import logging
import uuid
from collections.abc import Collection

import dagster as dg

from agar_pipeline.chain.nodes import SOURCE
from agar_pipeline.defs.artifact_io import to_asset_key
from agar_pipeline.defs.failures import failure_of, known_error
from agar_pipeline.defs.on_demand import NAMED_TAG
from agar_pipeline.defs.run_locks import held_run
from agar_pipeline.errors import GateError, PipelineError
from agar_pipeline.store import Key


def materialize(defs: dg.Definitions, instance: dg.DagsterInstance, keys: Collection[Key]) -> None:
    """Materialize assets in one run of this process.

    Raises:
        PipelineError: a step failed (with the message of its error), or a blocking check failed.
        StoppedError: Ctrl-C or SIGTERM ended a step, which ends the run.
    """
    logging.getLogger("dagster").setLevel(logging.WARNING)
    job = defs.resolve_implicit_global_asset_job_def()
    run_id = str(uuid.uuid4())
    with held_run(run_id):
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[to_asset_key(key) for key in keys if key != SOURCE],
            run_config={"loggers": {"agar": {}}},
            raise_on_error=False,
            run_id=run_id,
            tags=NAMED_TAG,
        )
    if not result.success:
        raise _first_failure(result)


def _first_failure(result: dg.ExecuteInProcessResult) -> PipelineError:
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed and check.blocking:
                failed = GateError(
                    f"check {check.check_name} failed",
                    where=check.asset_key.to_user_string(),
                    next_step="look at it in `agar ui`",
                )
                return known_error(check.metadata) or failed
    for event in result.all_events:
        if event.is_step_failure and (error := failure_of(event)):
            return error
    return PipelineError("failed", where=f"run {result.run_id}", next_step="look at it in `agar ui`")
