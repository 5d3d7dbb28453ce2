"""Joins the Ray cluster of RAY_ADDRESS, or starts one on this machine, and leaves it again."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agar_pipeline.config import agar_home
from agar_pipeline.errors import ComputeError, MissingPackageError
from agar_pipeline.ownership.scratch_folders import scratch_folder
from agar_pipeline.processes.devices import count_cores, visible_gpus
from agar_pipeline.processes.network import find_interface_of

OBJECT_STORE_BYTES = 200_000_000
"""Object store of a cluster on this machine, bytes. Inputs and results of tasks are small; photos are read from disk.
"""
ANSWER_S = 10.0
_LONGEST_FOLDER = 40
"""Longest path in characters. Ray's sockets are about 65 characters below it; a socket path may have 107."""
_ON_ONE_MACHINE = {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Settings for a cluster on this machine: other users cannot send work, and all ports are on the loopback.

The second variable is Ray's setting for a cluster that cannot have more nodes.
"""


def cluster_address() -> str | None:
    """Return `RAY_ADDRESS`, as Ray's own tools do; None: start a cluster on this machine."""
    return os.environ.get("RAY_ADDRESS") or None


@contextlib.contextmanager
def joined(env: Mapping[str, str], *, show_output: bool) -> Iterator[None]:
    """Be a driver on the cluster during the block. Ray's usage reports are switched off.

    Args:
        env: Variables for the workers, in addition to those that Ray sets.
        show_output: Whether the output of workers is printed by this process.

    Raises:
        ComputeError: no cluster answers.
        MissingPackageError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = cluster_address()
    if address is None:
        os.environ.update({"RAY_AUTH_TOKEN": secrets.token_hex(32), **_ON_ONE_MACHINE})  # before Ray is imported
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPackageError.of(error) from error
    options: dict[str, Any] = {
        "address": address or "local",
        "log_to_driver": show_output,
        "logging_level": "WARNING",
        "runtime_env": {"env_vars": dict(env), "worker_process_setup_hook": talk_over_own_interface},
    }
    with contextlib.ExitStack() as stack:
        if address is None:
            options |= {"num_cpus": count_cores(), "num_gpus": len(visible_gpus()), "include_dashboard": False}
            options |= {"object_store_memory": OBJECT_STORE_BYTES, "_temp_dir": stack.enter_context(_short_folder())}
        stack.callback(ray.shutdown)
        with _own_handlers():
            try:
                _require_answer(address)
                ray.init(**options)
            except (OSError, RuntimeError, ValueError) as error:
                raise ComputeError(
                    f"cannot be joined: {str(error).strip().splitlines()[0]}",
                    where=f"the Ray cluster at {options['address']}",
                    next_step="run `ray status`; correct RAY_ADDRESS, or unset it to start a cluster on this machine",
                ) from error
        yield


def _require_answer(address: str | None) -> None:
    """Raise OSError if nothing listens at the address. Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), ANSWER_S).close()


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _short_folder() -> Iterator[str]:
    """Yield a folder for Ray's sockets and logs: in the home, or a link to it if its path is too long for a socket."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(agar_home(), "ray-"))
        if len(str(folder)) > _LONGEST_FOLDER:
            link = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agar-", dir="/tmp"))) / "ray"
            link.symlink_to(folder)
            folder = link
        yield str(folder)


def talk_over_own_interface() -> None:
    """Let gloo and NCCL of a worker use the interface over which Ray reaches its node, unless another one is set."""
    import ray

    interface = find_interface_of(ray.util.get_node_ip_address())
    if interface is not None:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, interface)
