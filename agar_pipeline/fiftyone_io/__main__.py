"""Child process that imports FiftyOne, handles one request and sends one reply (`agar_pipeline.processes.child`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agar_pipeline.config import SnapshotConfig, from_plain
from agar_pipeline.fiftyone_io.reading.source import IMPORT_FIELD
from agar_pipeline.fiftyone_io.writing.field_names import RunFields
from agar_pipeline.processes.child import child_main
from agar_pipeline.progress import Log


def main(request: dict[str, Any], log: Log) -> dict[str, Any]:
    """Handle a request with the handler that `request["do"]` names; the reply is empty if the handler returns None."""
    return _HANDLERS[request["do"]](request, log) or {}


def _resolve(request: dict[str, Any], log: Log) -> dict[str, Any]:
    from agar_pipeline.fiftyone_io.reading.view import resolve

    config = from_plain(SnapshotConfig, request["config"], where="the request to the FiftyOne child")
    return asdict(resolve(config, request["uri"]))


def _migrate(request: dict[str, Any], log: Log) -> None:
    from agar_pipeline.fiftyone_io.reading.view import import_fiftyone, migrate

    fiftyone = import_fiftyone(request["uri"], request["dataset"], may_write=True, may_migrate=True)
    migrate(fiftyone, request["dataset"])


def _prepare_dataset(request: dict[str, Any], log: Log) -> None:
    from agar_pipeline.fiftyone_io.importing.prepare_dataset import prepare_dataset

    label_field = request.get("label_field", IMPORT_FIELD)
    prepare_dataset(_writable(request), request["dataset"], request["text_fields"], log, label_field)


def _import(request: dict[str, Any], log: Log) -> dict[str, Any]:
    from agar_pipeline.fiftyone_io.annotation_files.annotated_images import ImportSource
    from agar_pipeline.fiftyone_io.importing.import_images import import_at, progress_line
    from agar_pipeline.fiftyone_io.importing.prepare_dataset import prepare_dataset

    fiftyone = _writable(request)

    def prepare(dataset: str, text_fields: list[str]) -> None:
        prepare_dataset(fiftyone, dataset, text_fields, log)

    def progress(done: int, total: int) -> None:
        log(progress_line(done, total))

    source = ImportSource(**request["source"])
    home, overwrite = Path(request["home"]), request["overwrite"]
    return asdict(import_at(request["uri"], source, request["dataset"], home, prepare, progress, overwrite=overwrite))


def _declare_run(request: dict[str, Any], log: Log) -> None:
    from agar_pipeline.fiftyone_io.writing.run_fields import declare

    fields = RunFields(request["run"])
    declare(_writable(request), request["dataset"], fields, request["about"], request["worst"])


def _remove_run(request: dict[str, Any], log: Log) -> None:
    from agar_pipeline.fiftyone_io.writing.run_fields import remove

    remove(_writable(request), request["dataset"], map(RunFields, request["runs"]))


def _declare_suspects(request: dict[str, Any], log: Log) -> None:
    from agar_pipeline.fiftyone_io.writing.suspect_fields import declare_suspects

    words = (request["about"], request["label_field"], request["missing_views"])
    declare_suspects(_writable(request), request["dataset"], *words)


def _remove_suspects(request: dict[str, Any], log: Log) -> None:
    from agar_pipeline.fiftyone_io.writing.run_fields import remove
    from agar_pipeline.fiftyone_io.writing.suspect_fields import SuspectFields

    remove(_writable(request), request["dataset"], [SuspectFields()])


def _declare_copy(request: dict[str, Any], log: Log) -> None:
    from agar_pipeline.fiftyone_io.writing.reviewed_field import declare_copy

    declare_copy(_writable(request), request["dataset"], request["label_field"], request["to_field"])


def _prepare_counted(request: dict[str, Any], log: Log) -> None:
    from agar_pipeline.fiftyone_io.writing.counted_schema import prepare

    fields = RunFields(request["field"], compared=False)
    prepare(_writable(request), request["dataset"], fields, request["folder"], request["class_names"])


def _remove_counted(request: dict[str, Any], log: Log) -> None:
    from agar_pipeline.fiftyone_io.writing.counted_schema import remove

    remove(_writable(request), request["dataset"], overwrite=request["overwrite"])


def _open_app(request: dict[str, Any], log: Log) -> None:
    from agar_pipeline.fiftyone_io.writing.app import open_app, prepare_server
    from agar_pipeline.fiftyone_io.writing.run_fields import load_dataset

    prepare_server()
    fiftyone = _writable(request)
    dataset = load_dataset(fiftyone, request["dataset"])
    view, port, more_hosts = request["view"], request["port"], tuple(request["more_hosts"])
    open_app(fiftyone, dataset, view, Path(request["home"]), log, port=port, more_hosts=more_hosts)


def _writable(request: dict[str, Any]) -> Any:
    from agar_pipeline.fiftyone_io.reading.view import import_fiftyone

    return import_fiftyone(request["uri"], request["dataset"], may_write=True)


_HANDLERS: dict[str, Callable[[dict[str, Any], Log], dict[str, Any] | None]] = {
    "resolve": _resolve,
    "migrate": _migrate,
    "prepare_dataset": _prepare_dataset,
    "import": _import,
    "declare_run": _declare_run,
    "remove_run": _remove_run,
    "declare_suspects": _declare_suspects,
    "remove_suspects": _remove_suspects,
    "declare_copy": _declare_copy,
    "prepare_counted": _prepare_counted,
    "remove_counted": _remove_counted,
    "open_app": _open_app,
}

if __name__ == "__main__":
    child_main(main)
