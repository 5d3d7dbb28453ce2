"""Which process of a run this is: the only reader of what torchrun, or Ray, sets in the environment. No torch."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """This process among all of a run, as torchrun's environment says; one process without it."""

    rank: int
    local_rank: int
    size: int
    local_size: int

    @property
    def is_first(self) -> bool:
        """Whether this rank logs, replies and writes."""
        return self.rank == 0

    @classmethod
    def from_environment(cls) -> World:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        return cls(*(int(os.environ.get(name, default)) for name, default in zip(names, "0011", strict=True)))
