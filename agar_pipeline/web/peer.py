"""Finds the user whose process is at the other end of a loopback connection, if the kernel tells it (Linux).

A browser sends its cookies to every port of a host, and so also to a server of another user on another port. That user
must not get in with the copy of the token.
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
    """Whether the connection belongs to a user other than us and root; False if this is not known.

    Args:
        client: (address, port) of the other end.
        server: (address, port) of this end.
    """
    if not client or not server or not os.access(_CONNECTIONS, os.R_OK):
        return False
    owner = _owner(_as_kernel_writes(client), _as_kernel_writes(server))
    return owner is not None and owner not in (_ROOT, os.geteuid())


def _owner(local: str | None, remote: str | None) -> int | None:
    """Return the user id of the row; fields: number, local, remote, state, queues, timers, retransmits, uid."""
    if local is None or remote is None:
        return None
    for row in _CONNECTIONS.read_text().splitlines()[1:]:
        fields = row.split()
        if (fields[1], fields[2]) == (local, remote):
            return int(fields[7])
    return None


def _as_kernel_writes(address: Any) -> str | None:
    """Format an address as the kernel does: `0100007F:0BB8` on little-endian machines.

    The four bytes of the IPv4 address are one number in the machine's byte order, in hexadecimal.
    """
    try:
        packed = socket.inet_aton(address[0])
    except (OSError, TypeError):  # not IPv4, or a Unix socket
        return None
    return f"{int.from_bytes(packed, sys.byteorder):08X}:{address[1]:04X}"
