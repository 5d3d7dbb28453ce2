"""The errors that a user can fix. Each message says what is wrong, which value, where, and the next step.

Nothing else belongs here. A bug is not a `PipelineError`: it keeps its own type and its traceback.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from agar_pipeline.text.safe_text import printable
from agar_pipeline.text.secrets import mask

INTERRUPTED = 130
"""The exit code of a process that a person stopped: 128 and the number of SIGINT, as shells have it."""


_READER = "AGAR_READER"
"""Environment variable, which child processes inherit: `options` where the settings come from a command line."""


def remedy(in_file: str, *, option: str) -> str:
    """The next step of an error, for the reader that it will have.

    Args:
        in_file: For the owner of a pipeline file: which key to change.
        option: For somebody who gave the same setting as an option of a command.
    """
    return option if os.environ.get(_READER) == "options" else in_file


@contextlib.contextmanager
def read_by_a_user_of_options() -> Iterator[None]:
    """During the block, errors of this process and of its children name options in place of keys."""
    before = os.environ.get(_READER)
    os.environ[_READER] = "options"
    try:
        yield
    finally:
        os.environ.pop(_READER) if before is None else os.environ.update({_READER: before})


class PipelineError(Exception):
    """Something that the user can fix. The command line prints it without a traceback and exits 1."""

    exit_code = 1

    def __init__(self, *told: object) -> None:
        """Whoever shows, stores or sends the error has it without passwords, and without what a terminal obeys."""
        super().__init__(*(mask(printable(part)) if isinstance(part, str) else part for part in told))


class ConfigError(PipelineError):
    """A configuration value, key or file is wrong."""

    exit_code = 2


class DatabaseError(PipelineError):
    """FiftyOne's database cannot be reached, or is not one that we can use."""


class DatasetError(PipelineError):
    """A FiftyOne dataset, view or field is missing, empty, or of the wrong kind."""


class DatasetMovedError(DatasetError):
    """The dataset was edited while it was read."""


class ImageFileError(PipelineError):
    """An image cannot be read, or lies where it must not."""


class AnnotationError(PipelineError):
    """An annotation file cannot be understood."""


class ArtifactError(PipelineError):
    """An artifact is missing, damaged, or of another kind than expected."""


class GateError(PipelineError):
    """The bbox report or the split found what its policy forbids: training must not start."""


class StorageError(PipelineError):
    """The home cannot be written: disk full, no permission, read-only; or the shared store not be reached."""


class SharedStoreError(StorageError):
    """The store that several homes share cannot be used; what this home has can."""


class ComputeError(PipelineError):
    """The asked-for devices are not there, or a worker process died."""


class ServerError(PipelineError):
    """A web page cannot be served, or what belongs to it ended."""


class TrainingError(PipelineError):
    """Training cannot go on: a loss that is not finite, no images, no memory."""


class MissingPackageError(PipelineError):
    """A package that is needed here is not installed."""

    @staticmethod
    def of(error: ModuleNotFoundError) -> MissingPackageError:
        """The same in the words of a user."""
        package = (error.name or "").partition(".")[0]
        setup = "setup-cluster" if package in ("ray", "dagster_postgres", "s3fs") else "setup"
        return MissingPackageError(f"the package {package} is not installed: `make {setup}`, or pip install {package}")


class StoppedError(PipelineError):
    """Somebody asked a training to stop; it says whether it can be gone on with."""

    exit_code = INTERRUPTED
