"""Patches FiftyOne, in the process that imports it, so that it loads only its own classes and the user's.

FiftyOne loads classes by names that it finds in the database or in a request of a web page. `trusted_documents` checks
one dataset before it is loaded. The patches here cover the rest: later changes of that dataset, other datasets that the
App opens, and results of runs.
"""

from __future__ import annotations

import inspect
from typing import Any

from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.database.trusted_documents import (
    is_of_the_user,
    is_trusted_class,
    require_class,
    require_reading,
    require_stage_class,
)

_PLACE = "a document of this database"
_OWN = ("fiftyone", "eta")
_MIGRATIONS = "fiftyone.migrations.revisions."


def guard_classes(*, may_migrate: bool = False) -> None:
    """Restrict FiftyOne's look-up of classes by name to its own and the user's; call before FiftyOne is imported.

    Args:
        may_migrate: Also allow the functions of FiftyOne's migrations, which it looks up in the same way. No dataset is
            loaded during a migration, so that no document can name these functions.
    """
    import eta.core.utils as etau

    original = etau.get_class

    def get_class(class_name: str, module_name: str | None = None) -> Any:
        module = module_name or str(class_name).rpartition(".")[0]
        if may_migrate and module.startswith(_MIGRATIONS):
            return original(class_name, module_name)
        if module.partition(".")[0] not in _OWN and not is_of_the_user(module):
            require_class(class_name, _PLACE)
        found = original(class_name, module_name)
        if not inspect.isclass(found):
            raise DatasetError(
                f"names {class_name!r} as a class, but it is not a class",
                where=_PLACE,
                next_step="find out who can write into this database, and delete that document in FiftyOne",
            )
        if found.__module__.partition(".")[0] not in _OWN and not is_of_the_user(found.__module__):
            require_class(f"{found.__module__}.{found.__qualname__}", _PLACE)
        return found

    etau.get_class = get_class


def guard_stages() -> None:
    """Refuse view stages that are not FiftyOne's own or that write; call after FiftyOne is imported."""
    import fiftyone.core.stages as fos

    original = fos.ViewStage._from_dict.__func__

    def from_dict(cls: type, plain: dict[str, Any]) -> Any:
        require_stage_class(plain, "a view")
        require_reading(plain, "a view")
        return original(cls, plain)

    fos.ViewStage._from_dict = classmethod(from_dict)


def guard_server() -> None:
    """Refuse run classes that are not FiftyOne's, and all unpickling; call after FiftyOne's server is imported."""
    import fiftyone.brain.visualization as fobv
    import fiftyone.server.query as fosq

    original = fosq._run_cls_error

    def run_cls_error(name: str) -> Any:
        return original(name) if is_trusted_class(name) else f"the run's class {name!r} is not FiftyOne's"

    def unpickle_reducer(blob: str) -> Any:
        raise ValueError("a pickled reducer of a database is not loaded: compute the visualization again")

    fosq._run_cls_error = run_cls_error
    fobv._unpickle_reducer = unpickle_reducer
