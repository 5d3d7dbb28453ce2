"""Opens one port of the loopback address, runs the server on it, and publishes the address with the access token.

No other module imports uvicorn.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from agar_pipeline.errors import ServerError
from agar_pipeline.files.disk import replace_file
from agar_pipeline.web.guard import App, Guard
from agar_pipeline.web.rules import TOKEN, AccessRules

_HOST = "127.0.0.1"
_STOP_S = 2
"""Seconds that running answers get when the server stops; event streams would never end."""


def listen(usual: int, asked_for: int | None = None) -> socket.socket:
    """Open a port: the requested one, else the usual one, else any free one.

    Raises:
        ServerError: the requested port is taken, or may not be used.
    """
    refused: OSError
    for port in (usual, 0) if asked_for is None else (asked_for,):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((_HOST, port))
            listening.listen(128)
            return listening
        except OSError as error:
            listening.close()
            refused = error
    raise ServerError(
        "is taken by another program" if refused.errno == errno.EADDRINUSE else f"cannot be used ({refused})",
        where=f"port {port} of {_HOST}",
        next_step="give another port with --port, or leave --port out to use any free one",
    )


def serve(app: App, listening: socket.socket, rules: AccessRules, alive: Callable[[], bool] = lambda: True) -> None:
    """Serve the application behind `Guard` until `alive` returns False.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM ended it.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def on_tick(self, counter: int) -> bool:
            """Uvicorn calls this every tenth of a second."""
            return await super().on_tick(counter) or not alive()

    config = uvicorn.Config(
        Guard(app, rules),
        log_level="warning",
        access_log=False,  # its lines would contain the token
        proxy_headers=False,  # the other end is identified by the connection alone
        server_header=False,
        timeout_graceful_shutdown=_STOP_S,
    )
    # uvicorn sends itself the signal again after it has stopped
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    Server(config).run(sockets=[listening])


FOLDER = "web"
"""Folder in the home."""


@dataclass(frozen=True)
class Address:
    """The address of a page, with its own token. A copy is useless after the server has ended."""

    port: int
    path: str = "/"
    query: dict[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{quote(self.path)}?{urlencode({**self.query, TOKEN: self.token})}"


@contextlib.contextmanager
def published(address: Address, home: Path, name: str) -> Iterator[Path]:
    """Keep the address in `home/web/NAME-PORT.json` during the block, so that a second terminal can find it.

    It is not put on a command line or into the environment, because other users could read it there.
    """
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}-{address.port}.json"
    replace_file(path, json.dumps({"url": address.url, "pid": os.getpid()}), mode=0o600)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
