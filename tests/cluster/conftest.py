"""A Ray cluster of two nodes on this machine: `ray start --head`, and a second raylet that joins it; a core each."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.cluster.processes import free_port, running
from tests.conftest import BIN


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[dict[str, str]]:
    """The environment that leads there."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: make setup-cluster")
    port = free_port()
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
        address = f"127.0.0.1:{port}"
        with _node(head, env):
            _wait_for_nodes(address, 1, env)
            with _node([f"--address={address}"], env):
                _wait_for_nodes(address, 2, env)
                yield {**env, "RAY_ADDRESS": address}


@contextlib.contextmanager
def _node(arguments: list[str], env: dict[str, str]) -> Iterator[None]:
    size = ["--num-cpus=1", "--object-store-memory=150000000", "--disable-usage-stats", "--block"]
    node = subprocess.Popen(
        [str(BIN / "ray"), "start", *arguments, *size], env=os.environ | env, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with running(node, patience_s=5):
        yield


def _wait_for_nodes(address: str, count: int, env: dict[str, str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = subprocess.run(
            [str(BIN / "ray"), "status", f"--address={address}"], env=os.environ | env, capture_output=True, text=True
        )
        if status.stdout.count("node_") >= count:
            return
        time.sleep(0.5)
    raise AssertionError(f"no Ray cluster of {count} nodes at {address}: {status.stdout}{status.stderr}")
