"""Refuses datasets that would make FiftyOne load foreign classes, or write or run JavaScript through a view.

FiftyOne imports and calls any class that a dataset's fields, saved views and runs name, and sends all stages of a view
to the server. A user who can write into a database could thus run commands as every user who opens a dataset. Here:
the check of a dataset's documents with pymongo, before FiftyOne is imported; its errors name the field, view or run.
Not here: the guard in the process that has imported FiftyOne (`class_guard`), which covers later loads.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bson import DBRef, json_util
from pymongo.database import Database

from agar_pipeline.errors import DatabaseError, DatasetError
from agar_pipeline.fiftyone_io.database.settings import module_path

STAGES_MODULE = "fiftyone.core.stages"
FORBIDDEN = frozenset({"$where", "$function", "$accumulator", "$out", "$merge"})
"""Operators that run JavaScript on the server, or write."""
_INTERNAL = "$_internal"
"""Prefix of operators that are internal to the server; some of them run JavaScript."""
_RUNS = ("annotation_runs", "brain_methods", "evaluations", "runs")
_NEXT = "delete it in FiftyOne, and ask who can write into this database"


def require_trusted(database: Database, dataset: str) -> None:
    """Raise DatasetError if loading the dataset would make FiftyOne import or call a foreign class."""
    document = database.datasets.find_one({"name": dataset})
    if document is None:
        return
    for kind in ("sample_fields", "frame_fields"):
        for path, name in _classes_of_fields(document.get(kind)):
            require_class(name, f"field {path!r} of dataset {dataset!r}")
    for view in database.views.find(_belonging(document, document.get("saved_views"))):
        for stage in parse_stages(view.get("view_stages"), place := _view_name(view, dataset)):
            require_stage_class(stage, place)
    for run in database.runs.find(_belonging(document, *(_values(document.get(kind)) for kind in _RUNS))):
        place = f"run {run.get('key')!r} of dataset {dataset!r}"
        config = run.get("config")
        if isinstance(config, dict) and config.get("cls") is not None:
            require_class(config["cls"], place)
        for stage in parse_stages(run.get("view_stages"), place):
            require_stage_class(stage, place)


def require_reading_view(database: Database, dataset: str, name: str) -> None:
    """Raise DatasetError if a saved view would write, or run JavaScript on the server."""
    document = database.datasets.find_one({"name": dataset}) or {"_id": None}
    for view in database.views.find({"$and": [_belonging(document, document.get("saved_views")), {"name": name}]}):
        place = _view_name(view, dataset)
        require_reading(parse_stages(view.get("view_stages"), place), place)


def require_class(name: Any, place: str) -> None:
    """Raise DatasetError unless FiftyOne, or a module in the user's `module_path`, defines the class."""
    if not is_trusted_class(name):
        raise DatasetError(
            f"names the class {_shown(name)}, which is not FiftyOne's, and which FiftyOne would import and run",
            where=place,
            next_step=f"{_NEXT}; if it is yours, add its module to FiftyOne's module_path",
        )


def require_stage_class(stage: Any, place: str) -> None:
    """Raise DatasetError unless a stage, and each stage nested in it, is one of FiftyOne's own."""
    if not isinstance(stage, dict) or not isinstance(stage.get("_cls"), str):
        raise DatasetError(f"has a stage that is not one of FiftyOne's: {_shown(stage)}", where=place, next_step=_NEXT)
    for index, name in enumerate(_named_classes(stage)):
        is_label = index > 0 and isinstance(name, str) and "." not in name  # FiftyOne looks it up among loaded classes
        if not is_label and name not in stage_classes():
            raise DatasetError(
                f"has a stage of the class {_shown(name)}, which is not FiftyOne's, and which it would import and run",
                where=place,
                next_step=_NEXT,
            )


def require_reading(stages: Any, place: str) -> None:
    """Raise DatasetError if stages (FiftyOne's or Mongo's) write, or run JavaScript on the server."""
    for operator in _operators(stages):
        if operator in FORBIDDEN or operator.startswith(_INTERNAL):
            raise DatasetError(
                f"holds {operator!r}, which writes into the database or runs JavaScript on its server",
                where=place,
                next_step="save the view again without that stage",
            )


def parse_stages(texts: Any, place: str) -> list[Any]:
    """Parse the stages of a view, which FiftyOne stores as JSON texts."""
    try:
        return [json_util.loads(text) for text in texts or []]
    except (TypeError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"cannot be read, because its stages are not JSON ({error})", where=place, next_step=_NEXT
        ) from error


def is_trusted_class(name: Any) -> bool:
    """Whether importing the class runs only code of FiftyOne, or of a module in the user's `module_path`.

    Only the source files are read; nothing is imported. A name that does not exist in FiftyOne (any more) is harmless
    and therefore trusted.
    """
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        return False
    module, _, class_name = name.rpartition(".")
    if is_of_the_user(module):
        return True
    if module.partition(".")[0] != "fiftyone":
        return False
    base = fiftyone_folder().joinpath(*module.split(".")[1:])
    for source in (base / "__init__.py", base.with_name(f"{base.name}.py")):
        if source.is_file():
            text = _source(source)
            is_class = re.search(rf"^class {class_name}\b", text, re.MULTILINE) is not None
            return is_class or re.search(rf"\b{class_name}\b", text) is None
    return not base.exists() and not list(base.parent.glob(f"{base.name}.*"))


def is_of_the_user(module: str) -> bool:
    """Whether a module is, or is inside, a module in the user's FiftyOne setting `module_path`."""
    return any(module == trusted or module.startswith(f"{trusted}.") for trusted in module_path())


@functools.cache
def stage_classes() -> frozenset[str]:
    """Class names of the stages that FiftyOne registers (`fiftyone.core.stages._STAGES`), read from its source."""
    text = (fiftyone_folder() / "core" / "stages.py").read_text()
    listed = re.search(r"^_STAGES = \[([\w\s,]*)\]", text, re.MULTILINE)
    names = re.findall(r"\w+", listed[1]) if listed else []
    return frozenset(f"{STAGES_MODULE}.{name}" for name in names)


@functools.cache
def fiftyone_folder() -> Path:
    """Folder of the FiftyOne package, located without importing it."""
    spec = importlib.util.find_spec("fiftyone")
    if spec is None or spec.origin is None:
        raise DatabaseError(
            "is not installed, so that no dataset can be loaded",
            where="FiftyOne",
            next_step="run `make setup`; steps after the COCO cache do not need it",
        )
    return Path(spec.origin).parent


@functools.cache
def _source(path: Path) -> str:
    return path.read_text()


def _classes_of_fields(fields: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in fields or []:
        path = f"{prefix}{field.get('name')}"
        yield from ((path, field[key]) for key in ("ftype", "embedded_doc_type", "subfield") if field.get(key))
        yield from _classes_of_fields(field.get("fields"), f"{path}.")


def _named_classes(value: Any) -> Iterator[Any]:
    """Yield each `_cls` value, outer ones before nested ones."""
    if isinstance(value, dict):
        if "_cls" in value:
            yield value["_cls"]
        for inner in value.values():
            yield from _named_classes(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _named_classes(inner)


def _operators(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(key, str) and key.startswith("$"):
                yield key
            yield from _operators(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _operators(inner)


def _belonging(document: dict[str, Any], *referenced: Any) -> dict[str, Any]:
    """Mongo filter for documents that refer to the dataset by id, or that the dataset refers to."""
    ids = [
        reference.id if isinstance(reference, DBRef) else reference for some in referenced for reference in some or []
    ]
    return {"$or": [{"_dataset_id": document["_id"]}, {"_id": {"$in": ids}}]}


def _values(runs: Any) -> Iterable[Any]:
    return runs.values() if isinstance(runs, dict) else ()


def _view_name(view: dict[str, Any], dataset: str) -> str:
    return f"saved view {view.get('name')!r} of dataset {dataset!r}"


def _shown(value: Any) -> str:
    return (repr(value) if isinstance(value, str) else json.dumps(value, default=str))[:100]
