"""A real `dagster dev` or `agar ui` on a small dataset in a home of its own, for the tests that talk to one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import BIN, CHECKOUT, Run, copy_configs, runner


@dataclass(frozen=True)
class DagsterDev:
    """A server that answers."""

    port: int
    home: Path
    run: Run
    """Calls a command on the same home."""
    guarded: bool = False
    """Whether it is `agar ui`."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def first_address(self) -> str:
        """What a person opens."""
        if not self.guarded:
            return self.address
        return str(json.loads((self.home / "web" / f"ui-{self.port}.json").read_text())["url"])

    @property
    def cookie(self) -> dict[str, str]:
        _, _, token = self.first_address.partition("token=")
        return {"cookie": f"agar_{self.port}={token}"} if token else {}

    def query(self, text: str, **variables: Any) -> Any:
        """Ask by GraphQL, as the web UI does."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.address}/graphql", data=body, headers={"content-type": "application/json", **self.cookie}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]


@contextlib.contextmanager
def serve(
    folder: Path,
    change: Callable[[Path], None] = lambda configs: None,
    built: tuple[str, ...] = (),
    *,
    guarded: bool = False,
) -> Iterator[DagsterDev]:
    """Serve on a free port for the length of the block.

    Args:
        folder: Receives plates, configs and the home.
        change: Told the folder of the configs before anything reads it.
        built: Assets that are there when the server starts.
        guarded: `agar ui` in place of `dagster dev`.
    """
    from agar_pipeline.plates.generate import generate_plates

    generate_plates(folder / "plates", 12, size_px=128, seed=5)
    configs, home = copy_configs(folder / "configs"), folder / "home"
    change(configs)
    environment = {"AGAR_HOME": str(home), "AGAR_CONFIGS": str(configs), "AGAR_PIPELINE": "small"}
    run = runner(environment)
    assert run("agar", "import", "agar", "--images-dir", str(folder / "plates"), "--dataset", "small").returncode == 0
    if built:
        assert run("agar", "run", *built).returncode == 0
    exports = run("agar", "env").stdout.splitlines()
    environment |= dict(line.removeprefix("export ").split("=", 1) for line in exports)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = DagsterDev(free.getsockname()[1], home, run, guarded)
    command = ["agar", "ui"] if guarded else ["dagster", "dev"]
    with (folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / command[0]), command[1], "--port", str(server.port)],
            cwd=CHECKOUT,
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's `&` has it ignored
        )
    try:
        wait_for(lambda: _answers(server), 120, lambda: (folder / "dev.log").read_text()[-3000:])
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _answers(server: DagsterDev) -> bool:
    try:
        return bool(server.query("{ version }"))
    except OSError:
        return False


def wait_for(done: Callable[[], bool], timeout_s: float, explain: Callable[[], str]) -> None:
    """Until it is done; `explain` says what was seen instead."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.5)


def trainers(home: Path) -> list[list[str]]:
    """Command lines of the steps that run for this home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AGAR_HOME") == str(home) and "agar_pipeline.steps" in process.cmdline():
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found
