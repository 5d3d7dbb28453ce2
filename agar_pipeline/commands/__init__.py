"""The command line `agar`: each command's module is imported only when it is called, so that `--help` is fast."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TextIO

import click

from agar_pipeline.errors import INTERRUPTED, MissingPackageError, PipelineError, StoppedError
from agar_pipeline.processes.garbage_collection import start_importing
from agar_pipeline.processes.library_warnings import keep_warnings_harmless
from agar_pipeline.text.safe_text import printable
from agar_pipeline.text.secrets import mask

COMMANDS = {
    "demo": "Generate plates, and run the whole chain to a scored detector.",
    "init": "Make a project of your own around the installed package.",
    "plan": "Show what would run again, and why.",
    "run": "Materialize what is stale, in one Dagster run.",
    "import": "Import annotated images into a FiftyOne dataset.",
    "inspect-coco": "Show counts, classes and broken rules of any COCO file.",
    "export-coco": "Export a FiftyOne dataset as COCO files, without Dagster.",
    "models": "List the detectors, or try one of them.",
    "smoke": "Run one step of a training, from end to end.",
    "train": "Train from the COCO cache alone.",
    "config": "Show every value of an experiment, and where it comes from.",
    "tune-data": "Freeze the scale, crops and batch that `data: auto` chooses.",
    "launch-check": "Check devices, network, memory, disk, database and versions.",
    "verify": "Check the hash of every artifact; quarantine damaged ones.",
    "backup": "Save labels, snapshots and reports, or restore them.",
    "clean": "Drop old artifacts that nothing current was made from.",
    "diff": "Show what differs between two snapshots.",
    "evaluate": "Score a checkpoint, or predictions, against any COCO file.",
    "review": "Find labels that are probably wrong, on a page with pictures.",
    "cross-validate": "Score a training on all photos of train, fold by fold.",
    "predict": "Find and count the colonies on photos.",
    "export-model": "Export a checkpoint as an ONNX file, and compare both.",
    "ui": "Serve Dagster's pages of this home, to its owner only.",
    "view": "Show predictions and errors in FiftyOne, worst plates first.",
    "count": "Count colonies as predicted, or as a person corrected them in FiftyOne.",
    "compare": "Show what differs between two evaluated runs, or list all.",
    "explain": "Follow one photo through all snapshots, splits and trainings.",
    "restore": "Restore a snapshot into FiftyOne, as a new dataset.",
    "env": "Print the exports that point plain dagster commands to the home.",
}
"""Command → one line of help. Each command is in the module of its name (`import` in `import_`)."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = "import_" if cmd_name == "import" else cmd_name.replace("-", "_")
        return importlib.import_module(f"agar_pipeline.commands.{module}").command

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke the command; if the reader of stdout closes it (`| head`), exit quietly with code 128 + SIGPIPE."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards the rest of the output
            raise click.exceptions.Exit(128 + signal.SIGPIPE) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, epilog="Example: agar demo")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def agar(ctx: click.Context, debug: bool) -> None:
    """From annotated photos of agar plates to a colony detector you can trust.

    AGAR_PIPELINE picks a file of configs/pipeline/ (default: demo), AGAR_HOME the folder for everything that is
    written (default: where .agar in the project or checkout leads to).
    """
    ctx.obj = debug


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; errors that a user can fix are one to three lines on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    start_importing()
    keep_warnings_harmless()
    sys.excepthook = _show_traceback
    warnings.showwarning = _show_warning
    try:
        color = False if os.environ.get("NO_COLOR") else None
        sys.exit(agar.main(given, prog_name="agar", standalone_mode=False, color=color))
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        told_by_click = io.StringIO()
        error.show(told_by_click)
        click.echo(printable(told_by_click.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except Exception as error:
        told = _in_words(error)
        if told is None or "--debug" in given:
            raise
        click.echo(f"{told}" if isinstance(told, StoppedError) else f"error: {told}", err=True)
        sys.exit(told.exit_code)


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show the traceback of a bug (with `--debug` of any error) as Python does, but without passwords."""
    click.echo(mask(printable("".join(traceback.format_exception(kind, error, trace)))), err=True, nl=False)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show warnings of this package as one line; others as Python shows them."""
    if category.__module__.startswith("agar_pipeline."):
        click.echo(f"warning: {printable(str(message))}", err=True)
    else:
        _show_other_warning(message, category, filename, lineno, file, line)


_show_other_warning = warnings.showwarning


def _in_words(error: Exception) -> PipelineError | None:
    """Convert an error that a user can fix: a full or forbidden disk, a missing package.

    Returns:
        The error with its message for the user; None if it is a bug.
    """
    if isinstance(error, PipelineError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return MissingPackageError.of(error)
    from agar_pipeline.config import agar_home
    from agar_pipeline.files.storage_errors import find_os_error, storage_error

    found = find_os_error(error, causes_only=not isinstance(error, OSError))
    return None if found is None else storage_error(found, agar_home())
