"""Serves FiftyOne's App on a dataset or a saved view with access control; runs in a child process only.

FiftyOne's own `launch_app` starts a server that answers every request, reads any file and runs operators. Here the same
application is served in this process behind our access rules, and it can read only the photos of the database.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from agar_pipeline.fiftyone_io.database.class_guard import guard_server
from agar_pipeline.progress import Log
from agar_pipeline.web import AccessRules, Address, listen, published, serve

_USUAL_PORT = 5151
"""FiftyOne's default port; if it is taken, another App that shows another database is probably running there."""
_EVENTS = "/events"
"""Route that the page requests without a content type."""
_MEDIA = "/media"
"""Route that returns the file named by the query parameter `filepath`."""


def prepare_server() -> None:
    """Mark this process as FiftyOne's server, without session and dataset cache; call before FiftyOne is imported."""
    os.environ["FIFTYONE_SERVER"] = "1"


def open_app(
    fiftyone: Any,
    dataset: Any,
    view: str | None,
    home: Path,
    log: Log,
    *,
    port: int | None = None,
    more_hosts: tuple[str, ...] = (),
) -> None:
    """Serve the App on a dataset until this process is ended.

    Args:
        fiftyone: The package, imported after `prepare_server`.
        view: Name of the saved view that is opened; None opens the whole dataset.
        home: Folder in which the address is published while the App runs.
        port: Port on 127.0.0.1; None uses FiftyOne's default port, or any free one if that is taken.
        more_hosts: Host names with ports of a proxy or tunnel through which the App is reached.
    """
    from fiftyone.server.app import app
    from fiftyone.server.events import set_port

    guard_server()
    query = {} if view is None else {"view": dataset._get_saved_view_doc(view).slug}
    with listen(_USUAL_PORT, port) as listening:
        address = Address(listening.getsockname()[1], f"/datasets/{dataset.name}", query)
        set_port(address.port)
        with published(address, home, "view"):
            log(f"the App is at {address.url}")
            log("only programs on this machine that know this address can use it; Ctrl-C stops it")
            rules = AccessRules(address.port, address.token, more_hosts, any_content=(_EVENTS,))
            serve(PhotosOnly(app, lambda path: _is_photo(fiftyone, path)), listening, rules)


class PhotosOnly:
    """ASGI middleware that refuses (403) requests of `/media` for a file for which `is_photo` is false."""

    def __init__(self, app: Any, is_photo: Callable[[str], bool]) -> None:
        self._app, self._is_photo = app, is_photo

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/") == _MEDIA:
            query = parse_qsl(scope["query_string"].decode("latin-1"))
            for path in [value for name, value in query if name == "filepath"]:
                if not await asyncio.to_thread(self._is_photo, path):
                    await send({"type": "http.response.start", "status": 403, "headers": []})
                    await send({"type": "http.response.body", "body": b"agar: not a photo of this database\n"})
                    return
        await self._app(scope, receive, send)


def _is_photo(fiftyone: Any, path: str) -> bool:
    """Whether a sample of any dataset has this file as its photo or in another media field of the App."""
    database = fiftyone.core.odm.get_db_conn()
    shown = {"sample_collection_name": 1, "app_config.media_fields": 1}
    for dataset in database.datasets.find({}, shown):
        fields = {"filepath", *(dataset.get("app_config") or {}).get("media_fields", ())}
        samples = database[dataset["sample_collection_name"]]
        if samples.find_one({"$or": [{field: path} for field in sorted(fields)]}, {"_id": 1}):
            return True
    return False
