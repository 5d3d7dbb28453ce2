"""The child process in which FiftyOne is imported: one request, one reply (see `agar_pipeline.launch`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agar_pipeline.config import SnapshotConfig, from_plain
from agar_pipeline.fiftyone_io.source import IMPORT_FIELD
from agar_pipeline.launch import child_main

Log = Callable[[str], None]


def main(request: dict[str, Any], log: Log) -> dict[str, Any]:
    """Dispatch on `request["do"]`."""
    return _HANDLERS[request["do"]](request, log)


def _resolve(request: dict[str, Any], log: Log) -> dict[str, Any]:
    from agar_pipeline.fiftyone_io.resolve import resolve

    return asdict(resolve(_config(request), request["uri"]))


def _observe(request: dict[str, Any], log: Log) -> dict[str, Any]:
    from agar_pipeline.fiftyone_io.observe import observe_at
    from agar_pipeline.fiftyone_io.resolve import own_service_uri, resolve

    uri = own_service_uri()
    return asdict(observe_at(uri, _config(request), Path(request["home"]), lambda config: resolve(config, None)))


def _read(request: dict[str, Any], log: Log) -> dict[str, Any]:
    from agar_pipeline.fiftyone_io.read import read_at
    from agar_pipeline.fiftyone_io.resolve import own_service_uri, resolve

    uri, home, out_dir = own_service_uri(), Path(request["home"]), Path(request["out_dir"])
    return {"version": read_at(uri, _config(request), home, out_dir, log, lambda config: resolve(config, None))}


def _prepare_dataset(request: dict[str, Any], log: Log) -> dict[str, Any]:
    from agar_pipeline.fiftyone_io.resolve import import_fiftyone, prepare_dataset

    fiftyone = import_fiftyone(request["uri"], may_write=True)
    prepare_dataset(fiftyone, request["dataset"], request["text_fields"], request.get("label_field", IMPORT_FIELD))
    return {}


def _import_agar(request: dict[str, Any], log: Log) -> dict[str, Any]:
    from agar_pipeline.fiftyone_io.import_agar import import_at, progress_line
    from agar_pipeline.fiftyone_io.resolve import import_fiftyone, own_service_uri, prepare_dataset

    uri = own_service_uri(may_write=True)

    def prepare(dataset: str, text_fields: list[str]) -> None:
        prepare_dataset(import_fiftyone(None, may_write=True), dataset, text_fields)

    def progress(done: int, total: int) -> None:
        log(progress_line(done, total))

    return asdict(import_at(uri, Path(request["images_dir"]), request["dataset"], prepare, progress))


def _restore(request: dict[str, Any], log: Log) -> dict[str, Any]:
    from agar_pipeline.fiftyone_io.resolve import import_fiftyone, own_service_uri, prepare_dataset
    from agar_pipeline.fiftyone_io.restore import restore_at

    uri = own_service_uri(may_write=True)

    def prepare(dataset: str, label_field: str) -> None:
        prepare_dataset(import_fiftyone(None, may_write=True), dataset, [], label_field)

    folder, dataset, label_field = Path(request["folder"]), request["dataset"], request["label_field"]
    images, boxes = restore_at(uri, folder, dataset, label_field, request["database"], prepare)
    return {"images": images, "boxes": boxes, "label_field": label_field}


def _config(request: dict[str, Any]) -> SnapshotConfig:
    return from_plain(SnapshotConfig, request["config"], where="the request to the FiftyOne child")


_HANDLERS = {
    "resolve": _resolve,
    "observe": _observe,
    "read": _read,
    "prepare_dataset": _prepare_dataset,
    "import_agar": _import_agar,
    "restore": _restore,
}

if __name__ == "__main__":
    child_main(main)
