"""Failures of steps and checks: Dagster shows the fields of an error, and `agar run` raises the same error again.

If a person interrupts a step, the run ends, and `agar run` says how to continue; this is not reported as a failure.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from agar_pipeline.config import agar_home
from agar_pipeline.errors import PipelineError, StoppedError, from_fields
from agar_pipeline.files.storage_errors import storage_error, told_of

_FIELDS = "error"
"""Name of the metadata that holds all fields of an error as JSON."""
_ONWARD = "run the same command again: finished assets are kept, and a training continues from its last saved state"


def fields_metadata(error: PipelineError | None) -> dict[str, Any]:
    """Return the fields of an error as metadata of a failure or check; none where there is no error."""
    if error is None:
        return {}
    shown = {"where": error.where, "value": error.value, "next step": error.next_step}
    return {**{name: text for name, text in shown.items() if text}, _FIELDS: dg.MetadataValue.json(error.fields)}


def known_error(metadata: Mapping[str, dg.MetadataValue]) -> PipelineError | None:
    """Return the error of which this is the `fields_metadata`."""
    known = metadata.get(_FIELDS)
    return from_fields(known.data) if isinstance(known, dg.JsonMetadataValue) else None  # type: ignore[arg-type]


@contextlib.contextmanager
def failure_with_fields() -> Iterator[None]:
    """During the block, a `PipelineError` becomes a `dg.Failure` with the message and, as metadata, the fields.

    Raises:
        dg.Failure: in place of a `PipelineError`, which is its cause. Other exceptions pass through; the message of
            an interruption, which Dagster shows, is set.
    """
    try:
        yield
    except PipelineError as error:
        raise dg.Failure(str(error), fields_metadata(error)) from error
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interruption:
        interruption.args = (f"the step was stopped: {_ONWARD}",)
        raise


def failure_of(event: dg.DagsterEvent) -> PipelineError | None:
    """Return the error of a failed step, its message headed by the name of the step; None if it has none."""
    name = str(event.step_key).replace("__", "/")
    failed, step = event.step_failure_data, f"{name}:"
    if failed.error_source.name == "INTERRUPT":
        return StoppedError("was stopped", where=name, next_step=_ONWARD)
    if failed.user_failure_data and (error := known_error(failed.user_failure_data.metadata)):
        return PipelineError(error.problem, where=step, next_step=error.next_step)
    return _other_failure(failed.error, step) if failed.error else None


def _other_failure(error: Any, step: str) -> PipelineError:
    """Word an error that is not ours, Dagster's record of it, by its first cause; a full disk has a next step."""
    while error.cause is not None:
        error = error.cause
    kind, _, message = error.message.strip().partition(": ")
    text = message if kind.endswith("Error") else error.message.strip()
    if trouble := told_of(text):
        storage = storage_error(trouble, agar_home())
        return PipelineError(storage.problem, where=step, next_step=storage.next_step)
    return PipelineError(text, where=step, next_step="read the traceback in `agar ui`")
