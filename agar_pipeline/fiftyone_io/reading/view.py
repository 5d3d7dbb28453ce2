"""Translates a view and a label field into a Mongo pipeline and path with FiftyOne; runs in a child process only.

The dataset is loaded with FiftyOne's internal option `_virtual`, which writes nothing; the public functions
`load_dataset` and `load_saved_view` would write `last_loaded_at` into the user's database.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bson import json_util

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import DatabaseError, DatasetError, remedy
from agar_pipeline.fiftyone_io.database.class_guard import guard_classes, guard_stages
from agar_pipeline.fiftyone_io.database.connection import connected
from agar_pipeline.fiftyone_io.database.revision import read_revisions, require_usable
from agar_pipeline.fiftyone_io.database.settings import prepare_child
from agar_pipeline.fiftyone_io.database.trusted_documents import require_reading_view, require_trusted
from agar_pipeline.fiftyone_io.reading.source import ResolvedSource, shorten

_GENERATING = ("ToPatches", "ToEvaluationPatches", "ToClips", "ToFrames", "ToTrajectories")


def import_fiftyone(uri: str, dataset: str | None = None, *, may_write: bool = False, may_migrate: bool = False) -> Any:
    """Import FiftyOne for this database, and disable its deletion of non-persistent datasets of other users.

    FiftyOne uses the database unchanged unless `may_migrate` is set (see `revision`). It loads only its own classes and
    the user's among those that the database names (see `class_guard`).

    Args:
        dataset: Name of the dataset that will be loaded. It is checked first, so that an error can name the field, view
            or run that is refused.
        may_write: As in `prepare_child`.
        may_migrate: As in `prepare_child`.

    Raises:
        DatasetError: The dataset would make FiftyOne load a foreign class.
    """
    if dataset is not None:
        with connected(uri) as mongo:
            require_trusted(mongo, dataset)
    prepare_child(uri, may_write=may_write, may_migrate=may_migrate)
    guard_classes(may_migrate=may_migrate)
    import fiftyone
    import fiftyone.core.odm.database as odm_database

    guard_stages()
    odm_database._delete_non_persistent_datasets_if_allowed = lambda: None
    return fiftyone


def migrate(fiftyone: Any, dataset: str) -> None:
    """Let FiftyOne migrate the database, and this dataset where it exists, to its own version.

    Raises:
        DatabaseError: The migration failed.
    """
    from fiftyone.migrations import migrate_database_if_necessary, migrate_dataset_if_necessary

    try:
        migrate_database_if_necessary()
        if fiftyone.dataset_exists(dataset):
            migrate_dataset_if_necessary(dataset)
    except (OSError, ValueError, RuntimeError) as error:
        raise DatabaseError(
            f"cannot be migrated by FiftyOne: {str(error).splitlines()[0]}",
            where="the database",
            next_step="restore the backup of the database, and correct what FiftyOne says",
        ) from error


def resolve(config: SnapshotConfig, uri: str) -> ResolvedSource:
    """Translate dataset, view and label field into a collection, a Mongo pipeline and a path.

    Raises:
        DatasetError: The view or the field does not exist, or is of the wrong kind.
        DatabaseError: FiftyOne cannot use the version of the database or of the dataset.
    """
    with connected(uri) as mongo:
        require_usable(read_revisions(mongo, config.dataset), config.database)
        if config.view and config.view.startswith("saved:"):
            require_reading_view(mongo, config.dataset, config.view.removeprefix("saved:"))
    fiftyone = import_fiftyone(uri, config.dataset)
    try:
        dataset = fiftyone.Dataset(config.dataset, _create=False, _virtual=True)
    except (OSError, ValueError) as error:
        raise DatabaseError(
            f"cannot be loaded by FiftyOne, mostly because a newer one wrote it: {str(error).splitlines()[0]}",
            where=f"dataset {config.dataset!r}",
            next_step="install the FiftyOne that wrote it, or import the images again into another dataset",
        ) from error
    view = _view(fiftyone, dataset, config)
    if view.media_type not in ("image", None):
        raise DatasetError(
            f"holds {view.media_type}, not images",
            where=_name(config),
            next_step="save a view of its images in FiftyOne, and name it: "
            + remedy("snapshot.view: saved:NAME", option="--view saved:NAME"),
        )
    label_path = _label_path(fiftyone, view, config)
    return ResolvedSource(dataset._sample_collection_name, json_util.dumps(view._pipeline()), label_path)


def _name(config: SnapshotConfig) -> str:
    return f"view {config.view!r} of dataset {config.dataset!r}" if config.view else f"dataset {config.dataset!r}"


def _view(fiftyone: Any, dataset: Any, config: SnapshotConfig) -> Any:
    spec = config.view
    if not spec:
        return dataset.view()
    kind, _, value = spec.partition(":")
    if kind == "tag" and value:
        return dataset.match_tags(value)
    if kind == "saved" and value:
        return _saved_view(dataset, value)
    path, equals, text = value.partition("=")
    if kind == "field" and equals:
        return dataset.match(fiftyone.ViewField(path) == _typed(fiftyone, dataset, path, text))
    raise DatasetError(
        "is not of the form tag:NAME, field:PATH=VALUE or saved:NAME",
        where=f"view {spec!r}",
        next_step=remedy("correct snapshot.view", option="correct --view"),
    )


def _saved_view(dataset: Any, name: str) -> Any:
    names = dataset.list_saved_views()
    if name not in names:
        raise DatasetError(
            f"has no saved view {name!r}",
            where=f"dataset {dataset.name!r}",
            next_step="save it in FiftyOne, or "
            + remedy("correct snapshot.view", option="correct --view")
            + f"; there are: {shorten(names)}",
        )
    document = dataset._get_saved_view_doc(name)
    stages = [json_util.loads(stage)["_cls"].rsplit(".", 1)[-1] for stage in document.view_stages]
    if any(stage in _GENERATING for stage in stages):
        raise DatasetError(
            f"makes patches, clips or frames ({', '.join(stages)}), but a snapshot needs whole images",
            where=f"saved view {name!r} of dataset {dataset.name!r}",
            next_step="save a view without that stage, and name that one",
        )
    return dataset._load_saved_view_from_doc(document)


def _typed(fiftyone: Any, dataset: Any, path: str, text: str) -> Any:
    """Convert the text to the type of the field that it is compared with."""
    types: dict[Any, Callable[[str], Any]] = {
        fiftyone.StringField: str,
        fiftyone.BooleanField: _boolean,
        fiftyone.IntField: int,
        fiftyone.FloatField: float,
    }
    _refuse_lists(fiftyone, dataset, path)
    field = dataset.get_field(path)
    convert = next((types[kind] for kind in types if isinstance(field, kind)), None)
    if convert is None:
        schema = dataset.get_field_schema(flat=True)
        known = [path for path, other in schema.items() if isinstance(other, tuple(types))]
        known = [path for path in known if not _crosses_list(fiftyone, dataset, path)]
        what = f"is of type {type(field).__name__}" if field is not None else "does not exist"
        raise DatasetError(
            f"cannot be compared with {text!r}, because it {what}",
            where=f"field {path!r} of dataset {dataset.name!r}",
            next_step=f"name one of these fields: {shorten(known)}",
        )
    try:
        return convert(text)
    except ValueError:
        raise DatasetError(
            f"compares a field of type {type(field).__name__} with {text!r}, which is not such a value",
            where=f"view 'field:{path}={text}'",
            next_step=remedy("correct snapshot.view", option="correct --view"),
        ) from None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _label_path(fiftyone: Any, view: Any, config: SnapshotConfig) -> str:
    """Return the Mongo path of the field's detections, in the names that the database uses."""
    field = view.get_field(config.label_field)
    if getattr(field, "document_type", None) is not fiftyone.Detections:
        fields = [
            f"{name} ({other.document_type.__name__})"
            for name, other in view.get_field_schema(flat=True).items()
            if _is_label(fiftyone, other)
        ]
        kind = getattr(getattr(field, "document_type", None), "__name__", None) or type(field).__name__
        what = "does not exist" if field is None else f"is of type {kind}, not Detections"
        raise DatasetError(
            f"cannot give the boxes, because it {what}",
            where=f"label field {config.label_field!r} of {_name(config)}",
            next_step="name one of type Detections "
            + remedy("(snapshot.label_field)", option="(--label-field)")
            + f"; label fields: {shorten(fields)}",
        )
    _refuse_lists(fiftyone, view, config.label_field)
    steps = config.label_field.split(".")
    names = [view.get_field(".".join(steps[: depth + 1])).db_field or step for depth, step in enumerate(steps)]
    return ".".join([*names, "detections"])


def _is_label(fiftyone: Any, field: Any) -> bool:
    kind = getattr(field, "document_type", None)
    return isinstance(kind, type) and issubclass(kind, fiftyone.Label) and not isinstance(field, fiftyone.ListField)


def _refuse_lists(fiftyone: Any, collection: Any, path: str) -> None:
    if _crosses_list(fiftyone, collection, path):
        raise DatasetError(
            "lies inside a list, so that a sample can have several values of it",
            where=f"field {path!r}",
            next_step="name a field that each sample has once",
        )


def _crosses_list(fiftyone: Any, collection: Any, path: str) -> bool:
    steps = path.split(".")
    above = [collection.get_field(".".join(steps[:depth])) for depth in range(1, len(steps))]
    return any(isinstance(field, fiftyone.ListField) for field in above)
