"""Finds and checks network interfaces, which the ranks of a training communicate over."""

from __future__ import annotations

from agar_pipeline.errors import ComputeError


def find_loopback() -> str | None:
    """Return the network interface that the ranks of one machine communicate over; None if there is none."""
    return find_interface_of("127.0.0.1") or find_interface_of("::1")


def find_interface_of(address: str) -> str | None:
    """Return the network interface that has this address."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(found.address == address for found in addresses):
            return name
    return None


def check_interface(name: str) -> None:
    """Raise ComputeError if no interface of this name is up."""
    import psutil

    stats = psutil.net_if_stats()
    if name not in stats or not stats[name].isup:
        up = ", ".join(sorted(other for other in stats if stats[other].isup))
        raise ComputeError(
            "is not a network interface that is up",
            where="trainer.socket_ifname",
            value=name,
            next_step=f"set trainer.socket_ifname to one of {up}, or to null",
        )
