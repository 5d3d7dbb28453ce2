"""Whose process is at the other end of a loopback connection, where the kernel says it (Linux).

A browser sends its cookies to every port of a host, so also to a server that another user runs on another port; with
such a copy of the token that user must not come in either.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

_CONNECTIONS = Path("/proc/net/tcp")
_ROOT = 0


def is_another_user(client: Any, server: Any) -> bool:
    """Whether the connection belongs to a user that is neither ours nor root; False where this cannot be known.

    Args:
        client: (address, port) of the other end.
        server: (address, port) of ours.
    """
    if not client or not server or not os.access(_CONNECTIONS, os.R_OK):
        return False
    owner = _owner(_as_kernel_writes(client), _as_kernel_writes(server))
    return owner is not None and owner not in (_ROOT, os.geteuid())


def _owner(local: str | None, remote: str | None) -> int | None:
    """The user id of the row; fields: number, local, remote, state, queues, timers, retransmits, uid."""
    if local is None or remote is None:
        return None
    for row in _CONNECTIONS.read_text().splitlines()[1:]:
        fields = row.split()
        if (fields[1], fields[2]) == (local, remote):
            return int(fields[7])
    return None


def _as_kernel_writes(address: Any) -> str | None:
    """`0100007F:0BB8` on little-endian machines: the four bytes as one number of the machine, in hexadecimal."""
    try:
        packed = socket.inet_aton(address[0])
    except (OSError, TypeError):  # not IPv4, or a Unix socket
        return None
    return f"{int.from_bytes(packed, sys.byteorder):08X}:{address[1]:04X}"
