"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True)
class Check:
    """What was found, how bad it is, and what to do about it."""

    name: str
    level: Level
    found: str
    fix: str = ""
