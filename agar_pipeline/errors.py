"""The errors that a user can fix. Each message says what is wrong, which value, where, and the next step.

A bug is not a `PipelineError`: it keeps its own type and its traceback.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import shlex
from collections.abc import Iterator, Mapping

from agar_pipeline.text.safe_text import printable
from agar_pipeline.text.secrets import mask

INTERRUPTED = 130
"""Exit code of a process that a person stopped: 128 plus the number of SIGINT, as in shells."""


_FIELDS = ("what", "where", "value", "next_step")
_MAKEFILE = pathlib.Path(__file__).resolve().parent.parent / "Makefile"
"""There in a checkout only."""
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
    """An error that the user can fix. The command line prints it without a traceback and exits with `exit_code`.

    Attributes:
        what: What is wrong: the rest of the sentence that `where` begins, or a whole sentence.
        where: The file, key, option, variable, dataset or device that is wrong; None where `what` names it.
        value: The wrong value of the key, option or variable `where`; None where it has none.
        next_step: What the user can do about it; None where `what` says all there is.

    >>> print(ConfigError("must be 1 or more", where="trainer.devices", value=0, next_step="give 1, or auto"))
    trainer.devices=0 must be 1 or more
    give 1, or auto
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = None, value: object = None, next_step: str | None = None) -> None:
        """Mask passwords and control characters in the texts, so that the error can be shown, stored or sent."""
        self.what = _safe(what)
        self.where, self.value, self.next_step = (
            None if part is None else _safe(part) for part in (where, value, next_step)
        )
        super().__init__(self.what)

    @property
    def problem(self) -> str:
        """Place, value and what is wrong, as one sentence without the next step."""
        place = self.where if self.value is None else f"{self.where}={self.value}"
        return " ".join(filter(None, (place, self.what)))

    @property
    def in_one_line(self) -> str:
        """`problem: next step`, for a line of a list or of a log."""
        return ": ".join(filter(None, (self.problem, self.next_step))).replace("\n", " ")

    @property
    def fields(self) -> dict[str, str | None]:
        """The name of the class and the four texts, as plain JSON: another process raises the same error from it."""
        return {"type": type(self).__name__, **{name: getattr(self, name) for name in _FIELDS}}

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.problem, self.next_step)))


def _safe(text: object) -> str:
    return mask(printable(str(text)))


class ConfigError(PipelineError):
    """A configuration value, key or file is wrong."""

    exit_code = 2


class DatabaseError(PipelineError):
    """FiftyOne's database cannot be reached, or cannot be used by us."""


class DatasetError(PipelineError):
    """A FiftyOne dataset, view or field is missing, empty, or of the wrong kind."""


class DatasetMovedError(DatasetError):
    """The dataset was edited while it was read."""


class ImageFileError(PipelineError):
    """An image cannot be read, or is at a place where it must not be."""


class AnnotationError(PipelineError):
    """An annotation file cannot be read or interpreted."""


class SheetError(PipelineError):
    """A sheet that says what is on which plate cannot be read, or contradicts itself."""


class ArtifactError(PipelineError):
    """An artifact is missing, damaged, or of another kind than expected."""


class GateError(PipelineError):
    """The bbox report or the split found something that its policy forbids; training must not start."""


class StorageError(PipelineError):
    """The home cannot be written (disk full, no permission, read-only), or the shared store cannot be reached."""


class SharedStoreError(StorageError):
    """The store that several homes share cannot be used; this home's own artifacts can."""


class ComputeError(PipelineError):
    """The requested devices do not exist, or a worker process died."""


class ServerError(PipelineError):
    """A web page cannot be served, or a program that it needs ended."""


class TrainingError(PipelineError):
    """Training cannot continue: a loss that is not finite, no images, no memory."""


EXTRAS = {
    **dict.fromkeys(("fiftyone", "eta", "pymongo", "bson"), "fiftyone"),
    **dict.fromkeys(
        ("dagster", "dagster_shared", "dagster_webserver", "antlr4", "sqlalchemy", "uvicorn", "filelock"), "dagster"
    ),
    **dict.fromkeys(("mlflow", "fastapi"), "tracking"),
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "export"),
    **dict.fromkeys(("timm", "safetensors"), "timm"),
    "pillow_heif": "heic",
    "transformers": "transformers",
    **dict.fromkeys(("ray", "dagster_postgres", "s3fs"), "cluster"),
}
"""Module → extra of pyproject.toml that installs it; all other modules that we import come with the package itself."""


class MissingPackageError(PipelineError):
    """A package that is needed is not installed."""

    @staticmethod
    def of(error: ModuleNotFoundError) -> MissingPackageError:
        """Turn the import error into a message for the user."""
        return _missing([(error.name or "").partition(".")[0]])

    @staticmethod
    def require(*packages: str) -> None:
        """Raise it for those that are not installed, before long work begins; none is imported."""
        if missing := [package for package in packages if importlib.util.find_spec(package) is None]:
            raise _missing(missing)


def _missing(packages: list[str]) -> MissingPackageError:
    extras = sorted({EXTRAS[package] for package in packages if package in EXTRAS})
    others = [package for package in packages if package not in EXTRAS]
    wanted = shlex.join([f"agar_pipeline[{','.join(extras)}]" if extras else "agar_pipeline", *others])
    make = f"`make setup{'-cluster' if 'cluster' in extras else ''}`, or " if _MAKEFILE.is_file() else ""
    if len(packages) > 1:
        names = ", ".join(packages)
        return MissingPackageError(
            "are not installed", where=f"the packages {names}", next_step=f"{make}pip install {wanted}"
        )
    return MissingPackageError(
        "is not installed", where=f"the package {packages[0]}", next_step=f"{make}pip install {wanted}"
    )


class StoppedError(PipelineError):
    """A person asked a training to stop; the message says whether it can be resumed."""

    exit_code = INTERRUPTED


def from_fields(plain: Mapping[str, str | None]) -> PipelineError:
    """Return the error that had these `fields`; a class that is not of this module becomes a `PipelineError`.

    >>> print(from_fields(StorageError("is full", where="/data", next_step="free some space").fields))
    /data is full
    free some space
    """
    kind = globals().get(plain["type"] or "", PipelineError)
    return kind(**{name: plain[name] for name in _FIELDS})
