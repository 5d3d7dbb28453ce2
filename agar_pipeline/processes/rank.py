"""Reads rank and world size from the variables that torchrun or Ray sets, without torch. No other module reads them."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """The place of this process in its run, from torchrun's environment; without that, the only process."""

    rank: int
    local_rank: int
    size: int
    local_size: int

    @property
    def is_first(self) -> bool:
        """Whether this rank logs, replies and writes files."""
        return self.rank == 0

    @classmethod
    def from_environment(cls) -> World:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        return cls(*(int(os.environ.get(name, default)) for name, default in zip(names, "0011", strict=True)))
