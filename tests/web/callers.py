"""Those who ask a web page of ours: its owner with the token, and others."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.conftest import CHECKOUT

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
AS_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Served:
    """A server of ours that answers."""

    url: str
    pid: int

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.url).query)["token"][0]

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"agar_{self.port}={self.token}"}

    def ask(self, path: str, headers: dict[str, str] | None = None, body: str | None = None) -> Answer:
        """GET, or POST where there is a body; as a program that follows nothing and keeps no cookie.

        Args:
            path: With the query.
            headers: `PORT` in a value is the server's.
            body: Of a POST.
        """
        sent = {name: value.replace("PORT", str(self.port)) for name, value in (headers or {}).items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET" if body is None else "POST", path, body, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def query(self, text: str, **variables: object) -> dict:
        """Ask by GraphQL, as the owner's browser does."""
        answer = self.ask(
            "/graphql", SAME_ORIGIN | AS_JSON | self.cookie, json.dumps({"query": text, "variables": variables})
        )
        assert answer.status == 200, answer
        return json.loads(answer.body)["data"]


@contextlib.contextmanager
def serving(command: list[str], home: Path, name: str, env: dict[str, str], code: int = 130) -> Iterator[Served]:
    """Start a command that serves, until the block ends; then Ctrl-C, and it ends with 130; or with another `code` by
    itself.

    Args:
        command: Publishes its address in `home/web`.
        home: May be missing; `NAME.log` is put beside it.
        name: `ui` or `view`.
        env: Added to the environment.
    """
    said = home.parent / f"{name}.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env={**os.environ, **env}, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    try:
        wait_for(lambda: process.poll() is not None or bool(published(home, name)), said)
        assert process.poll() is None, said.read_text()[-3000:]
        yield Served(**published(home, name))
    finally:
        if code == 130:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == code, said.read_text()[-3000:]
    assert not published(home, name), "the address goes with the server"


def published(home: Path, name: str) -> dict:
    """The address file of a server; empty where there is none."""
    for path in (home / "web").glob(f"{name}-*.json"):
        return json.loads(path.read_text())
    return {}


def wait_for(done: Callable[[], bool], said: Path, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, said.read_text()[-3000:]
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
