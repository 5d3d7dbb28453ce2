"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True)
class Check:
    """What was found, how severe it is, and how to fix it."""

    name: str
    level: Level
    found: str
    fix: str = ""
