"""`agar ui`: runs Dagster's webserver behind our access check, its daemon, and one code server for both.

These are the services of `dagster dev`. That command cannot add a middleware, so the webserver runs in this process.
"""

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget

from agar_pipeline.config import PROJECT, agar_home, pipeline_name
from agar_pipeline.defs.instance import open_instance
from agar_pipeline.errors import ServerError
from agar_pipeline.processes.launch import Companion, companion
from agar_pipeline.progress import Log
from agar_pipeline.web import AccessRules, Address, listen, published, serve

_USUAL_PORT = 3000
_MODULE = "agar_pipeline.definitions"
_SHAPES = (("/logs/", "/logs/[^/]+/.+"), ("/download_debug/", "/download_debug/[0-9a-f-]{36}"))
"""URL prefix → pattern of paths that Dagster can handle: a log has a key before its name, and a run id is a UUID."""
_POLL_MS = 2000
"""Interval in which the page asks for updates, ms; as in `dagster dev`."""
_START_S = 120.0
"""Time limit for the start of the code server, seconds; it imports all of Dagster."""


@dataclass
class _Services:
    workspace: Path
    """Workspace file that names the code server."""
    running: dict[str, Companion] = field(default_factory=dict)

    def ended(self) -> str | None:
        """Return the name of the first process that has ended, or None."""
        return next((name for name, process in self.running.items() if process.poll() is not None), None)


def serve_ui(port: int | None, read_only: bool, more_hosts: tuple[str, ...], log: Log) -> None:
    """Serve Dagster's pages of this home until Ctrl-C.

    Args:
        port: Port of 127.0.0.1; None for the usual one, or any free one if that is taken.
        read_only: Nothing can be launched, ended or changed.
        more_hosts: Names and ports of a proxy or tunnel in front of the server.

    Raises:
        ServerError: the port is taken, or a service ended.
        KeyboardInterrupt: Ctrl-C or SIGTERM ended it.
    """
    with listen(_USUAL_PORT, port) as listening, open_instance() as instance, _services() as services:
        address = Address(listening.getsockname()[1])
        with (
            _application(instance, services.workspace, read_only) as app,
            published(address, agar_home(), "ui") as kept,
        ):
            log(f"home {agar_home()}, pipeline {pipeline_name()}: open {address.url}")
            log(f"only people who have this address can use it; it is also in {kept}; Ctrl-C stops it")
            rules = AccessRules(address.port, address.token, more_hosts, shapes=_SHAPES)
            serve(app, listening, rules, alive=lambda: services.ended() is None)
        _fail(services)


@contextlib.contextmanager
def _application(instance: dg.DagsterInstance, workspace: Path, read_only: bool) -> Iterator[Callable]:
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    target = WorkspaceFileTarget(paths=[str(workspace)])
    with WorkspaceProcessContext(instance, target, version=__version__, read_only=read_only) as context:
        yield create_app_from_workspace_process_context(context, live_data_poll_rate=_POLL_MS)


@contextlib.contextmanager
def _services() -> Iterator[_Services]:
    """Run the code server, which loads our definitions, and the daemon, which runs sensors and the queue.

    The code server accepts every connection to its Unix socket, so the socket lies in a folder that only this user can
    enter. TMPDIR is set to this folder, because the code server's child process creates its own socket there.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agar-ui-")))
        code, services = folder / "code", _Services(folder / "workspace.yaml")
        services.workspace.write_text(yaml.safe_dump(_workspace(code)))

        def start(name: str, module: str, *arguments: str) -> None:
            child = companion(module, list(arguments), _output(name), {"TMPDIR": str(folder)})
            services.running[name] = stack.enter_context(child)

        here = str(PROJECT or Path.cwd())
        what = ("--module-name", _MODULE, "--working-directory", here, "--use-python-environment-entry-point")
        start("code server", "dagster", "code-server", "start", "--socket", str(code), *what)
        _wait_for(code, services)
        start("daemon", "dagster._daemon", "run", "--workspace", str(services.workspace))
        yield services


def _workspace(code: Path) -> dict[str, list]:
    return {"load_from": [{"grpc_server": {"socket": str(code), "location_name": _MODULE}}]}


def _output(name: str) -> Path:
    return agar_home() / "logs" / f"dagster-{name.replace(' ', '-')}.log"


def _wait_for(path: Path, services: _Services) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        if services.ended():
            _fail(services)
        time.sleep(0.1)
    raise ServerError(
        f"does not answer after {_START_S:g} s",
        where="Dagster's code server",
        next_step=f"read its output in {_output('code server')}",
    )


def _fail(services: _Services) -> None:
    name = services.ended()
    if name is not None:
        code = services.running[name].returncode
        raise ServerError(
            f"ended with exit code {code}", where=f"Dagster's {name}", next_step=f"read its output in {_output(name)}"
        )
