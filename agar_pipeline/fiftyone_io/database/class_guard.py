"""In a process that imports FiftyOne: it loads no class that a database, or a web page, names but does not own.

`trusted_documents` looks at one dataset before it is loaded. What changes later, another dataset that the App opens,
and results of runs come through here.
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
    """Before FiftyOne is imported: classes found by name are FiftyOne's own.

    Args:
        may_migrate: FiftyOne also finds the functions of its migrations by name. It loads no dataset meanwhile, so that
            no document can name them.
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
            raise DatasetError(f"{_PLACE} names {class_name!r} as a class, which it is not: look for who wrote it")
        if found.__module__.partition(".")[0] not in _OWN and not is_of_the_user(found.__module__):
            require_class(f"{found.__module__}.{found.__qualname__}", _PLACE)
        return found

    etau.get_class = get_class


def guard_stages() -> None:
    """After FiftyOne was imported: stages are of its own list, and only read."""
    import fiftyone.core.stages as fos

    original = fos.ViewStage._from_dict.__func__

    def from_dict(cls: type, plain: dict[str, Any]) -> Any:
        require_stage_class(plain, "a view")
        require_reading(plain, "a view")
        return original(cls, plain)

    fos.ViewStage._from_dict = classmethod(from_dict)


def guard_server() -> None:
    """After FiftyOne's server was imported: it imports no module that a run names, and unpickles nothing."""
    import fiftyone.brain.visualization as fobv
    import fiftyone.server.query as fosq

    original = fosq._run_cls_error

    def run_cls_error(name: str) -> Any:
        return original(name) if is_trusted_class(name) else f"the run's class {name!r} is not FiftyOne's"

    def unpickle_reducer(blob: str) -> Any:
        raise ValueError("a pickled reducer of a database is not loaded: compute the visualization again")

    fosq._run_cls_error = run_cls_error
    fobv._unpickle_reducer = unpickle_reducer
