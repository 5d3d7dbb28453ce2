"""One port of the loopback address, and the server on it; the only home of uvicorn."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable

from agar_pipeline.errors import ServerError
from agar_pipeline.web.guard import App, Guard
from agar_pipeline.web.rules import AccessRules

_HOST = "127.0.0.1"
_STOP_S = 2
"""Seconds for answers that are under way when the server ends; streams of events would never end."""


def listen(usual: int, asked_for: int | None = None) -> socket.socket:
    """Take a port: the one asked for, else the usual one, else any.

    Raises:
        ServerError: the port that was asked for is taken, or may not be used.
    """
    for port in (usual, 0) if asked_for is None else (asked_for,):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((_HOST, port))
            listening.listen(128)
            return listening
        except OSError as error:
            listening.close()
            reason = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used ({error})"
    raise ServerError(f"port {port} of {_HOST} {reason}: give another one with --port, or none")


def serve(app: App, listening: socket.socket, rules: AccessRules, alive: Callable[[], bool] = lambda: True) -> None:
    """Serve the application behind `Guard` until `alive` says that it must end.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM ended it.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def on_tick(self, counter: int) -> bool:
            """Each tenth of a second."""
            return await super().on_tick(counter) or not alive()

    config = uvicorn.Config(
        Guard(app, rules),
        log_level="warning",
        access_log=False,  # its lines would show the token
        proxy_headers=False,  # who is at the other end is known from the connection alone
        server_header=False,
        timeout_graceful_shutdown=_STOP_S,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn sends itself the signal again when it is done
    Server(config).run(sockets=[listening])
