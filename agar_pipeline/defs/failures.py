"""Failures of steps: Dagster shows the fields of an error that the user can fix, and `agar run` raises it again."""

import contextlib
from collections.abc import Iterator
from typing import Any

import dagster as dg

from agar_pipeline.config import agar_home
from agar_pipeline.errors import PipelineError, from_fields
from agar_pipeline.files.storage_errors import storage_error, told_of

_FIELDS = "error"
"""Metadata of a failure that holds the fields of the error, for `failure_of`."""


@contextlib.contextmanager
def failure_with_fields() -> Iterator[None]:
    """During the block, a `PipelineError` becomes a `dg.Failure` with the message and, as metadata, the fields.

    Raises:
        dg.Failure: in place of a `PipelineError`, which is its cause. Other exceptions pass through.
    """
    try:
        yield
    except PipelineError as error:
        shown = {"where": error.where, "value": error.value, "next step": error.next_step}
        metadata = {name: text for name, text in shown.items() if text}
        raise dg.Failure(str(error), {**metadata, _FIELDS: dg.MetadataValue.json(error.fields)}) from error


def failure_of(event: dg.DagsterEvent) -> PipelineError | None:
    """Return the error of a failed step, its message headed by the name of the step; None if it has none."""
    failed, step = event.step_failure_data, f"{str(event.step_key).replace('__', '/')}:"
    known = failed.user_failure_data.metadata.get(_FIELDS) if failed.user_failure_data else None
    if isinstance(known, dg.JsonMetadataValue):
        error = from_fields(known.data)  # type: ignore[arg-type]
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
